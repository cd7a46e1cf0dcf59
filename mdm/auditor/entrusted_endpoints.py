"""The operator API of a contractor's report of handling: for the board, and for who supervises. Changes nothing."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session

from mdm.api.csvanswer import CsvResponse, csv_file
from mdm.audit import chain
from mdm.auditor import entrusted
from mdm.auditor.endpoints import Since, Until, check_period
from mdm.auditor.entrusted import HandlerLine
from mdm.auditor.handling import Sort
from mdm.auth import Action, Principal, may
from mdm.db import SessionDep
from mdm.organization import contractors
from mdm.organization.models import HandlerKind, Tier

router = APIRouter(prefix="/api/v1/organizations/{organization_id}", tags=["organizations"])
Reader = Annotated[Principal, Depends(may(Action.READ_ORGANIZATIONS))]


class HandlerLineOut(BaseModel):
    """How often one handler's account did one sort of thing."""

    model_config = ConfigDict(from_attributes=True)

    organization: str = Field(description="The contractor's or sub-contractor's name.")
    tier: Tier
    label: str = Field(examples=["H-001"], description="The handler's number at its organization.")
    kind: HandlerKind
    actor: str = Field(examples=["operator:hanako"])
    role: str = Field(description="As it is now.")
    sort: Sort
    action: str = Field(examples=["holder.read_name"])
    count: int
    first_at: datetime
    last_at: datetime


def _report(
    session: Session, principal: Principal, organization_id: int, since: datetime, until: datetime, *, form: str
) -> list[HandlerLine]:
    contractors.find(session, principal, organization_id)
    check_period(since, until)
    lines = entrusted.report(session, principal, organization_id, since, until)
    details = {"since": since.isoformat(), "until": until.isoformat(), "form": form}
    chain.record(session, principal, "audit.report", f"organization:{organization_id}", details)
    return lines


@router.get("/handling", operation_id="reportEntrusted", summary="Which handlers did and read how much in a period")
def report_entrusted(
    organization_id: int, session: SessionDep, principal: Reader, since: Since, until: Until
) -> list[HandlerLineOut]:
    """Count acts by handler, account and action, of an organization and of those below it (R-31, R-58)."""
    lines = _report(session, principal, organization_id, since, until, form="json")
    return [HandlerLineOut.model_validate(line) for line in lines]


@router.get(
    "/handling.csv",
    operation_id="exportEntrusted",
    summary="The same report as CSV",
    response_class=CsvResponse,
)
def export_entrusted(
    organization_id: int, session: SessionDep, principal: Reader, since: Since, until: Until
) -> Response:
    """Give the report of an organization's handling as CSV (UTF-8 with a mark, for spreadsheets)."""
    lines = _report(session, principal, organization_id, since, until, form="csv")
    return csv_file("".join(entrusted.csv_lines(lines)), "handling")
