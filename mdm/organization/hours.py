"""A school's hours as plain values: when it has lessons and on which days it is closed, in Japan's time.

Reads no table and no clock: `calendars` brings these values, whoever plans or forecasts asks them.
"""

import re
from dataclasses import dataclass
from datetime import date, timedelta, timezone
from enum import StrEnum
from typing import Final

JST: Final = timezone(timedelta(hours=9), "JST")
"""Japan's time; it has no summer time, so local times are UTC and nine hours."""
DAY_MINUTES: Final = 24 * 60
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""The names of weekdays in documents, in the order of `date.weekday()`."""
_SPAN: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")
_TO_MIDNIGHT: Final = re.compile(r"-24:00$")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A part of a day in minutes from local midnight, `end` excluded. An end beyond 1440 lies in the day after."""

    start: int
    end: int

    def __str__(self) -> str:
        end = self.end if self.end <= DAY_MINUTES else self.end - DAY_MINUTES
        return f"{self.start // 60:02}:{self.start % 60:02}-{end // 60:02}:{end % 60:02}"


LEAVING_HOME: Final = Span(6 * 60, 8 * 60)
"""When all tablets of a school leave home at once, on days with lessons (lte-and-usage A4.3)."""


def read_span(text: str, *, over_midnight: bool = False) -> Span:
    """Read `HH:MM-HH:MM`, the end also as 24:00; raises ValueError with a sentence that says what is wrong."""
    to_midnight = _TO_MIDNIGHT.search(text) is not None
    found = _SPAN.fullmatch(_TO_MIDNIGHT.sub("-00:00", text))
    if found is None:
        raise ValueError(f"write a part of the day as HH:MM-HH:MM, such as 08:15-15:45, not `{text[:20]}`")
    from_hour, from_minute, to_hour, to_minute = map(int, found.groups())
    start, end = from_hour * 60 + from_minute, DAY_MINUTES if to_midnight else to_hour * 60 + to_minute
    if start == end:
        raise ValueError(f"`{text}` begins and ends at the same time")
    if end < start:
        if not over_midnight:
            raise ValueError(f"`{text}` ends before it begins")
        end += DAY_MINUTES
    return Span(start, end)


class DayKind(StrEnum):
    """What a day is for a school."""

    SCHOOL = "school day"
    OFF = "day off"


@dataclass(frozen=True, slots=True)
class Closed:
    """Days on which a school is closed, both ends included: a vacation, a holiday, an anniversary."""

    first: date
    last: date
    label: str


@dataclass(frozen=True, slots=True)
class Calendar:
    """One school's hours. The empty calendar closes nothing."""

    lessons: tuple[tuple[Span, ...], ...] = ((),) * 7
    """Class hours of each weekday, Monday first; in order and apart from one another."""
    closed: tuple[Closed, ...] = ()

    def label_of(self, day: date) -> str | None:
        """Why the school is closed on a day; None when it is not."""
        return next((each.label for each in self.closed if each.first <= day <= each.last), None)

    def kind_of(self, day: date) -> DayKind:
        """Whether pupils are at school on a day. A calendar without any class hours has lessons Monday to Friday."""
        weekday = day.weekday()
        held = bool(self.lessons[weekday]) if any(self.lessons) else weekday < WEEKDAYS.index("sat")
        return DayKind.SCHOOL if held and self.label_of(day) is None else DayKind.OFF

    def busy_on(self, day: date) -> tuple[Span, ...]:
        """When bulk work keeps away on a day: class hours, and the way to school before them. Nothing on days off."""
        lessons = self.lessons[day.weekday()]
        return (LEAVING_HOME, *lessons) if lessons and self.label_of(day) is None else ()


def fiscal_year(day: date) -> int:
    """Return the Japanese school and fiscal year of a day: April to March, named by the year it begins in."""
    return day.year if day.month >= 4 else day.year - 1
