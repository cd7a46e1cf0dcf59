"""The operator API of the register of handlers. Names are masked; a look at one, and the report, go on record."""

from collections.abc import Iterator
from datetime import date, datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from mdm.api.csvanswer import CsvResponse, csv_file
from mdm.auth import Role
from mdm.csvfile import csv_line
from mdm.db import SessionDep
from mdm.organization import contractors, handlers
from mdm.organization.contractor_endpoints import Body, Duties, Manager, Reader
from mdm.organization.handlers import Change, Notice
from mdm.organization.holders import MASK
from mdm.organization.models import Handler, HandlerKind, Tier

router = APIRouter(prefix="/api/v1", tags=["organizations"])
_HANDLERS = "/organizations/{organization_id}/handlers"
_JAPANESE = ("日時", "事業者", "区分", "報告先", "種別", "番号", "氏名", "変更", "変更前", "変更後")
_Since = Annotated[date, Query(description="The first day.")]
_Until = Annotated[date, Query(description="The last day.")]


class NoticeIn(Body):
    """That the person was told of its duties and of the penalties, and pledged."""

    document: str = Field(min_length=1, max_length=200, examples=["pledge 17"], description="Where it is filed.")
    on: date


class NewHandler(Body):
    """A person who handles information at a contractor."""

    kind: HandlerKind = Field(default=HandlerKind.HANDLER, description="取扱責任者 or 取扱者.")
    label: str = Field(min_length=1, max_length=64, examples=["H-001"], description="The organization's own number.")
    name: str = Field(min_length=1, max_length=100, description="Kept sealed.", examples=["架空 太郎"])
    duties: Duties
    valid_from: date = Field(examples=["2026-04-01"])
    valid_until: date | None = Field(default=None, description="The last day.")
    notice: NoticeIn | None = Field(default=None, description="A sub-contractor's staff takes it.")


class HandlerPatch(Body):
    """What to change; what is absent stays."""

    kind: HandlerKind | None = None
    duties: Duties | None = None
    valid_until: date | None = Field(default=None, description="The last day of its accounts.")
    notice: NoticeIn | None = None


class HandlerOut(BaseModel):
    """A handler; the name is masked, `GET …/name` shows it and is on record."""

    id: int
    organization_id: int
    kind: HandlerKind
    label: str
    name: str = Field(default=MASK, description="Always masked here.")
    duties: list[Role]
    valid_from: date
    valid_until: date | None
    notice_on: date | None
    notice_document: str | None
    accounts: list[str] = Field(description="Names of the accounts that it signs in with.", examples=[["desk1"]])


class HandlerNameOut(BaseModel):
    """A handler's name in clear."""

    label: str
    name: str


class ChangeOut(BaseModel):
    """One change of a handler, and to whom it is reported."""

    model_config = ConfigDict(from_attributes=True)

    at: datetime
    organization: str
    tier: Tier
    reports_to: str = Field(examples=["教育委員会"])
    kind: HandlerKind
    label: str
    name: str
    what: str = Field(examples=["registered"])
    before: dict[str, Any] | None
    after: dict[str, Any]


def _shown(row: Handler, accounts: list[str]) -> HandlerOut:
    return HandlerOut(**row.model_dump(exclude={"name_sealed"}, warnings=False), accounts=accounts)


def _notice(given: NoticeIn | None) -> Notice | None:
    return Notice(given.document, given.on) if given else None


@router.get(_HANDLERS, operation_id="listHandlers", summary="The handlers of an organization")
def list_handlers(organization_id: int, session: SessionDep, principal: Reader) -> list[HandlerOut]:
    """List the register of one organization, the responsible ones first."""
    contractors.find(session, principal, organization_id)
    return [_shown(row, accounts) for row, accounts in handlers.of_organization(session, organization_id)]


@router.post(_HANDLERS, operation_id="registerHandler", summary="Enter a handler", status_code=HTTPStatus.CREATED)
def register_handler(organization_id: int, body: NewHandler, session: SessionDep, principal: Manager) -> HandlerOut:
    """Enter a handler in the register; accounts can be made for it then."""
    row = handlers.register(
        session,
        principal,
        organization_id,
        kind=body.kind,
        label=body.label,
        name=body.name,
        duties=body.duties,
        valid_from=body.valid_from,
        valid_until=body.valid_until,
        notice=_notice(body.notice),
    )
    return _shown(row, [])


@router.patch(_HANDLERS + "/{handler_id}", operation_id="changeHandler", summary="Change or end a handler")
def change_handler(
    organization_id: int, handler_id: int, body: HandlerPatch, session: SessionDep, principal: Manager
) -> HandlerOut:
    """Change kind, duties, last day or notice; the change goes into the report that is due of it."""
    row = handlers.change(
        session,
        principal,
        organization_id,
        handler_id,
        kind=body.kind,
        duties=body.duties,
        valid_until=body.valid_until,
        notice=_notice(body.notice),
    )
    accounts = {each.id: names for each, names in handlers.of_organization(session, organization_id)}
    return _shown(row, accounts[row.id])


@router.get(_HANDLERS + "/{handler_id}/name", operation_id="readHandlerName", summary="A handler's name")
def read_handler_name(organization_id: int, handler_id: int, session: SessionDep, principal: Reader) -> HandlerNameOut:
    """Show one handler's name. Each read is on record."""
    row = handlers.find(session, principal, organization_id, handler_id)
    return HandlerNameOut(label=row.label, name=handlers.open_name(session, principal, row))


@router.get("/handler-changes", operation_id="reportHandlers", summary="The report of changed handlers")
def report_handlers(session: SessionDep, principal: Reader, since: _Since, until: _Until) -> list[ChangeOut]:
    """List who was entered, changed or ended in a span of days, and to whom that is reported. On record."""
    found = handlers.changes(session, principal, since=since, until=until)
    return [ChangeOut.model_validate(each) for each in found]


@router.get(
    "/handler-changes/export",
    operation_id="exportHandlers",
    summary="The report of changed handlers as CSV",
    response_class=CsvResponse,
)
def export_handlers(session: SessionDep, principal: Reader, since: _Since, until: _Until) -> Response:
    """Give the same report as CSV (UTF-8 with a mark, for spreadsheets), with Japanese headers. On record."""
    body = "".join(_export(handlers.changes(session, principal, since=since, until=until)))
    return csv_file(body, "handler-changes")


def _export(changes: list[Change]) -> Iterator[str]:
    yield csv_line(_JAPANESE)
    for each in changes:
        words = (each.at.isoformat(timespec="seconds"), each.organization, each.tier.value, each.reports_to)
        facts = (_words(each.before), _words(each.after))
        yield csv_line((*words, each.kind.value, each.label, each.name, each.what, *facts))


def _words(facts: dict[str, Any] | None) -> str:
    def word(value: Any) -> str:
        return " ".join(value) if isinstance(value, list) else str(value)

    return "; ".join(f"{name}={word(value)}" for name, value in (facts or {}).items() if value is not None)
