"""Whereabouts checks within a scope: find them, plan, copy and cancel them. Starts none."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, select

from mdm import clock
from mdm.audit import chain
from mdm.auth.principal import SCOPE_SQL, Principal, Scope
from mdm.auth.rights import Action
from mdm.checks.models import CheckSchool, CheckState, WhereaboutsCheck
from mdm.checks.values import Days, Deadlines, Plan, begin_of, today
from mdm.devices.models import LedgerState
from mdm.errors import Conflict, Forbidden, Invalid, NotFound
from mdm.organization import schools
from mdm.organization.hours import fiscal_year

ACTOR: Final = "job:checks"
SEES_ANY_SCHOOL: Final = (
    "(CAST(:schools AS bigint[]) IS NULL OR cardinality(CAST(:schools AS bigint[])) > 0)"  # beside SCOPE_SQL
)
VISIBLE: Final = (
    f"((whereabouts_check.all_schools AND {SEES_ANY_SCHOOL}) OR EXISTS (SELECT 1 FROM check_school cs"
    f" WHERE cs.check_id = whereabouts_check.id AND {SCOPE_SQL.format(column='cs.school_id')}))"
)
"""A check is there for whoever has one of its schools; what it says is about the schools in scope only."""


def find(session: Session, scope: Scope, check_id: UUID, *, locked: str | None = None) -> WhereaboutsCheck:
    """Return one check, or raise `NotFound` out of scope; `locked` for `share` (it stays as it is) or `update`."""
    statement = (
        select(WhereaboutsCheck)
        .where(WhereaboutsCheck.id == check_id, text(VISIBLE).bindparams(schools=scope.parameter))
        .execution_options(populate_existing=True)
    )
    if locked is not None:
        statement = statement.with_for_update(read=locked == "share", of=WhereaboutsCheck)
    found = session.exec(statement).first()
    if found is None:
        raise NotFound("there is no such check")
    return found


def visible(
    session: Session,
    scope: Scope,
    *,
    state: CheckState | None,
    year: int | None,
    before: UUID | None,
    limit: int,
) -> list[WhereaboutsCheck]:
    """List checks in scope, newest first (ids are in the order of time)."""
    statement = select(WhereaboutsCheck).where(text(VISIBLE).bindparams(schools=scope.parameter))
    if state is not None:
        statement = statement.where(col(WhereaboutsCheck.state) == state.value)
    if year is not None:
        statement = statement.where(col(WhereaboutsCheck.fiscal_year) == year)
    if before is not None:
        statement = statement.where(col(WhereaboutsCheck.id) < before)
    return list(session.exec(statement.order_by(col(WhereaboutsCheck.id).desc()).limit(limit)))


def plan(session: Session, principal: Principal, wanted: Plan) -> WhereaboutsCheck:
    """Plan a check; it starts by itself on its first day. `Invalid` names a school that is not in scope."""
    principal.must(Action.RUN_CHECKS)
    if wanted.last_day < today(clock.now()):
        detail = "this day is over"
        raise Invalid("a check must end in the future", errors=[{"pointer": "/last_day", "detail": detail}])
    ids = _schools_of(session, principal.scope, wanted)
    check = planned(wanted, principal.actor, all_schools=ids is None)
    session.add(check)
    session.flush()
    session.refresh(check)
    assert check.id is not None
    session.add_all(CheckSchool(check_id=check.id, school_id=id_) for id_ in ids or ())
    details = {"name": wanted.name, "first_day": str(wanted.first_day), "last_day": str(wanted.last_day)}
    details |= {"schools": "all" if ids is None else str(len(ids))}
    chain.record(session, principal, "check.plan", f"check:{check.id}", details)
    return check


def copied(session: Session, principal: Principal, check_id: UUID, days: Days, name: str | None) -> WhereaboutsCheck:
    """Plan a check like another one on other days."""
    principal.must(Action.RUN_CHECKS)
    check = find(session, principal.scope, check_id)
    must_reach(session, principal, check)
    # Its rhythm stays with the first: two checks that repeat would become more every term.
    wanted = plan_of(session, check).model_copy(update={**days.model_dump(), "name": name or check.name})
    return plan(session, principal, wanted)


def plan_of(session: Session, check: WhereaboutsCheck) -> Plan:
    """Return what a check was planned as, but for its rhythm."""
    chosen = text("SELECT s.code FROM check_school c JOIN school s ON s.id = c.school_id WHERE c.check_id = :id")
    codes = None if check.all_schools else sorted(session.execute(chosen, {"id": check.id}).scalars())
    return Plan(
        name=check.name,
        first_day=check.first_day,
        last_day=check.last_day,
        schools=codes,
        states=[LedgerState(state) for state in check.states],
        by_hand=[LedgerState(state) for state in check.by_hand],
        checkin_days=check.checkin_days,
        silent_days=check.silent_days,
        deadlines=Deadlines.model_validate(check.deadlines),
    )


def cancel(session: Session, principal: Principal, check_id: UUID) -> WhereaboutsCheck:
    """Give up a check that has not begun; with it ends its rhythm."""
    principal.must(Action.RUN_CHECKS)
    check = find(session, principal.scope, check_id, locked="update")
    must_reach(session, principal, check)
    must_be(check, CheckState.PLANNED)
    check.state = CheckState.CANCELLED
    check.closed_at, check.closed_by = clock.now(), principal.actor[:80]
    session.add(check)
    chain.record(session, principal, "check.cancel", f"check:{check.id}", {})
    return check


def must_be(check: WhereaboutsCheck, state: CheckState) -> None:
    """Raise `Conflict` unless the check is in this state."""
    if check.state != state:
        raise Conflict(f"this check is {CheckState(check.state).value}, not {state.value}")


def must_reach(session: Session, principal: Principal, check: WhereaboutsCheck) -> None:
    """Raise `Forbidden` when the check is also about schools that the principal does not have."""
    beyond = text(
        "SELECT EXISTS (SELECT 1 FROM check_school cs WHERE cs.check_id = :id"
        f" AND NOT {SCOPE_SQL.format(column='cs.school_id')})"
    )
    parameters = {"id": check.id, "schools": principal.scope.parameter}
    if not principal.scope.all_schools and (check.all_schools or session.execute(beyond, parameters).scalar_one()):
        raise Forbidden("this check is about more schools than yours")


def _schools_of(session: Session, scope: Scope, wanted: Plan) -> list[int] | None:
    """Return the ids of the schools of a plan; None for all there are when it starts."""
    if wanted.schools is None:
        if scope.all_schools:
            return None
        if not scope.school_ids:
            raise Forbidden("you have no schools to check")
        return sorted(scope.school_ids)
    found, errors = set(), []
    for place, code in enumerate(wanted.schools):
        try:
            found.add(schools.find_school(session, scope, code).id)
        except NotFound:
            errors.append({"pointer": f"/schools/{place}", "detail": "there is no such school"})
    if errors:
        raise Invalid("not every school is known", errors=errors)
    return sorted(found)


def planned(wanted: Plan, actor: str, *, all_schools: bool) -> WhereaboutsCheck:
    """Return a check as it is to be stored; `all_schools`: those there are when it starts."""
    return WhereaboutsCheck(
        name=wanted.name,
        fiscal_year=fiscal_year(wanted.first_day),
        first_day=wanted.first_day,
        last_day=wanted.last_day,
        all_schools=all_schools,
        states=sorted({state.value for state in wanted.states}),
        by_hand=sorted({state.value for state in wanted.by_hand}),
        checkin_days=wanted.checkin_days,
        silent_days=wanted.silent_days,
        checkins_from=begin_of(wanted.first_day) - timedelta(days=wanted.checkin_days),
        deadlines=wanted.deadlines.model_dump(),
        repeats=wanted.repeats,
        planned_by=actor[:80],
        planned_at=clock.now(),
    )
