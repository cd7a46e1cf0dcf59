"""What a campaign is asked to be: which tablets, when its wipes may leave, how they erase. Pure."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from mdm.organization.hours import JST, WEEKDAYS, read_span

MOST: Final = 15_000
"""Tablets in one campaign."""
LONGEST_DAYS: Final = 60
_EARLIEST: Final = date(2000, 1, 1)
_LATEST: Final = date(2100, 12, 31)
_Day = Annotated[date, Field(ge=_EARLIEST, le=_LATEST)]
_Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Window(BaseModel):
    """When wipes may leave, in Japan's time: these days, these hours. Part of what is signed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first_day: _Day = Field(examples=["2027-04-05"])
    last_day: _Day = Field(examples=["2027-04-16"], description="What has not left by then falls out.")
    hours: str = Field(
        default="09:00-17:00", max_length=11, description="A part of the day, within one day.", examples=["09:00-17:00"]
    )
    weekdays: list[_Weekday] = Field(
        default=["mon", "tue", "wed", "thu", "fri"], min_length=1, max_length=7, description="The working days."
    )
    closed: list[_Day] = Field(default=[], max_length=LONGEST_DAYS, description="Days among them on which it rests.")

    @field_validator("hours")
    @classmethod
    def _is_a_span(cls, value: str) -> str:
        read_span(value)
        return value

    @model_validator(mode="after")
    def _opens(self) -> Self:
        if not 0 <= (self.last_day - self.first_day).days <= LONGEST_DAYS:
            raise ValueError(f"the last day must be 0 to {LONGEST_DAYS} days after the first")
        if not any(True for _ in self._days()):
            raise ValueError("no day between the first and the last is a working day")
        return self

    def _days(self) -> Iterator[date]:
        for number in range((self.last_day - self.first_day).days + 1):
            day = self.first_day + timedelta(days=number)
            if self.works_on(day):
                yield day

    def works_on(self, day: date) -> bool:
        """Say whether wipes may leave on a day at all."""
        within = self.first_day <= day <= self.last_day
        return within and WEEKDAYS[day.weekday()] in self.weekdays and day not in self.closed

    def is_open(self, now: datetime) -> bool:
        """Say whether a wipe may leave at this moment."""
        local = now.astimezone(JST)
        span = read_span(self.hours)
        return self.works_on(local.date()) and span.start <= local.hour * 60 + local.minute < span.end

    def opens_at(self, now: datetime) -> datetime | None:
        """Return the next moment at which a wipe may leave, `now` itself if one may; None when it is over."""
        if self.is_open(now):
            return now
        start = read_span(self.hours).start
        moments = (datetime.combine(day, time(), JST) + timedelta(minutes=start) for day in self._days())
        return next((moment.astimezone(UTC) for moment in moments if moment > now), None)

    def is_over(self, now: datetime) -> bool:
        """Say whether no wipe may leave any more."""
        return self.opens_at(now) is None


class Filter(BaseModel):
    """Which tablets; all that is given must fit, and something must be given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schools: list[Annotated[str, Field(max_length=32)]] | None = Field(
        default=None, min_length=1, max_length=2000, description="School codes.", examples=[["E001"]]
    )
    lease_contract: str | None = Field(
        default=None, min_length=1, max_length=64, description="The lease that ends.", examples=["L2022-1"]
    )
    check: UUID | None = Field(default=None, description="The whereabouts check that took stock of this return.")
    control_numbers: list[Annotated[str, Field(max_length=200)]] | None = Field(
        default=None, min_length=1, max_length=MOST, description="Exactly these.", examples=[["T000001", "T000002"]]
    )

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if not self.model_dump(exclude_none=True):
            raise ValueError("a bulk wipe of everything is not asked for: name schools, a lease, a check, or tablets")
        return self

    def kept(self) -> dict[str, Any]:
        """Return it as the campaign keeps and signs it: of a list only how long it was, for the snapshot names them."""
        document = self.model_dump(mode="json", exclude_none=True, exclude={"control_numbers"})
        if self.control_numbers is not None:
            document["control_numbers"] = len(self.control_numbers)
        return document


class Terms(BaseModel):
    """A bulk wipe to be planned."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)] = Field(
        description="Without names of persons: it is shown to everybody.", examples=["リース満了 2027"]
    )
    filter: Filter
    window: Window
    preserve_data_plan: bool = Field(default=True, description="The eSIM keeps its plan.")
