"""The operator API of whereabouts checks: plan, start, watch, close. It reads and shows; the rules are beside it."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import ConfigDict, Field

from mdm.api import Page, Paging, page_of
from mdm.audit.reads import on_record
from mdm.auth.access import may
from mdm.auth.principal import Principal
from mdm.auth.rights import Action
from mdm.checks import closing, counts, intake_endpoints, lists, plans, report_endpoints, starting
from mdm.checks.lists import Filters, Status
from mdm.checks.models import CheckState, EvidenceKind
from mdm.checks.report_endpoints import detail
from mdm.checks.values import Days, Plan
from mdm.checks.views import (
    CheckDetailOut,
    CheckOut,
    ClassCountsOut,
    CountsOut,
    EvidenceOut,
    ProgressOut,
    SchoolCountsOut,
    TaskOut,
)
from mdm.db import SessionDep
from mdm.organization import schools

router = APIRouter(prefix="/api/v1/checks", tags=["checks"])
router.include_router(intake_endpoints.router)
router.include_router(report_endpoints.router)

_Reader = Annotated[Principal, Depends(may(Action.READ_CHECKS))]
_Runner = Annotated[Principal, Depends(may(Action.RUN_CHECKS))]


class CopyPlan(Days):
    """The days of a copy."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(default=None, min_length=1, max_length=100, examples=["所在確認 2学期"])


@router.get("", operation_id="listChecks", summary="The whereabouts checks")
def list_checks(
    session: SessionDep,
    principal: _Reader,
    window: Paging,
    *,
    state: CheckState | None = None,
    fiscal_year: Annotated[int | None, Query(ge=2000, le=2100)] = None,
) -> Page[CheckOut]:
    """List the checks that are about schools in the caller's scope, newest first."""
    before = UUID(window.after[0]) if window.after else None
    rows = plans.visible(session, principal.scope, state=state, year=fiscal_year, before=before, limit=window.limit + 1)
    return page_of(window, rows, key=lambda row: [row.id], show=CheckOut.model_validate)


@router.post("", operation_id="planCheck", summary="Plan a check", status_code=201)
def plan_check(body: Plan, session: SessionDep, principal: _Runner) -> CheckDetailOut:
    """Plan a check of schools in the caller's scope. It starts by itself on its first day, or when it is told to."""
    return detail(session, principal, plans.plan(session, principal, body))


@router.get("/{check_id}", operation_id="showCheck", summary="One check")
def show_check(check_id: UUID, session: SessionDep, principal: _Reader) -> CheckDetailOut:
    """Show a check, what it has found and who was told."""
    return detail(session, principal, plans.find(session, principal.scope, check_id))


@router.post("/{check_id}/start", operation_id="startCheck", summary="Start a check now")
def start_check(check_id: UUID, session: SessionDep, principal: _Runner) -> CheckDetailOut:
    """Freeze the list of tablets and begin to take evidence. What repeats is planned anew."""
    return detail(session, principal, starting.start(session, principal, check_id))


@router.post("/{check_id}/cancel", operation_id="cancelCheck", summary="Give up a planned check")
def cancel_check(check_id: UUID, session: SessionDep, principal: _Runner) -> CheckDetailOut:
    """Give up a check that has not begun; with it ends its rhythm."""
    return detail(session, principal, plans.cancel(session, principal, check_id))


@router.post("/{check_id}/close", operation_id="closeCheck", summary="Close a check")
def close_check(check_id: UUID, session: SessionDep, principal: _Runner) -> CheckDetailOut:
    """Take no more evidence and freeze the report."""
    return detail(session, principal, closing.close(session, principal, check_id))


@router.post("/{check_id}/copies", operation_id="copyCheck", summary="Plan a check like another", status_code=201)
def copy_check(check_id: UUID, body: CopyPlan, session: SessionDep, principal: _Runner) -> CheckDetailOut:
    """Plan the same on other days."""
    days = Days(first_day=body.first_day, last_day=body.last_day)
    return detail(session, principal, plans.copied(session, principal, check_id, days, body.name))


@router.get("/{check_id}/progress", operation_id="showCheckProgress", summary="How far schools and classes are")
def show_check_progress(
    check_id: UUID,
    session: SessionDep,
    principal: _Reader,
    *,
    school: Annotated[str | None, Query(max_length=32, description="A school's code, to count its classes.")] = None,
) -> ProgressOut:
    """Count the tablets of a check school by school; with `school` those of that one alone, class by class."""
    plans.find(session, principal.scope, check_id)
    found = counts.of_schools(session, principal.scope, check_id)
    if school is None:
        total, classes = counts.total(session, principal.scope, check_id), []
    else:
        one = schools.find_school(session, principal.scope, school)
        found = [each for each in found if each.school_code == one.code]
        classes = counts.of_classes(session, check_id, one.id)
        total = found[0].counts if found else counts.Counts(0, 0, 0, 0, 0, 0, 0, 0, 0)
    return ProgressOut(
        total=CountsOut.model_validate(total),
        schools=[SchoolCountsOut.model_validate(each) for each in found],
        classes=[ClassCountsOut.model_validate(each) for each in classes],
    )


@router.get(
    "/{check_id}/tasks",
    operation_id="listCheckTasks",
    summary="The tablets of a check",
    dependencies=[on_record("check.read", "check:{check_id}")],
)
def list_check_tasks(
    check_id: UUID,
    session: SessionDep,
    principal: _Reader,
    window: Paging,
    *,
    status: Status | None = None,
    school: Annotated[str | None, Query(max_length=32, description="A school code.")] = None,
    year: Annotated[int | None, Query(ge=1, le=12)] = None,
    class_name: Annotated[str | None, Query(alias="class", max_length=32)] = None,
    control_number: Annotated[str | None, Query(max_length=64)] = None,
) -> Page[TaskOut]:
    """List the tablets of a check in the caller's schools: a school's task list, or where one tablet stands."""
    plans.find(session, principal.scope, check_id)
    filters = Filters(status, school, year, class_name, control_number)
    after = (str(window.after[0]), str(window.after[1])) if window.after else None
    holders = lists.may_know_holders(principal)
    rows = lists.tasks(
        session, principal.scope, check_id, filters, holders=holders, after=after, limit=window.limit + 1
    )
    return page_of(window, rows, key=lambda row: [row.school_code, row.control_number], show=TaskOut.model_validate)


@router.get("/{check_id}/evidence", operation_id="listCheckEvidence", summary="The evidence of a check")
def list_check_evidence(
    check_id: UUID,
    session: SessionDep,
    principal: _Reader,
    window: Paging,
    *,
    control_number: Annotated[str | None, Query(max_length=64)] = None,
    kind: EvidenceKind | None = None,
) -> Page[EvidenceOut]:
    """List what was taken as evidence, newest first: what, when, by whom."""
    plans.find(session, principal.scope, check_id)
    rows = lists.evidence(
        session,
        principal.scope,
        check_id,
        control_number=control_number,
        kind=kind,
        before=int(window.after[0]) if window.after else None,
        limit=window.limit + 1,
    )
    return page_of(window, rows, key=lambda row: [row.id], show=EvidenceOut.model_validate)
