"""The operator API of cases on paper: the timeline and the written report, as JSON, CSV and pages to print."""

from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import HTMLResponse, Response
from sqlmodel import Session

from mdm.api.csvanswer import CsvResponse, csv_file
from mdm.audit import chain
from mdm.auth import Principal
from mdm.db import SessionDep
from mdm.support import cases, pages, papers, wording, words
from mdm.support.endpoints import Reader
from mdm.support.models import Case
from mdm.support.papers import IncidentReport
from mdm.support.wording import Language

router = APIRouter(prefix="/api/v1/cases/{case_id}", tags=["cases"])
Accepted = Annotated[str | None, Header(alias="Accept-Language", max_length=200, description="ja or en.")]


def _taken(session: Session, principal: Principal, case_id: int, what: str) -> Case:
    """Return a case that leaves the system on paper, which goes on record."""
    case = cases.find(session, principal, case_id)
    chain.record(session, principal, "case.export", f"case:{case_id}", {"what": what})
    return case


def _csv(body: str, name: str) -> Response:
    return csv_file(body, name, Vary="Accept-Language")


def _title(words_: tuple[str, str], case_id: int, language: Language) -> str:
    return f"{words_[0 if language == 'en' else 1]} {case_id}"


@router.get("/timeline.csv", operation_id="caseTimelineCsv", summary="The timeline as CSV", response_class=CsvResponse)
def timeline_csv(case_id: int, session: SessionDep, principal: Reader, accepted: Accepted = None) -> Response:
    """Give the whole timeline, desk and tablet, as CSV in UTF-8 with a mark, for spreadsheets."""
    language = pages.language_of(accepted)
    case = _taken(session, principal, case_id, "timeline.csv")
    return _csv(papers.timeline_csv(case, papers.entries(session, case, language), language), f"case-{case_id}")


@router.get(
    "/timeline.html", operation_id="caseTimelinePage", summary="The timeline to print", response_class=HTMLResponse
)
def timeline_page(case_id: int, session: SessionDep, principal: Reader, accepted: Accepted = None) -> HTMLResponse:
    """Give the whole timeline as a page to print."""
    language = pages.language_of(accepted)
    case = _taken(session, principal, case_id, "timeline.html")
    rows = [
        (wording.jst(each.at), each.who, each.what, each.details) for each in papers.entries(session, case, language)
    ]
    title = f"{_title(words.TIMELINE, case_id, language)} · {case.control_number}"
    return pages.table(title, papers.HEADERS[language][2:], rows, language)


@router.get("/incident-report", operation_id="caseReport", summary="The written report of an incident")
def incident_report(case_id: int, session: SessionDep, principal: Reader) -> IncidentReport:
    """Give the written report (R-61): what happened when, by the tablet's word, and what is not proved."""
    return papers.incident(session, _taken(session, principal, case_id, "incident-report"))


@router.get(
    "/incident-report.csv",
    operation_id="caseReportCsv",
    summary="The written report as CSV",
    response_class=CsvResponse,
)
def incident_report_csv(case_id: int, session: SessionDep, principal: Reader, accepted: Accepted = None) -> Response:
    """Give the written report as CSV."""
    language = pages.language_of(accepted)
    report = papers.incident(session, _taken(session, principal, case_id, "incident-report.csv"))
    return _csv(papers.report_csv(report, language), f"incident-{case_id}")


@router.get(
    "/incident-report.html", operation_id="caseReportPage", summary="The report to print", response_class=HTMLResponse
)
def incident_report_page(
    case_id: int, session: SessionDep, principal: Reader, accepted: Accepted = None
) -> HTMLResponse:
    """Give the written report as a page to print."""
    language = pages.language_of(accepted)
    report = papers.incident(session, _taken(session, principal, case_id, "incident-report.html"))
    title = _title(words.REPORT, case_id, language)
    return pages.table(title, (), papers.report_rows(report, language), language)
