"""The operator API of school calendars. It reads and shows; the rules are in `calendars`."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field
from sqlmodel import Session

from mdm.auth import Action, Principal, Scope, may
from mdm.db import SessionDep
from mdm.organization import calendar_files, calendars
from mdm.organization.calendar_document import CalendarDocument, of_calendar
from mdm.organization.calendars import DISTRICT

router = APIRouter(prefix="/api/v1", tags=["schools"])
_FILE = {
    "requestBody": {
        "required": True,
        "description": "A YAML or CSV file (UTF-8 or CP932); docs/calendars.md says what is in it.",
        "content": {
            "application/yaml": {"schema": {"type": "string", "format": "binary"}},
            "text/csv": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


class CalendarOut(BaseModel):
    """A calendar: what was set, and what holds with it."""

    school: str = Field(description="A school's code, or `district`.", examples=["E001"])
    written: CalendarDocument | None = Field(description="What was set for it; null when nothing was.")
    holds: CalendarDocument = Field(description="What holds: for a school, together with the district's.")
    schools: list[str] = Field(
        default=[],
        description="For the district: the schools in scope with something of their own.",
        examples=[["E001"]],
    )


class ImportedCalendar(BaseModel):
    """What a file did to one calendar, or would do."""

    school: str = Field(examples=["E001", "district"])
    changed: bool


def _shown(session: Session, scope: Scope, school: str | None) -> CalendarOut:
    return CalendarOut(
        school=school or DISTRICT,
        written=calendars.written(session, scope, school),
        holds=of_calendar(calendars.holding(session, scope, school)),
        schools=[] if school else calendars.with_own(session, scope),
    )


async def _content(request: Request) -> bytes:
    """Receive the file before the transaction opens."""
    return await request.body()


@router.get("/calendar", operation_id="showCalendar", summary="The district's calendar")
def show_calendar(
    session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_CALENDARS))]
) -> CalendarOut:
    """Return the district's calendar, and which schools have something of their own."""
    return _shown(session, principal.scope, None)


@router.put("/calendar", operation_id="setCalendar", summary="Set the district's calendar")
def set_calendar(
    body: CalendarDocument, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.SET_CALENDARS))]
) -> CalendarOut:
    """Replace the district's calendar; for administrators of all schools. What is planned already stays planned."""
    calendars.put(session, principal, None, body)
    return _shown(session, principal.scope, None)


@router.delete("/calendar", operation_id="dropCalendar", summary="Remove the district's calendar", status_code=204)
def drop_calendar(session: SessionDep, principal: Annotated[Principal, Depends(may(Action.SET_CALENDARS))]) -> None:
    """Remove the district's calendar: schools without hours of their own are open at any time."""
    calendars.drop(session, principal, None)


@router.get("/schools/{code}/calendar", operation_id="showSchoolCalendar", summary="A school's calendar")
def show_school_calendar(
    code: str, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_CALENDARS))]
) -> CalendarOut:
    """Return what a school has of its own, and what holds for it."""
    return _shown(session, principal.scope, code)


@router.put("/schools/{code}/calendar", operation_id="setSchoolCalendar", summary="Set a school's calendar")
def set_school_calendar(
    code: str,
    body: CalendarDocument,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.SET_CALENDARS))],
) -> CalendarOut:
    """Replace what a school has of its own. What is planned already stays planned."""
    calendars.put(session, principal, code, body)
    return _shown(session, principal.scope, code)


@router.delete(
    "/schools/{code}/calendar",
    operation_id="dropSchoolCalendar",
    summary="Remove a school's calendar",
    status_code=HTTPStatus.NO_CONTENT,
)
def drop_school_calendar(
    code: str, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.SET_CALENDARS))]
) -> None:
    """Remove what a school has of its own: the district's calendar holds for it."""
    calendars.drop(session, principal, code)


@router.post(
    "/calendar/imports", operation_id="importCalendars", summary="Set calendars from a file", openapi_extra=_FILE
)
def import_calendars(
    content: Annotated[bytes, Depends(_content)],
    request: Request,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.SET_CALENDARS))],
    *,
    dry_run: Annotated[bool, Query(description="Only say what would change.")] = False,
) -> list[ImportedCalendar]:
    """Replace the calendars that a file names, all or none; errors name their lines. Others stay as they are."""
    is_csv = request.headers.get("content-type", "").startswith("text/csv")
    found = calendar_files.read_csv(content) if is_csv else calendar_files.read_yaml(content)
    with session.begin_nested() as point:
        changed = calendars.put_all(session, principal, found)
        if dry_run:
            point.rollback()
    return [ImportedCalendar(school=school, changed=moved) for school, moved in changed.items()]
