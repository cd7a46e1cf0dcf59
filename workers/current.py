"""The limits as this process knows them: read again at most once a second, and kept while the database is away."""

import threading
import time
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from mdm import db
from mdm.limits import limits
from mdm.limits.bands import minute_of_week
from mdm.limits.limits import Limits

_log = structlog.get_logger(__name__)
EVERY_S: Final = 1.0

Source = Callable[[], tuple[Limits, int]]
"""The limits that hold now, and the minute of the week."""


class Current:
    """A source of limits for all threads of a process; never call it inside a transaction.

    The time of day is the database's, counted on by this machine's monotonic clock: a clock that jumps opens no band.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: Limits | None = None
        self._newest = -1
        self._read_at = float("-inf")
        self._ahead = time.time() - time.monotonic()

    def __call__(self) -> tuple[Limits, int]:
        """Return the limits, at most a second old, or those last known."""
        stale = self._known is None or time.monotonic() - self._read_at >= EVERY_S
        if stale and self._lock.acquire(blocking=self._known is None):
            try:
                self._refresh()
            finally:
                self._lock.release()
        known = self._known
        return known if known is not None else limits.first(), minute_of_week(self._ahead + time.monotonic())

    def _refresh(self) -> None:
        if time.monotonic() - self._read_at < EVERY_S:
            return  # another thread has just done it
        try:
            with db.transaction() as session:
                epoch = session.execute(text("SELECT extract(epoch FROM clock_timestamp())::float8")).scalar_one()
                newest = limits.newest_id(session)
                if newest != self._newest:
                    self._known, self._newest = limits.current(session), newest
            self._ahead = epoch - time.monotonic()
        except (SQLAlchemyError, ValueError) as error:  # or a value that only a newer version can read
            _log.warning("limits_not_read", error=type(error).__name__)
        self._read_at = time.monotonic()
