"""What a figure can be at all: not negative, not more than a radio carries, of a day that was and is still kept.

Whoever tells something else is mistaken about a unit, a date or a counter.
"""

from datetime import date, datetime, timedelta
from typing import Final

from mdm.settings import get_settings

DAY_BYTES: Final = 1 << 44
"""17.6 TB: a day of 1.6 Gbit/s without a pause."""
HOUR_BYTES: Final = DAY_BYTES // 16
CYCLE_BYTES: Final = DAY_BYTES * 32


def days_kept(now: datetime) -> tuple[date, date]:
    """Return the first and the last day that a figure may be of: what is kept, and tomorrow, for clocks differ."""
    oldest = (now - timedelta(days=30 * get_settings().usage.daily_months)).date()
    return oldest, (now + timedelta(days=1)).date()


def hours_kept(now: datetime) -> tuple[datetime, datetime]:
    """Return from when to when an hour may begin."""
    return now - timedelta(days=get_settings().usage.hourly_days), now + timedelta(hours=2)


def readings_kept(now: datetime) -> tuple[datetime, datetime]:
    """Return from when to when a counter may have been read."""
    return now - timedelta(days=get_settings().usage.snapshot_days), now + timedelta(hours=2)
