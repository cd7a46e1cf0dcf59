"""A calendar as people write it and as it is stored: class hours by weekday, closed days with labels; checked here.

It knows no school and no table. `merged` makes the value that everybody else works with.
"""

from datetime import date
from itertools import pairwise
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from mdm.organization.hours import WEEKDAYS, Calendar, Closed, Span, read_span

MAX_CLOSED: Final = 500
_MAX_DAYS: Final = 366
_YEARS: Final = (2000, 2100)


def _wrong(detail: str) -> PydanticCustomError:
    return PydanticCustomError("calendar", "{detail}", {"detail": detail})


def _year(day: date) -> date:
    if not _YEARS[0] <= day.year <= _YEARS[1]:
        raise _wrong(f"the year must lie between {_YEARS[0]} and {_YEARS[1]}")
    return day


def _apart(hours: tuple[str, ...]) -> tuple[str, ...]:
    """One day's class hours in order; raises when two share a minute."""
    spans = sorted(_span(text) for text in hours)
    for one, other in pairwise(spans):
        if other.start < one.end:
            raise _wrong(f"{one} and {other} overlap")
    return tuple(str(span) for span in spans)


def _span(text: str) -> Span:
    try:
        return read_span(text)
    except ValueError as wrong:
        raise _wrong(str(wrong)) from None


def weekdays(name: str) -> tuple[str, ...]:
    """Return the weekdays that a name stands for: `mon`, or a span such as `mon-fri`. Raises ValueError."""
    first, dash, last = name.partition("-")
    if first not in WEEKDAYS or (last if dash else first) not in WEEKDAYS:
        raise ValueError(f"`{name[:20]}` is no weekday: write {', '.join(WEEKDAYS)}, or a span such as mon-fri")
    begin, end = WEEKDAYS.index(first), WEEKDAYS.index(last or first)
    if end < begin:
        raise ValueError(f"`{name}` ends before it begins; the week begins with mon")
    return WEEKDAYS[begin : end + 1]


def _by_weekday(value: object) -> object:
    """Write spans of weekdays out, so that what is stored names each day once."""
    if not isinstance(value, dict):
        return value
    days: dict[str, Any] = {}
    for name, hours in value.items():
        try:
            named = weekdays(str(name))
        except ValueError as wrong:
            raise _wrong(str(wrong)) from None
        twice = [day for day in named if day in days]
        if twice:
            raise _wrong(f"{twice[0]} is named twice")
        days |= dict.fromkeys(named, hours)
    return {day: days[day] for day in WEEKDAYS if day in days}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ClosedDays(_Part):
    """A day, or all days from the first to the last, on which a school is closed."""

    first: Annotated[date, AfterValidator(_year)] = Field(examples=["2026-07-21"])
    last: Annotated[date, AfterValidator(_year)] | None = Field(
        default=None, description="The first day is the only one when absent.", examples=["2026-08-31"]
    )
    label: str = Field(min_length=1, max_length=60, examples=["夏季休業"])

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not 0 <= (self.until - self.first).days < _MAX_DAYS:
            raise _wrong(f"it must end on its first day or within {_MAX_DAYS} days of it")
        return self

    @property
    def until(self) -> date:
        """The last day."""
        return self.last or self.first


_Hours = Annotated[
    dict[str, Annotated[tuple[str, ...], Field(max_length=12), AfterValidator(_apart)]], BeforeValidator(_by_weekday)
]


class CalendarDocument(_Part):
    """The calendar of the district, or what a school has of its own."""

    class_hours: _Hours | None = Field(
        default=None,
        description="Local times (JST) by weekday (`mon`, or `mon-fri`). A school without any has the district's.",
        examples=[{"mon-fri": ["08:15-12:00", "13:00-15:45"]}],
    )
    closed: tuple[ClosedDays, ...] = Field(default=(), max_length=MAX_CLOSED, description="Vacations and holidays.")
    only_own_closed: bool = Field(
        default=False, description="For a school: the district's closed days do not hold here."
    )


EMPTY: Final = CalendarDocument()


def merged(district: CalendarDocument, own: CalendarDocument | None) -> Calendar:
    """Make one school's calendar: its own class hours or the district's, and the closed days of both."""
    hours, closed = district.class_hours, district.closed
    if own is not None:
        hours = hours if own.class_hours is None else own.class_hours
        closed = own.closed if own.only_own_closed else (*closed, *own.closed)
    spans = {day: tuple(read_span(text) for text in texts) for day, texts in (hours or {}).items()}
    days = sorted(
        {Closed(each.first, each.until, each.label) for each in closed}, key=lambda c: (c.first, c.last, c.label)
    )
    return Calendar(tuple(spans.get(day, ()) for day in WEEKDAYS), tuple(days))


def of_calendar(calendar: Calendar) -> CalendarDocument:
    """Write a calendar out again, as it holds."""
    hours = {day: tuple(map(str, spans)) for day, spans in zip(WEEKDAYS, calendar.lessons, strict=True) if spans}
    closed = tuple(ClosedDays(first=each.first, last=each.last, label=each.label) for each in calendar.closed)
    return CalendarDocument.model_construct(class_hours=hours, closed=closed)
