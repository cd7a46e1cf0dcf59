"""Billing cycles: from which day to which, and at which instants they begin. Pure.

A cycle begins on the account's anchor day, at midnight of its billing time zone; 29 to 31 mean the last day of a month
that is shorter (lte-and-usage A3.3).
"""

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Cycle:
    """A billing cycle in days of the billing time zone."""

    start: date
    end: date
    """The first day that is no longer in it."""

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.end - self.start).days


def of_day(day: date, anchor: int) -> Cycle:
    """Return the cycle that a day is in."""
    this = _anchor_in(day.year, day.month, anchor)
    if day < this:
        return Cycle(_anchor_in(*_months_on(day, -1), anchor), this)
    return Cycle(this, _anchor_in(*_months_on(day, 1), anchor))


def before(cycle: Cycle, anchor: int) -> Cycle:
    """Return the cycle before."""
    return of_day(cycle.start - timedelta(days=1), anchor)


def after(cycle: Cycle, anchor: int) -> Cycle:
    """Return the cycle that follows."""
    return of_day(cycle.end, anchor)


def at(moment: datetime, anchor: int, zone: str) -> Cycle:
    """Return the cycle that an instant is in, by the clock of the billing time zone."""
    return of_day(moment.astimezone(ZoneInfo(zone)).date(), anchor)


def last_of_month(day: date) -> date:
    """Return the last day of the month that a day is in: what begins in that month holds it."""
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


def begins(day: date, zone: str) -> datetime:
    """Return the instant, in UTC, at which a day begins in a time zone."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def _anchor_in(year: int, month: int, anchor: int) -> date:
    return date(year, month, min(anchor, calendar.monthrange(year, month)[1]))


def _months_on(day: date, further: int) -> tuple[int, int]:
    count = day.year * 12 + day.month - 1 + further
    return count // 12, count % 12 + 1
