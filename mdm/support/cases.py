"""Cases: open one, find it, list them, settle where it stands. What is done about one is in `acts` and `repairs`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, text
from sqlmodel import Session, col, select

from mdm import clock
from mdm.audit import chain
from mdm.auth import Principal
from mdm.errors import Conflict, Invalid, NotFound
from mdm.organization.models import School
from mdm.support import asking, desk_settings, progress, tablets, timeline
from mdm.support.kinds import LOSS, RIGHT, Caller, CaseKind, Purpose, Verified
from mdm.support.models import Case
from mdm.support.progress import Progress
from mdm.support.states import Act, State, WrongState, refusal
from mdm.support.tablets import Sought

JOB: Final = "job:cases"


class CaseOpen(Conflict):
    """The tablet has an open case already."""

    slug = "case-open"


@dataclass(frozen=True, slots=True)
class Opening:
    """A call to the desk. No name of the caller: only who it was, and how that was verified."""

    kind: CaseKind
    sought: Sought
    caller: Caller
    verified: Verified
    text: Mapping[str, Any]
    """Message, telephone number, footnote; what is left out comes from the desk's settings (R-09)."""
    due_on: date | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which cases to list."""

    is_open: bool | None = None
    kind: CaseKind | None = None
    state: State | None = None
    school: str | None = None
    serial: str | None = None
    overdue: bool = False


def open_case(session: Session, principal: Principal, opening: Opening) -> Case:
    """Open a case, and lock a tablet that is out of our hands at once and alone, in the same transaction.

    Raises `NotFound`, `Ambiguous`, `CaseOpen`, `Invalid`. That the tablet cannot be locked just now (not enrolled, the
    budget spent) is no reason not to open the case: it is on its timeline.
    """
    principal.must(RIGHT[opening.kind])
    if (opening.due_on is None) == (opening.kind is CaseKind.RETURNED_LATE):
        detail = "say since when it should be back" if opening.due_on is None else "only a late return has such a day"
        raise Invalid(detail, errors=[{"pointer": "/due_on", "detail": detail}])
    found = tablets.the_one(session, principal.scope, opening.sought)
    # Two calls about one tablet stand in line here, before either looks for a case.
    statement = text("SELECT school_id FROM device WHERE id = :id FOR NO KEY UPDATE")
    school_id = session.execute(statement, {"id": found.id}).scalar_one()
    _refuse_second(session, found.serial)
    now = clock.now()
    hours = desk_settings.hours_for(session, opening.kind, school_id)
    case = Case(
        kind=opening.kind,
        state=State.OPENED,
        device_id=found.id,
        control_number=found.control_number,
        serial=found.serial,
        school_id=school_id,
        user_id=found.user_id,
        caller=opening.caller,
        verified=opening.verified,
        opened_by=principal.id,
        opened_at=now,
        deadline_at=now + timedelta(hours=hours),
        due_on=opening.due_on,
    )
    session.add(case)
    session.flush()
    facts = {"kind": case.kind, "caller": case.caller, "verified": case.verified}
    timeline.note(session, principal, id_of(case), "open", facts | {"hours": hours})
    if case.kind in LOSS:
        take_up(session, case)
        asking.lock(session, principal, case, opening.text)
    settle(session, case)
    # Whose tablet it is stands in the ledger; the trail names the tablet only.
    chain.record(session, principal, "case.open", f"case:{case.id}", facts | {"device": found.id})
    return case


def take_up(session: Session, case: Case) -> None:
    """Take up what is on its way to the tablet already; a wipe that waits since an earlier case is wanted still."""
    progress.take_up(session, case)
    wipe = progress.look(session, case).latest(Purpose.WIPE)
    case.wants_wipe = wipe is not None and wipe.live
    session.add(case)


def _refuse_second(session: Session, serial: str) -> None:
    other = session.exec(select(Case).where(Case.serial == serial, col(Case.closed_at).is_(None))).first()
    if other is not None:
        raise CaseOpen(f"case {other.id} ({CaseKind(other.kind).value}) is open for this tablet already")


def id_of(case: Case) -> int:
    """Return the number of a stored case."""
    assert case.id is not None
    return case.id


def _visible(principal: Principal) -> ColumnElement[bool]:
    """The condition that a case is in scope and of a kind that concerns the caller's duty (R-41, R-42).

    Who works on one sort of cases sees only those; who works on none, but may read, sees all.
    """
    worked = [kind for kind, right in RIGHT.items() if principal.may(right)]
    kinds = worked or list(CaseKind)
    return principal.scope.covers(col(Case.school_id)) & col(Case.kind).in_([kind.value for kind in kinds])


def find(session: Session, principal: Principal, case_id: int, *, locked: bool = False) -> Case:
    """Return one case in the caller's scope and duty, or raise `NotFound`."""
    statement = select(Case).where(Case.id == case_id, _visible(principal))
    if locked:
        statement = statement.with_for_update()
    case = session.exec(statement.execution_options(populate_existing=True)).first()
    if case is None:
        raise NotFound("there is no such case")
    return case


def begin(session: Session, principal: Principal, case_id: int, act: Act) -> tuple[Case, Progress]:
    """Lock a case for an act, and refuse what cannot be done there."""
    case = find(session, principal, case_id, locked=True)
    principal.must(RIGHT[case.kind])
    if case.closed_at is not None:
        raise WrongState(f"the case is closed: {State(case.state).value}")
    seen = progress.look(session, case)
    refused = refusal(act, seen.facts, seen.state)
    if refused is not None:
        raise refused
    return case, seen


def settle(session: Session, case: Case) -> Progress:
    """Write down how far a case has come by what its tablet and the second person have said since."""
    session.flush()
    seen = progress.look(session, case)
    if seen.state != case.state:
        details = {"from": State(case.state).value, "to": seen.state.value}
        timeline.note(session, JOB, id_of(case), "state", details)
        case.state = seen.state
        session.add(case)
        session.flush()
    return seen


def listed(
    session: Session, principal: Principal, wanted: Wanted, *, before: int | None, limit: int
) -> Sequence[tuple[Case, str]]:
    """List cases with their schools' codes, newest first."""
    statement = select(Case, School.code).join(School, col(School.id) == col(Case.school_id)).where(_visible(principal))
    if wanted.serial is not None:
        statement = statement.where(col(Case.serial) == wanted.serial.strip().upper())
    for column, value in ((Case.kind, wanted.kind), (Case.state, wanted.state), (School.code, wanted.school)):
        if value is not None:
            statement = statement.where(col(column) == value)
    if wanted.is_open is not None:
        over = col(Case.closed_at)
        statement = statement.where(over.is_(None) if wanted.is_open else over.is_not(None))
    if wanted.overdue:
        statement = statement.where(col(Case.closed_at).is_(None), col(Case.deadline_at) <= clock.now())
    if before is not None:
        statement = statement.where(col(Case.id) < before)
    rows = session.exec(statement.order_by(col(Case.id).desc()).limit(limit)).all()
    return [(case, code) for case, code in rows]


def deadline(session: Session, case: Case, *, since: datetime) -> datetime:
    """Return when a case of its kind runs out, counted anew."""
    return since + timedelta(hours=desk_settings.hours_for(session, CaseKind(case.kind), case.school_id))
