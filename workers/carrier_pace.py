"""How fast one account's interface is asked, by all workers together. Waits, and sends nothing.

The meter is the throttle's (`throttle_script`), under keys of its own. Without Valkey this process goes on alone, more
slowly: one worker at a time has an account (`mdm.cellular.polling`), so that the carrier sees no more than that.
"""

import json
import time
from typing import Final
from uuid import uuid4

import redis
import structlog

from mdm.cellular.carriers.values import Busy, Limits
from workers import throttle_script

_log = structlog.get_logger(__name__)

PREFIX: Final = "{tabane.carriers}:"
_HOLD_US: Final = 60_000_000
_LONGEST_S: Final = 10.0
"""Who would have to wait longer is told so, and does something else meanwhile."""
_LOCAL_PER_S: Final = 0.5
_paused: dict[int, float] = {}
"""Until when (monotonic) accounts are left alone, as this process knows it."""
_alone: dict[int, float] = {}
"""When (monotonic) this process may next ask an account, while Valkey is away."""


class Pace:
    """One account's pace; call it before each request."""

    def __init__(self, client: redis.Redis, account_id: int, limits: Limits) -> None:
        self._client = client
        self._account = account_id
        self._limits = limits
        self._ask = client.register_script(throttle_script.ASK)
        self._answered = client.register_script(throttle_script.ANSWERED)

    def __call__(self) -> None:
        """Wait until a request may go. Raises `Busy` where the carrier wants to be left alone for longer."""
        self._must_be_short(self._paused_for())
        while (wait := self._turn()) > 0:
            self._must_be_short(wait)
            time.sleep(wait)

    def pause(self, seconds: float) -> None:
        """Leave the account alone for so long: all workers if Valkey is there, this process in any case."""
        _paused[self._account] = max(_paused.get(self._account, 0.0), time.monotonic() + seconds)
        try:
            self._client.set(f"{PREFIX}pause:{self._account}", "1", px=max(1, int(seconds * 1000)))
        except redis.RedisError as error:
            _log.warning("pace_blind", error=type(error).__name__)

    def _paused_for(self) -> float:
        left = max(0.0, _paused.get(self._account, 0.0) - time.monotonic())
        try:
            return max(left, int(self._client.pttl(f"{PREFIX}pause:{self._account}")) / 1000)
        except redis.RedisError:
            return left

    def _must_be_short(self, wait: float) -> None:
        if wait > _LONGEST_S:
            raise Busy("the carrier asked to be left alone for a while", wait)

    def _turn(self) -> float:
        """Take a turn and return 0, or return the seconds until there may be one."""
        batch, bucket = uuid4().hex, f"account:{self._account}"
        document = [[[bucket, self._limits.calls_per_s, 1]], [], [[[[1, 1]], 0, ""]]]
        try:
            [chosen], [wait], _ = self._ask(keys=[PREFIX], args=[batch, _HOLD_US, json.dumps(document), ""])
            if not chosen:
                return max(int(wait) / 1e6, 0.001)
            self._answered(keys=[PREFIX], args=[batch, _HOLD_US, json.dumps([[[bucket, 1, 0]], []]), ""])
        except redis.RedisError as error:
            _log.warning("pace_blind", error=type(error).__name__)
            return self._turn_alone()
        return 0.0

    def _turn_alone(self) -> float:
        now, rate = time.monotonic(), min(self._limits.calls_per_s / 2, _LOCAL_PER_S)
        wait = _alone.get(self._account, 0.0) - now
        if wait > 0:
            return wait
        _alone[self._account] = now + 1 / rate
        return 0.0


def forget() -> None:
    """Forget what this process knows by itself."""
    _paused.clear()
    _alone.clear()
