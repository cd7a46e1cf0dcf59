"""Cases as the operator API shows them. Builds documents from what the other modules read; changes nothing.

Of a person only the user id, the year and the class are here (R-26), and those only for who works on losses.
"""

from datetime import date, datetime, time
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session, col, select

from mdm.auth import Principal
from mdm.auth.models import Operator
from mdm.auth.rights import Action
from mdm.commands.models import CommandState
from mdm.devices.search import Found
from mdm.organization.models import Holder, School, SchoolClass
from mdm.support import progress, timeline, wording
from mdm.support.cases import id_of
from mdm.support.kinds import Caller, CaseKind, Purpose, Verified
from mdm.support.models import Case, CaseEvent, Repair
from mdm.support.progress import Asked, Progress, Step
from mdm.support.states import State
from mdm.support.wording import Who


class ChoiceOut(BaseModel):
    """A tablet that may be the one that the call is about."""

    device_id: int
    control_number: str
    serial: str
    school_code: str
    user_id: str | None
    year: int | None
    class_name: str | None
    enrollment: str = Field(examples=["active"])
    last_seen_at: datetime | None
    case_id: int | None = Field(description="Its open case.")


class CaseLine(BaseModel):
    """One case in a list."""

    id: int
    kind: CaseKind
    state: State
    control_number: str
    serial: str
    school_code: str
    opened_at: datetime
    deadline_at: datetime
    escalations: int = Field(description="How often its time has run out.")
    closed_at: datetime | None


class WaitsFor(BaseModel):
    """Who has the next move."""

    who: Who
    code: str = Field(examples=["lock_silent"])
    since: datetime | None
    text: str = Field(examples=["Not locked yet: the tablet has been silent since 2026-04-01 09:30:00 JST."])


class StepOut(BaseModel):
    """One step of a command, as it happened."""

    at: datetime
    state: CommandState
    text: str = Field(examples=["the tablet has done it"])
    note: str


class AskedOut(BaseModel):
    """One thing that was asked of the tablet, and what the tablet has really done."""

    id: UUID
    purpose: Purpose
    kind: str = Field(examples=["lost_mode_on"])
    state: CommandState
    sent_at: datetime | None
    delivered_at: datetime | None
    ended_at: datetime | None
    error: list[str] = Field(description="What the tablet gave as reasons.")
    approval_id: UUID | None
    approval: str | None = Field(description="How the request for a second person stands.")
    steps: list[StepOut]


class TabletOut(BaseModel):
    """How the tablet stands by its own word; null fields are not known."""

    enrollment: str = Field(examples=["active"])
    supervised: bool | None
    lost_mode: bool
    last_seen_at: datetime | None
    last_push_at: datetime | None


class HolderItems(BaseModel):
    """What the desk needs to verify a caller; the name is read apart, and each read is on record."""

    user_id: str
    year: int | None
    class_name: str | None


