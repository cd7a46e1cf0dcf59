"""The operator API of usage reports. It reads and shows; lines are shown by control number and beside no person.

Who holds a tablet is opened elsewhere, one at a time and on record. What shows single lines goes on record here.
"""

from datetime import date, timedelta
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from mdm import clock
from mdm.api import Page, Paging, page_of
from mdm.api.csvanswer import csv_file
from mdm.api.xlsxanswer import xlsx_file
from mdm.audit import chain
from mdm.audit.reads import on_record
from mdm.auth import Action, Principal, may
from mdm.cellular import accounts
from mdm.cellular.reports import lines, monthly, sharing, writing
from mdm.cellular.reports.shown import IdleOut, MonthOut, PoolUsageOut, TopOut, UsageOut
from mdm.db import SessionDep
from mdm.errors import Invalid

router = APIRouter(prefix="/api/v1/usage", tags=["usage"])
_TOKYO: Final = ZoneInfo("Asia/Tokyo")

Reader = Annotated[Principal, Depends(may(Action.READ_USAGE))]
_School = Annotated[str | None, Query(max_length=32, description="The code of a school.")]
_Since = Annotated[str | None, Query(alias="from", max_length=7, description="2026-11; this month when absent.")]
_Until = Annotated[str | None, Query(alias="to", max_length=7, description="The last month; `from` when absent.")]


def _months(first: str | None, last: str | None) -> tuple[date, date]:
    begins = monthly.month_of(first) if first else _today().replace(day=1)
    return begins, monthly.month_of(last) if last else begins


def _today() -> date:
    return clock.now().astimezone(_TOKYO).date()


@router.get("/report", operation_id="usageReport", summary="Cost and usage by school and month")
def report(
    session: SessionDep, principal: Reader, first: _Since = None, last: _Until = None, school: _School = None
) -> list[MonthOut]:
    """Sum up usage and cost by month and school, within scope."""
    found = monthly.report(session, principal.scope, *_months(first, last), school=school)
    return [MonthOut.model_validate(each) for each in found]


@router.get("/report/file", operation_id="usageReportFile", summary="The same as a file", response_class=Response)
def report_file(
    *,
    session: SessionDep,
    principal: Reader,
    first: _Since = None,
    last: _Until = None,
    school: _School = None,
    form: Annotated[Literal["csv", "xlsx"], Query(alias="format")] = "csv",
    english: Annotated[bool, Query(description="English headers instead of Japanese ones.")] = False,
) -> Response:
    """Give the report as CSV (UTF-8 with a mark) or as a workbook."""
    begins, ends = _months(first, last)
    found = monthly.report(session, principal.scope, begins, ends, school=school)
    chain.record(session, principal, "usage.export", "usage:report", {"lines": len(found), "format": form})
    rows = writing.report_rows(found, english=english)
    name = f"usage-{begins:%Y-%m}-{ends:%Y-%m}" if ends != begins else f"usage-{begins:%Y-%m}"
    if form == "xlsx":
        return xlsx_file(rows, name, sheet="usage" if english else "利用状況")
    return csv_file(writing.csv(rows), name)


@router.get(
    "/top",
    operation_id="topUsage",
    summary="The lines that used most",
    dependencies=[on_record("usage.list", "usage:top")],
)
def top(
    *,
    session: SessionDep,
    principal: Reader,
    month: Annotated[str | None, Query(max_length=7, description="2026-11; this month when absent.")] = None,
    days: Annotated[int | None, Query(ge=1, le=92, description="Instead: so many days up to yesterday.")] = None,
    school: _School = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> list[TopOut]:
    """List the lines that used most in a calendar month or in the last days, with what they used before that."""
    if month and days:
        raise Invalid("give a month or a number of days")
    if days:
        last = _today() - timedelta(days=1)
        first = last - timedelta(days=days - 1)
    else:
        first = monthly.month_of(month) if month else _today().replace(day=1)
        last = min(max(_today(), first), (first + timedelta(days=31)).replace(day=1) - timedelta(days=1))
    found = lines.top(session, principal.scope, first, last, school=school, limit=limit)
    return [TopOut.model_validate(each) for each in found]


@router.get(
    "/idle",
    operation_id="idleLines",
    summary="Lines that are paid for and not used",
    dependencies=[on_record("usage.list", "usage:idle")],
)
def idle(
    session: SessionDep,
    principal: Reader,
    window: Paging,
    days: Annotated[int, Query(ge=1, le=400)] = 30,
    school: _School = None,
) -> Page[IdleOut]:
    """List active lines that have used nothing for so many days."""
    after = int(window.after[0]) if window.after else None
    since = _today() - timedelta(days=days)
    rows = lines.idle(session, principal.scope, since, school=school, after=after, limit=window.limit + 1)
    return page_of(window, rows, key=lambda row: [row.sim_id], show=IdleOut.model_validate)


@router.get("/pools", operation_id="poolUsage", summary="What pools used so far, and may")
def pool_usage(session: SessionDep, principal: Reader) -> list[PoolUsageOut]:
    """List the pools with what their lines used in the present cycle. Only for people of the whole district."""
    accounts.must_be_everywhere(principal)
    return [PoolUsageOut.model_validate(each) for each in sharing.pools(session)]


@router.get(
    "/sims/{sim_id}",
    operation_id="simUsage",
    summary="What one line used",
    dependencies=[on_record("usage.read", "sim:{sim_id}")],
)
def sim_usage(
    sim_id: int, session: SessionDep, principal: Reader, days: Annotated[int, Query(ge=1, le=400)] = 35
) -> UsageOut:
    """Show one line's days and billing cycles, newest first."""
    last = _today()
    found = lines.of_line(session, principal.scope, sim_id, last - timedelta(days=days - 1), last)
    return UsageOut.model_validate(found)
