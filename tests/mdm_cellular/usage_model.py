"""Lines, and the plainest ledger there could be, to hold the real one against."""

from datetime import UTC, date, datetime, timedelta

from mdm.cellular import cycles
from mdm.cellular.carriers.values import By, SimKey, UsageDay
from tests.mdm_cellular.conftest import iccid

TODAY = datetime.now(UTC).date()
"""Figures must be of days that are still kept."""
FIRST = cycles.before(cycles.before(cycles.of_day(TODAY, 1), 1), 1).start
"""Two cycles that are over begin here."""


def key(number: int) -> SimKey:
    """Return a line's name as a carrier tells it."""
    return SimKey(By.ICCID, iccid(number))


def day(further: int) -> date:
    """Return a day of the cycle that is over, or one after it."""
    return FIRST + timedelta(days=further)


def told(number: int, further: int, total: int, **more) -> UsageDay:
    """Return what a carrier says of a line's day."""
    return UsageDay(key(number), day(further), more.pop("utc_offset", 540), total, **more)


def at(minutes: int) -> datetime:
    """Return the moment of a telling, the later the more."""
    return datetime.combine(TODAY, datetime.min.time(), UTC) - timedelta(days=1) + timedelta(minutes=minutes)