class RepairOut(BaseModel):
    """One journey to a repairer."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    order_number: str = Field(examples=["R-2026-0042"])
    vendor: str = Field(examples=["Invented Repairs"])
    sent_on: date
    back_on: date | None


class EventOut(BaseModel):
    """One line of the timeline."""

    at: datetime
    actor: str = Field(examples=["operator:hanako"])
    what: str = Field(examples=["open"])
    details: dict[str, Any]


class CaseOut(CaseLine):
    """A case with its live line and its timeline."""

    waits_for: WaitsFor
    tablet: TabletOut | None = Field(description="Null once the tablet's record is gone.")
    device_id: int | None
    holder: HolderItems | None
    caller: Caller
    verified: Verified
    opened_by: str
    text_shown: dict[str, Any]
    due_on: date | None
    wants_wipe: bool
    came_back_at: datetime | None
    sim_wanted: str | None
    found_at: datetime | None
    spare_number: str | None
    repairs: list[RepairOut]
    police_report_no: str | None
    insurance_no: str | None
    commands: list[AskedOut]
    timeline: list[EventOut]


def line_of(case: Case, school_code: str) -> CaseLine:
    """Return a case as a list shows it."""
    return CaseLine(school_code=school_code, **_bare(case))


def _bare(case: Case) -> dict[str, Any]:
    names = ("kind", "state", "control_number", "serial", "opened_at", "deadline_at", "escalations", "closed_at")
    return {"id": id_of(case)} | {name: getattr(case, name) for name in names}


def choice_of(principal: Principal, found: Found, case_id: int | None) -> ChoiceOut:
    """Return a tablet to choose from; whose it is, only to who must verify callers."""
    whose = principal.may(Action.WORK_LOSS)
    names = ("control_number", "serial", "school_code", "last_seen_at")
    return ChoiceOut(
        device_id=found.id,
        enrollment=found.enrollment.value,
        case_id=case_id,
        user_id=found.user_id if whose else None,
        year=found.year if whose else None,
        class_name=found.class_name if whose else None,
        **{name: getattr(found, name) for name in names},
    )


def case_of(session: Session, principal: Principal, case: Case) -> CaseOut:
    """Return one case as it stands at this moment, by what the tablet has said."""
    seen = progress.look(session, case)
    return CaseOut(
        **_bare(case) | {"state": seen.state},
        school_code=session.exec(select(School.code).where(School.id == case.school_id)).one(),
        waits_for=_waits(_waiting(session, case, seen)),
        tablet=_tablet(seen),
        holder=_holder(session, principal, case),
        opened_by=session.get_one(Operator, case.opened_by).name,
        repairs=[RepairOut.model_validate(each) for each in repairs_of(session, case)],
        commands=_commands(seen, progress.steps(session, seen.asked)),
        timeline=[event_of(each) for each in timeline.lines(session, id_of(case))],
        **{name: getattr(case, name) for name in _PLAIN},
    )


_PLAIN = (
    *("device_id", "caller", "verified", "text_shown", "due_on", "wants_wipe", "came_back_at", "sim_wanted"),
    *("found_at", "spare_number", "police_report_no", "insurance_no"),
)


def repairs_of(session: Session, case: Case) -> list[Repair]:
    """Return the journeys of a case's tablet to repairers, oldest first."""
    return list(session.exec(select(Repair).where(Repair.case_id == case.id).order_by(col(Repair.id))))


def event_of(event: CaseEvent) -> EventOut:
    """Return one line of a timeline."""
    return EventOut(at=event.at, actor=event.actor, what=event.what, details=event.details)


def _waiting(session: Session, case: Case, seen: Progress) -> wording.Waiting:
    away = [each.sent_on for each in repairs_of(session, case) if each.back_on is None]
    since = datetime.combine(away[-1], time(), tzinfo=wording.JST) if away else None
    return wording.waiting(seen, came_back_at=case.came_back_at, wants_wipe=case.wants_wipe, repair_since=since)


def _waits(waiting: wording.Waiting) -> WaitsFor:
    return WaitsFor(who=waiting.who, code=waiting.code, since=waiting.since, text=waiting.text())


def _tablet(seen: Progress) -> TabletOut | None:
    if not seen.line.there:
        return None
    line = seen.line
    return TabletOut(
        enrollment=line.status.value,
        supervised=line.supervised,
        lost_mode=line.lost_mode,
        last_seen_at=line.last_seen_at,
        last_push_at=line.last_push_at,
    )


def _holder(session: Session, principal: Principal, case: Case) -> HolderItems | None:
    if case.user_id is None or not principal.may(Action.WORK_LOSS):
        return None
    statement = (
        select(SchoolClass.year, SchoolClass.name)
        .join(Holder, col(Holder.class_id) == SchoolClass.id)
        .where(Holder.user_id == case.user_id)
    )
    year, class_name = session.exec(statement).first() or (None, None)
    return HolderItems(user_id=case.user_id, year=year, class_name=class_name)


def _commands(seen: Progress, steps: list[Step]) -> list[AskedOut]:
    return [_asked(each, [step for step in steps if step.command_id == each.id]) for each in seen.asked]


def _asked(each: Asked, steps: list[Step]) -> AskedOut:
    return AskedOut(
        id=each.id,
        purpose=each.purpose,
        kind=each.kind.value,
        state=each.state,
        sent_at=each.sent_at,
        delivered_at=each.delivered_at,
        ended_at=each.ended_at,
        error=list(each.error),
        approval_id=each.approval_id,
        approval=each.approval,
        steps=[
            StepOut(at=step.at, state=step.state, text=wording.state_words(step.state), note=step.note)
            for step in steps
        ],
    )
