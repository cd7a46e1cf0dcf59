"""The operator API of cases: open, find, list, and the desk's settings. Renders; the rules are in `cases`."""

from datetime import date, datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from mdm.api import Once, Page, Paging, page_of
from mdm.audit.reads import on_record
from mdm.auth import Principal
from mdm.auth.access import may
from mdm.auth.rights import Action
from mdm.db import SessionDep
from mdm.support import cases, desk_settings, tablets, views
from mdm.support.cases import Opening, Wanted
from mdm.support.desk_settings import Name
from mdm.support.kinds import Caller, CaseKind, Verified
from mdm.support.states import State
from mdm.support.tablets import Sought
from mdm.support.views import CaseLine, CaseOut, ChoiceOut

router = APIRouter(prefix="/api/v1", tags=["cases"])
Reader = Annotated[Principal, Depends(may(Action.READ_CASES))]
Worker = Annotated[Principal, Depends(may(Action.WORK_CASES))]
Setter = Annotated[Principal, Depends(may(Action.SET_DESK))]


class ShownText(BaseModel):
    """What the locked tablet shows; what is left out comes from the desk's settings."""

    model_config = ConfigDict(extra="forbid")

    message: str | None = Field(default=None, max_length=400, examples=["Please return me to the school"])
    phone_number: str | None = Field(default=None, max_length=32, examples=["03-0000-0000"])
    footnote: str | None = Field(default=None, max_length=400)


class OpenCase(ShownText):
    """A call to the desk. Nobody's name belongs in it (R-47)."""

    kind: CaseKind
    control_number: str | None = Field(default=None, max_length=64, examples=["T000001"])
    serial: str | None = Field(default=None, max_length=64)
    user_id: str | None = Field(default=None, max_length=64, description="The holder's.")
    school: str | None = Field(default=None, max_length=32, description="A school's code; with year and class.")
    year: int | None = Field(default=None, ge=1, le=12)
    class_name: str | None = Field(default=None, max_length=32)
    caller: Caller = Field(description="Who called, by relation.")
    verified: Verified = Field(default=Verified.NOT_YET, description="How the caller was verified; a wipe needs it.")
    due_on: date | None = Field(default=None, description="returned_late: the day on which it should have come back.")


class DeskSettingOut(BaseModel):
    """A setting of the desk as it holds."""

    model_config = ConfigDict(from_attributes=True)

    name: Name
    school: str | None = Field(description="The school whose own it is; null for everybody's.")
    value: dict[str, Any] = Field(examples=[{"hours": 24}])
    set_at: datetime | None = Field(description="Null: nobody has set it.")
    set_by: str


class SetDesk(BaseModel):
    """A new value of a setting of the desk."""

    model_config = ConfigDict(extra="forbid")

    value: dict[str, Any] | None = Field(
        description="`{hours}`; of lost_text `{message, phone_number, footnote}`, of contact `{mail}`. Null: none.",
        examples=[{"hours": 12}],
    )
    school: str | None = Field(default=None, max_length=32, description="A school's code, for a value of its own.")


def _sought(
    *,
    control_number: Annotated[str | None, Query(max_length=64)] = None,
    serial: Annotated[str | None, Query(max_length=64)] = None,
    user_id: Annotated[str | None, Query(max_length=64)] = None,
    school: Annotated[str | None, Query(max_length=32, description="A school's code.")] = None,
    year: Annotated[int | None, Query(ge=1, le=12)] = None,
    class_name: Annotated[str | None, Query(alias="class", max_length=32)] = None,
) -> Sought:
    return Sought(control_number, serial, user_id, school, year, class_name)


def _wanted(
    *,
    is_open: Annotated[bool | None, Query(alias="open")] = None,
    kind: CaseKind | None = None,
    state: State | None = None,
    school: Annotated[str | None, Query(max_length=32, description="A school's code.")] = None,
    serial: Annotated[str | None, Query(max_length=64)] = None,
    overdue: Annotated[bool, Query(description="Only open ones whose time has run out.")] = False,
) -> Wanted:
    return Wanted(is_open, kind, state, school, serial, overdue)


@router.get(
    "/cases/choices",
    operation_id="chooseTablet",
    summary="The tablets that a call may be about",
    dependencies=[on_record("case.choices", "devices")],
)
def choose_tablet(
    session: SessionDep, principal: Worker, sought: Annotated[Sought, Depends(_sought)]
) -> list[ChoiceOut]:
    """List up to 50 tablets in scope that fit what the caller says, with the open case of each."""
    found = tablets.choices(session, principal.scope, sought)
    numbers = tablets.open_cases(session, found)
    return [views.choice_of(principal, each, numbers.get(each.serial)) for each in found]


@router.post(
    "/cases",
    operation_id="openCase",
    summary="Open a case; a lost tablet is locked at once",
    status_code=HTTPStatus.CREATED,
    response_model=CaseOut,
)
def open_case(body: OpenCase, session: SessionDep, principal: Worker, once: Once) -> Response:
    """Open a case. For `lost` and `stolen`, lost mode with message and number is put in line in the same step.

    A tablet without supervision is told to lock its screen. When several tablets fit, the problem lists them.
    """

    def act() -> CaseOut:
        sought = Sought(body.control_number, body.serial, body.user_id, body.school, body.year, body.class_name)
        shown = body.model_dump(include={"message", "phone_number", "footnote"}, exclude_none=True)
        opening = Opening(body.kind, sought, body.caller, body.verified, shown, body.due_on)
        return views.case_of(session, principal, cases.open_case(session, principal, opening))

    return once.run(act, status=HTTPStatus.CREATED)


@router.get("/cases", operation_id="listCases", summary="Cases, newest first")
def list_cases(
    session: SessionDep, principal: Reader, paging: Paging, wanted: Annotated[Wanted, Depends(_wanted)]
) -> Page[CaseLine]:
    """List the cases in the caller's scope and duty."""
    before = int(paging.after[0]) if paging.after else None
    rows = cases.listed(session, principal, wanted, before=before, limit=paging.limit + 1)
    return page_of(paging, rows, key=lambda row: [row[0].id], show=lambda row: views.line_of(*row))


@router.get(
    "/cases/{case_id}",
    operation_id="showCase",
    summary="One case with its live line",
    dependencies=[on_record("case.read", "case:{case_id}")],
)
def show_case(case_id: int, session: SessionDep, principal: Reader) -> CaseOut:
    """Return a case: what the tablet has really done, what is waited for, and the timeline."""
    return views.case_of(session, principal, cases.find(session, principal, case_id))


@router.get("/desk-settings", operation_id="listDeskSettings", summary="Deadlines and texts of the desk")
def list_desk_settings(session: SessionDep, principal: Reader) -> list[DeskSettingOut]:
    """List every setting as it holds, then what schools in scope have of their own."""
    return [DeskSettingOut.model_validate(line) for line in desk_settings.overview(session, principal.scope)]


@router.put("/desk-settings/{name}", operation_id="setDesk", summary="Set a deadline or a text of the desk")
def set_desk(name: Name, body: SetDesk, session: SessionDep, principal: Setter) -> DeskSettingOut:
    """Set a value for everybody, or one school's own."""
    line = desk_settings.put(session, principal, name, body.value, school=body.school)
    return DeskSettingOut.model_validate(line)
