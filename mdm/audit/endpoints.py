"""The operator API of the audit trail: read and verify. Nothing here writes to it."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from sqlmodel import col, select

from mdm.api import Page, Paging, page_of
from mdm.audit import chain
from mdm.audit.models import AuditEvent
from mdm.auth import Action, Principal, may
from mdm.db import SessionDep
from mdm.errors import Forbidden

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])


class AuditLine(BaseModel):
    """One act on record."""

    id: int
    at: datetime
    actor: str = Field(examples=["operator:hanako"])
    action: str = Field(examples=["command.enqueue"])
    subject: str = Field(examples=["device:42"])
    details: dict[str, Any]
    digest: str = Field(description="SHA-256 in hexadecimal.")


class AuditFilter(BaseModel):
    """Exact matches."""

    actor: str | None = Field(default=None, max_length=80)
    action: str | None = Field(default=None, max_length=64)
    subject: str | None = Field(default=None, max_length=200)


class Verdict(BaseModel):
    """Whether the chain holds, and the witness to keep elsewhere."""

    intact: bool
    first_broken_id: int | None
    events: int
    head: str = Field(description="The newest digest; keep it elsewhere to notice events that were cut off.")


def _whole_district(principal: Principal) -> None:
    # The trail names tablets and operators of every school; who is confined to some schools may not read it.
    if not principal.scope.all_schools:
        raise Forbidden("the audit trail names every school: it takes a scope of all schools")


@router.get("", operation_id="listAudit", summary="The trail, newest first")
def list_audit(
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.READ_AUDIT))],
    paging: Paging,
    wanted: Annotated[AuditFilter, Depends()],
) -> Page[AuditLine]:
    """List acts, newest first, filtered by exact actor, action or subject."""
    _whole_district(principal)
    statement = select(AuditEvent).order_by(col(AuditEvent.id).desc()).limit(paging.limit + 1)
    for name, value in wanted.model_dump(exclude_none=True).items():
        statement = statement.where(getattr(AuditEvent, name) == value)
    if paging.after:
        statement = statement.where(col(AuditEvent.id) < paging.after[0])
    return page_of(paging, session.exec(statement).all(), key=lambda event: [event.id], show=_line)


def _line(event: AuditEvent) -> AuditLine:
    return AuditLine.model_validate(event.model_dump() | {"digest": event.digest.hex()})


@router.get("/verification", operation_id="verifyAudit", summary="Verify the chain")
def verify_audit(session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_AUDIT))]) -> Verdict:
    """Walk the whole chain and say whether every event follows from the one before."""
    _whole_district(principal)
    broken = chain.verify(session)
    events, head = chain.head(session)
    return Verdict(intact=broken is None, first_broken_id=broken, events=events, head=head.hex())
