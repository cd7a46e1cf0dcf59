"""The operator API of the breaker: how it stands, the red button, the thaw by two, and the notices it has sent."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from mdm.api import Page, Paging, page_of
from mdm.auth import Action, Principal
from mdm.auth.access import may
from mdm.commands import freezing
from mdm.db import SessionDep
from mdm.safeguards import breaker, notices
from mdm.safeguards.consents import SignedWord

router = APIRouter(prefix="/api/v1/safeguards", tags=["safeguards"])
_Reader = Annotated[Principal, Depends(may(Action.READ_SAFEGUARDS))]
_Freezer = Annotated[Principal, Depends(may(Action.FREEZE))]
_Thawer = Annotated[Principal, Depends(may(Action.THAW))]


class ThawRequest(BaseModel):
    """A wish to thaw, in the words of a request for approval; how to sign it: docs/safeguards.md."""

    action: str
    subject: dict[str, Any]
    reason: str
    requested_by_id: int
    expires_at: datetime


class BreakerOut(BaseModel):
    """How the breaker stands; while it is open nothing that cannot be undone is asked for, approved or sent."""

    model_config = ConfigDict(from_attributes=True)

    open: bool
    since: datetime | None
    by: str | None = Field(description="`operator:<name>`, or the job that saw the pattern.")
    pattern: str | None = Field(examples=["refused attempts"])
    thaw_asked_by: str | None = Field(description="Whoever asked to thaw; another administrator must ask too.")
    thaw_asked_at: datetime | None
    thaw_request: ThawRequest | None = Field(description="What the other administrator signs.")


class NoticeOut(BaseModel):
    """A page to whoever is on duty."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    at: datetime
    what: str = Field(examples=["breaker.open"])
    subject: str
    details: dict[str, Any]
    webhook_at: datetime | None = Field(description="When the webhook took it.")
    mail_at: datetime | None = Field(description="When the mail server took it.")
    attempts: int
    error: str = Field(description="Why the last attempt failed.")


@router.get("/breaker", operation_id="showBreaker", summary="Whether class A is frozen")
def show_breaker(session: SessionDep, principal: _Reader) -> BreakerOut:  # noqa: ARG001 - the guard
    """Say whether what cannot be undone is frozen, since when and why."""
    return BreakerOut.model_validate(breaker.standing(session))


@router.post("/freeze", operation_id="freeze", summary="The red button: freeze what cannot be undone")
def freeze(session: SessionDep, principal: _Freezer) -> BreakerOut:
    """Freeze class A for everybody, at once and alone; what no tablet has been handed yet is pulled back."""
    return BreakerOut.model_validate(freezing.press(session, principal))


@router.post("/thaw", operation_id="thaw", summary="Thaw, as the first or the second of two")
def thaw(session: SessionDep, principal: _Thawer, body: SignedWord | None = None) -> BreakerOut:
    """Ask to thaw; when another administrator has asked within a day, sign that, and class A is thawed."""
    return BreakerOut.model_validate(breaker.thaw(session, principal, body.consent() if body else None))


@router.get("/notices", operation_id="listNotices", summary="Pages to whoever is on duty")
def list_notices(
    session: SessionDep,
    principal: _Reader,  # noqa: ARG001 - the guard
    window: Paging,
) -> Page[NoticeOut]:
    """List the notices, newest first, and whether they have gone."""
    before = UUID(window.after[0]) if window.after else None
    rows = notices.history(session, before=before, limit=window.limit + 1)
    return page_of(window, rows, key=lambda row: [str(row.id)], show=NoticeOut.model_validate)
