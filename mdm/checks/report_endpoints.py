"""The operator API of the report of the unverified: JSON, CSV, and a page to print. Each export is on record."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import HTMLResponse, Response
from sqlmodel import Session

from mdm import clock
from mdm.api.csvanswer import CsvResponse, csv_file
from mdm.audit import chain
from mdm.auth.access import may
from mdm.auth.principal import Principal
from mdm.auth.rights import Action
from mdm.checks import counts, lists, plans, report
from mdm.checks.lists import Filters, Status
from mdm.checks.models import WhereaboutsCheck
from mdm.checks.report import Language
from mdm.checks.views import CheckDetailOut, CheckOut, CountsOut, ReportOut, SchoolCountsOut, StepOut, TaskOut
from mdm.db import SessionDep

router = APIRouter()

_Reader = Annotated[Principal, Depends(may(Action.READ_CHECKS))]
_School = Annotated[str | None, Query(max_length=32, description="A school's code, for its part alone.")]
_Language = Annotated[Language, Query(description="The words of headers and states.")]


def _filters(school: str | None) -> Filters:
    return Filters(status=Status.UNVERIFIED, school=school)


def _export(session: Session, principal: Principal, check_id: UUID, form: str) -> WhereaboutsCheck:
    """Return the check whose report goes out, and put that on record: user ids may be in it (R-38)."""
    check = plans.find(session, principal.scope, check_id)
    details = {"form": form, "holders": lists.may_know_holders(principal)}
    chain.record(session, principal, "check.export", f"check:{check_id}", details)
    return check


def detail(session: Session, principal: Principal, check: WhereaboutsCheck) -> CheckDetailOut:
    """Return a check with what it has found in the caller's schools."""
    assert check.id is not None
    return CheckDetailOut(
        **CheckOut.model_validate(check).model_dump(),
        counts=CountsOut.model_validate(counts.total(session, principal.scope, check.id)),
        steps=[StepOut.model_validate(step) for step in counts.steps(session, principal.scope, check.id)],
        report_digest=None if check.report_digest is None else check.report_digest.hex(),
    )


@router.get("/{check_id}/report", operation_id="showCheckReport", summary="The report of the unverified")
def show_check_report(check_id: UUID, session: SessionDep, principal: _Reader, *, school: _School = None) -> ReportOut:
    """Return every tablet in the caller's schools that is not verified, with its last contact. Final once closed."""
    scope, holders = principal.scope, lists.may_know_holders(principal)
    check = _export(session, principal, check_id, "json")
    return ReportOut(
        check=detail(session, principal, check),
        schools=[
            SchoolCountsOut.model_validate(each)
            for each in counts.of_schools(session, scope, check_id)
            if school in (None, each.school_code)
        ],
        unverified=[
            TaskOut.model_validate(line)
            for line in lists.each(session, scope, check_id, _filters(school), holders=holders)
        ],
    )


@router.get(
    "/{check_id}/report.csv",
    operation_id="exportCheckReport",
    summary="The report of the unverified as CSV",
    response_class=CsvResponse,
)
def export_check_report(
    check_id: UUID, session: SessionDep, principal: _Reader, *, school: _School = None, lang: _Language = Language.JA
) -> Response:
    """Give the report as CSV (UTF-8 with a mark, for spreadsheets) whose cells none of them executes."""
    holders = lists.may_know_holders(principal)
    _export(session, principal, check_id, "csv")
    lines = lists.each(session, principal.scope, check_id, _filters(school), holders=holders)
    body = "".join(report.as_csv(lines, lang, holders=holders))
    return csv_file(body, "unverified")


@router.get(
    "/{check_id}/report.html",
    operation_id="printCheckReport",
    summary="The report of the unverified to print",
    response_class=HTMLResponse,
)
def print_check_report(
    check_id: UUID, session: SessionDep, principal: _Reader, *, school: _School = None, lang: _Language = Language.JA
) -> Response:
    """Give the report as a page: a sheet for each school, with a box to tick beside each tablet."""
    scope, holders = principal.scope, lists.may_know_holders(principal)
    check = _export(session, principal, check_id, "html")
    lines = lists.each(session, scope, check_id, _filters(school), holders=holders)
    found = counts.total(session, scope, check_id)
    page = "".join(report.as_page(check, found, lines, lang, holders=holders, now=clock.now()))
    return HTMLResponse(page, headers={"Content-Security-Policy": report.POLICY})
