"""What a whereabouts check is asked to be: its days, schools, states and deadlines, and when it comes again. Pure."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from mdm.checks.models import Repeats
from mdm.devices.models import LedgerState
from mdm.organization.hours import JST

LONGEST_DAYS: Final = 200
_EARLIEST: Final = date(2000, 1, 1)
_LATEST: Final = date(2100, 12, 31)
_TERMS: Final = (4, 9, 1)
"""The months in which Japan's three school terms begin."""
_TERM_DAYS: Final = 60
"""A termly check begins, and lasts, no longer than this: the shortest term has 90 days."""
_NEVER_LISTED: Final = frozenset({LedgerState.LOST, LedgerState.RETIRED})
"""A lost tablet is looked for by its case, and a retired one is nobody's."""


class Deadlines(BaseModel):
    """When those are told who can find what is not verified, in days from the last day; null: never."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    remind_before: int | None = Field(default=3, ge=0, le=60, description="The school, so many days before.")
    school_after: int | None = Field(default=1, ge=1, le=60, description="The school, so many days after.")
    board_after: int | None = Field(default=7, ge=1, le=90, description="The board, so many days after.")

    @model_validator(mode="after")
    def _school_first(self) -> Self:
        if self.school_after is not None and self.board_after is not None and self.board_after < self.school_after:
            raise ValueError("the board is told after the school, not before it")
        return self


class Days(BaseModel):
    """From when to when a check runs, both days included, in Japan's time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first_day: date = Field(ge=_EARLIEST, le=_LATEST, examples=["2026-04-13"])
    last_day: date = Field(ge=_EARLIEST, le=_LATEST, description="The deadline.", examples=["2026-05-08"])

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0 <= (self.last_day - self.first_day).days <= LONGEST_DAYS:
            raise ValueError(f"the last day must be 0 to {LONGEST_DAYS} days after the first")
        return self


class Plan(Days):
    """A check to be planned."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)] = Field(
        description="Without names of persons: it is shown to everybody.", examples=["所在確認 1学期"]
    )
    schools: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=2000,
        description="School codes; null: every school, or every school of yours.",
        examples=[["E001"]],
    )
    states: list[LedgerState] = Field(
        default=[LedgerState.STOCK, LedgerState.ISSUED],
        min_length=1,
        max_length=6,
        description="The ledger states whose tablets must be verified. Others at these schools are listed as excluded.",
    )
    by_hand: list[LedgerState] = Field(
        default=[LedgerState.STOCK],
        max_length=6,
        description="States for which a check-in proves nothing: a spare must be seen.",
    )
    checkin_days: int = Field(
        default=0, ge=0, le=90, description="A check-in counts from so many days before the first day on."
    )
    silent_days: int = Field(
        default=30, ge=1, le=365, description="Silent for so long at the start: listed as to be looked at by hand."
    )
    deadlines: Deadlines = Deadlines()
    repeats: Repeats = Field(default=Repeats.NEVER, description="Plan the next one by itself when this one starts.")

    @model_validator(mode="after")
    def _can_be_checked(self) -> Self:
        if _NEVER_LISTED & set(self.states):
            raise ValueError("lost and retired tablets are not looked for by a check")
        if self.repeats is Repeats.TERMLY and not _fits_terms(self):
            raise ValueError(
                f"a termly check begins in the first {_TERM_DAYS} days of a term (from April, September and January)"
                f" and lasts at most {_TERM_DAYS} days"
            )
        return self


def _fits_terms(days: Days) -> bool:
    offset = (days.first_day - term_of(days.first_day)).days
    return offset < _TERM_DAYS and (days.last_day - days.first_day).days <= _TERM_DAYS


def term_of(day: date) -> date:
    """Return the first day of the term that a day is in."""
    starts = [date(year, month, 1) for year in (day.year - 1, day.year) for month in _TERMS]
    return max(start for start in starts if start <= day)


def following(days: Days, repeats: Repeats) -> Days | None:
    """Return the days of the next check of a rhythm; None when there is none.

    Yearly: on the same date (a leap day becomes the 28th). Termly: as many days into the next term.
    """
    match repeats:
        case Repeats.NEVER:
            return None
        case Repeats.YEARLY:
            day = 28 if (days.first_day.month, days.first_day.day) == (2, 29) else days.first_day.day
            first = days.first_day.replace(year=days.first_day.year + 1, day=day)
        case Repeats.TERMLY:
            term = term_of(days.first_day)
            # No term is longer than 153 days, and two of them are never shorter than 212.
            first = term_of(term + timedelta(days=160)) + (days.first_day - term)
    return Days(first_day=first, last_day=first + (days.last_day - days.first_day))


def today(now: datetime) -> date:
    """Return the day that it is in Japan."""
    return now.astimezone(JST).date()


def begin_of(day: date) -> datetime:
    """Return the moment at which a day begins in Japan."""
    return datetime.combine(day, time(), tzinfo=JST).astimezone(UTC)
