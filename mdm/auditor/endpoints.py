"""The operator API of the auditor: commands against approvals, and the report of handling. Changes nothing."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlmodel import Session

from mdm.api.csvanswer import CsvResponse, csv_file
from mdm.audit import chain
from mdm.auditor import commands, handling
from mdm.auditor.handling import Line, Sort
from mdm.auditor.judging import Fault
from mdm.auth import Action, Principal, may
from mdm.db import SessionDep
from mdm.errors import Forbidden, Invalid

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])

Reader = Annotated[Principal, Depends(may(Action.READ_AUDIT))]
Since = Annotated[AwareDatetime, Query(description="Not before this moment.")]
Until = Annotated[AwareDatetime, Query(description="Before this moment.")]


class HandlingLine(BaseModel):
    """How often one actor did one sort of thing."""

    model_config = ConfigDict(from_attributes=True)

    actor: str = Field(examples=["operator:hanako"])
    role: str | None = Field(description="As it is now; null for accounts that are gone.")
    sort: Sort
    action: str = Field(examples=["holder.read_name"])
    count: int
    first_at: datetime
    last_at: datetime


def whole_district(principal: Principal) -> None:
    """Raise `Forbidden` unless the principal may see all schools, as the trail names them all."""
    if not principal.scope.all_schools:
        raise Forbidden("the audit trail names every school: it takes a scope of all schools")


def check_period(since: datetime, until: datetime) -> None:
    """Raise `Invalid` for a period that is none."""
    if until <= since:
        raise Invalid("the period ends before it begins", errors=[{"pointer": "/until", "detail": "before since"}])


def _report(session: Session, principal: Principal, since: datetime, until: datetime, form: str) -> list[Line]:
    whole_district(principal)
    check_period(since, until)
    lines = handling.report(session, since, until)
    details = {"since": since.isoformat(), "until": until.isoformat(), "form": form}
    chain.record(session, principal, "audit.report", "audit", details)
    return lines


class CommandFindingOut(BaseModel):
    """One thing that is wrong with a command's having left."""

    model_config = ConfigDict(from_attributes=True)

    command_id: UUID
    device_id: int | None
    fault: Fault


class ExaminedOut(BaseModel):
    """What a look at everything irreversible that ever left came to."""

    model_config = ConfigDict(from_attributes=True)

    commands: int = Field(description="How many left.")
    findings: list[CommandFindingOut]


@router.get("/commands", operation_id="auditCommands", summary="Whether all that left was approved")
def audit_commands(session: SessionDep, principal: Reader) -> ExaminedOut:
    """Hold every command of class A that ever left against its approval, its signature, the trail and the budgets."""
    whole_district(principal)
    return ExaminedOut.model_validate(commands.examine(session, commands.EVER))


@router.get("/report", operation_id="reportHandling", summary="Who handled how much of what in a period")
def report_handling(session: SessionDep, principal: Reader, since: Since, until: Until) -> list[HandlingLine]:
    """Count reads, exports, sign-ins, refusals and acts by operator and action (取扱状況, R-58)."""
    return [HandlingLine.model_validate(line) for line in _report(session, principal, since, until, "json")]


@router.get(
    "/report.csv",
    operation_id="exportHandling",
    summary="The same report as CSV",
    response_class=CsvResponse,
)
def export_handling(session: SessionDep, principal: Reader, since: Since, until: Until) -> Response:
    """Give the report of handling as CSV (UTF-8 with a mark, for spreadsheets)."""
    body = "".join(handling.csv_lines(_report(session, principal, since, until, "csv")))
    return csv_file(body, "handling")
