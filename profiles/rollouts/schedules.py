"""When a rollout may reach tablets, as people write it: a value for API bodies and for rollouts' own rows.

It is only written and checked here; `windows` turns it into times.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from mdm.organization.hours import read_span

SHORTEST_MINUTES: Final = 5
"""A window's least length: with a mark in it there is still time for a queue, the throttle and a push."""
_YEARS: Final = (2000, 2100)


class Days(StrEnum):
    """On which days windows open; one that crosses midnight belongs to the day on which it begins."""

    ANY = "any"
    SCHOOL_DAYS = "school_days"
    DAYS_OFF = "days_off"


def _window(text: str) -> str:
    try:
        span = read_span(text, over_midnight=True)
    except ValueError as wrong:
        raise _wrong(str(wrong)) from None
    if span.end - span.start < SHORTEST_MINUTES:
        raise _wrong(f"`{text}` is shorter than {SHORTEST_MINUTES} minutes")
    return text


def _moment(moment: datetime) -> datetime:
    if not _YEARS[0] <= moment.year <= _YEARS[1]:
        raise _wrong(f"the year must lie between {_YEARS[0]} and {_YEARS[1]}")
    return moment


def _wrong(detail: str) -> PydanticCustomError:
    return PydanticCustomError("schedule", "{detail}", {"detail": detail})


Window = Annotated[
    str,
    AfterValidator(_window),
    WithJsonSchema({"type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]-[0-2][0-9]:[0-5][0-9]$"}),
]
_Moment = Annotated[AwareDatetime, AfterValidator(_moment)]


class Schedule(BaseModel):
    """When a rollout may reach tablets. As it stands when nothing is given: at any time outside class hours."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    windows: tuple[Window, ...] = Field(
        default=(),
        max_length=24,
        description="Local times (JST) as HH:MM-HH:MM, also over midnight; none: any time.",
        examples=[["16:00-21:30", "22:00-05:00"]],
    )
    days: Days = Field(default=Days.ANY, description="Days on which windows open, by each school's calendar.")
    not_before: _Moment | None = None
    not_after: _Moment | None = None
    spread_s: int = Field(
        default=0, ge=0, le=7 * 86_400, description="Over how much open time the tablets are spread, in seconds."
    )
    obey_class_hours: bool = Field(
        default=True, description="Keep out of each school's class hours, and of 06:00-08:00 on days with lessons."
    )
    avoid_marks: bool = Field(default=True, description="Keep off the minutes :00, :15, :30 and :45.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.not_before is not None and self.not_after is not None and self.not_before >= self.not_after:
            raise _wrong("not_before must be earlier than not_after")
        return self
