"""How the operator API shows whereabouts checks. No name and no location in it."""

from datetime import date, datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from mdm.checks.evidence import Outcome
from mdm.checks.lists import Status
from mdm.checks.models import CheckState, EvidenceKind, Hand, Repeats, Step
from mdm.checks.values import Deadlines


class CheckOut(BaseModel):
    """A whereabouts check."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str = Field(examples=["所在確認 1学期"])
    fiscal_year: int = Field(examples=[2026])
    first_day: date
    last_day: date
    state: CheckState
    all_schools: bool
    states: list[str] = Field(examples=[["issued", "stock"]])
    by_hand: list[str] = Field(examples=[["stock"]])
    checkin_days: int
    silent_days: int
    deadlines: Deadlines
    repeats: Repeats
    follows: UUID | None = Field(description="The check that this one repeats.")
    planned_by: str = Field(examples=["operator:hanako"])
    planned_at: datetime
    started_at: datetime | None
    closed_by: str | None
    closed_at: datetime | None = Field(description="When it was closed, or cancelled.")


class CountsOut(BaseModel):
    """Tablets of a check, or of a part of it, in the caller's schools."""

    model_config = ConfigDict(from_attributes=True)

    listed: int = Field(description="To be verified: verified and unverified together.")
    verified: int
    by_checkin: int
    by_scan: int
    by_word: int
    unverified: int
    must_be_seen: int = Field(description="Of the unverified: spares and the like, for which a check-in does not do.")
    silent: int = Field(description="Of the unverified: had been silent for long when the check began.")
    excluded: int


class SchoolCountsOut(BaseModel):
    """How far one school is."""

    model_config = ConfigDict(from_attributes=True)

    school_code: str
    school_name: str
    counts: CountsOut


class ClassCountsOut(BaseModel):
    """How far one class is; without year and class: the tablets that no class has."""

    model_config = ConfigDict(from_attributes=True)

    year: int | None
    class_name: str | None
    counts: CountsOut


class ProgressOut(BaseModel):
    """How far a check is: school by school, or class by class where a school is named."""

    total: CountsOut
    schools: list[SchoolCountsOut]
    classes: list[ClassCountsOut]


class StepOut(BaseModel):
    """An escalation that was done."""

    model_config = ConfigDict(from_attributes=True)

    step: Step
    school_code: str | None = Field(description="Null: the board.")
    done_at: datetime
    unverified: int = Field(description="How many tablets it was about then.")


class CheckDetailOut(CheckOut):
    """A check with its counts and escalations in the caller's schools."""

    counts: CountsOut
    steps: list[StepOut]
    report_digest: str | None = Field(description="SHA-256 of the report of all schools, as frozen at the closing.")


class TaskOut(BaseModel):
    """A tablet of a check."""

    model_config = ConfigDict(from_attributes=True)

    device_id: int
    control_number: str
    school_code: str
    school_name: str
    year: int | None
    class_name: str | None
    user_id: str | None = Field(description="Who had it; null for those who may not know who has a tablet.")
    status: Status
    state: str = Field(description="In the ledger when the check began.", examples=["issued"])
    state_now: str = Field(
        description="In the ledger now, or at the closing; `case`: in an open case of loss.", examples=["issued"]
    )
    hand: Hand | None = Field(description="Why it should be looked at by hand.")
    excluded: str | None = Field(description="Why the check leaves it out: a ledger state, or `case` of loss.")
    last_contact: datetime | None
    verified_at: datetime | None
    verified_by: EvidenceKind | None
    found_at: datetime | None = Field(description="Last scanned without being verified by that.")
    found_elsewhere: bool = Field(description="That was in another school.")
    found_school: str | None = Field(description="Which one, if it is one of the caller's.")


class ReportOut(BaseModel):
    """The report of the unverified."""

    check: CheckDetailOut
    schools: list[SchoolCountsOut]
    unverified: list[TaskOut]


class EvidenceOut(BaseModel):
    """One sign that a tablet is there."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    control_number: str
    kind: EvidenceKind
    seen_at: datetime
    recorded_at: datetime
    actor: str = Field(examples=["operator:hanako"])
    school: str | None = Field(description="Where it was scanned, if that was said and is one of the caller's schools.")
    hint: bool = Field(description="Scanned by somebody of another school: to be followed up, no proof.")


class LineOut(BaseModel):
    """What became of one number."""

    model_config = ConfigDict(from_attributes=True)

    line: int
    control_number: str | None = Field(description="Null where the line holds none.")
    outcome: Outcome
    reason: str | None = Field(
        description="For `excluded`: why. `case`: the support desk is looking for it.", examples=["repair"]
    )
    school: str | None = Field(description="The tablet's own school, where it was scanned in another one.")


class TakenOut(BaseModel):
    """What became of a list, line by line."""

    counts: dict[str, int] = Field(description="Lines by outcome.", examples=[{"verified": 38, "unknown": 1}])
    lines: list[LineOut]
