"""Slow down guessing at sign-in: counts of recent failures in this process's bounded memory. Stores no password."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus

from mdm.errors import MdmError

WINDOW_S = 900.0
PER_NAME_AND_ADDRESS = 5
PER_ADDRESS = 30
PER_NAME = 50
"""Higher than the others, so that strangers elsewhere cannot lock an operator out with a few wrong guesses."""
_MAX_KEYS = 8192


class TooManyAttempts(MdmError):
    """Too many wrong sign-ins; `retry_after` seconds to wait."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    slug = "too-many-attempts"

    def __init__(self, retry_after: int) -> None:
        super().__init__("too many wrong sign-ins; wait before the next")
        self.retry_after = retry_after


class Throttle:
    """Failures of the last 15 minutes by name and address; the least recently used entries are forgotten first."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        per_name_and_address: int = PER_NAME_AND_ADDRESS,
        per_address: int = PER_ADDRESS,
        per_name: int = PER_NAME,
    ) -> None:
        self._clock = clock
        self._limits = (per_name_and_address, per_address, per_name)
        self._lock = threading.Lock()
        self._failures: OrderedDict[tuple[str, ...], list[float]] = OrderedDict()

    def _keys(self, name: str, address: str) -> tuple[tuple[tuple[str, ...], int], ...]:
        both, by_address, by_name = self._limits
        return ((("both", name, address), both), (("address", address), by_address), (("name", name), by_name))

    def attempt(self, name: str, address: str) -> None:
        """Count an attempt as failed until `succeeded` says otherwise; raise `TooManyAttempts` when over a limit.

        Counting first keeps a burst of parallel guesses within the limit.
        """
        now = self._clock()
        with self._lock:
            wait = 0.0
            for key, limit in self._keys(name, address):
                recent = [at for at in self._failures.get(key, []) if at > now - WINDOW_S]
                if len(recent) >= limit:
                    wait = max(wait, recent[-limit] + WINDOW_S - now)
            if wait:
                raise TooManyAttempts(math.ceil(wait))
            for key, limit in self._keys(name, address):
                recent = [at for at in self._failures.pop(key, []) if at > now - WINDOW_S]
                self._failures[key] = [*recent, now][-limit:]
            while len(self._failures) > _MAX_KEYS:
                self._failures.popitem(last=False)

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of a name from an address after a right sign-in; take back the others' count."""
        with self._lock:
            self._failures.pop(("both", name, address), None)
            for key in (("address", address), ("name", name)):
                if counted := self._failures.get(key):
                    counted.pop()
