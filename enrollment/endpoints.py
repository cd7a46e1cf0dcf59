"""Tickets over the operator API: open for a tablet or a set-up bench, list, revoke. Shows a secret once."""

import base64
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlmodel import Session

from enrollment import tickets
from enrollment.ca import Admission
from enrollment.invitations import inviter
from enrollment.models import TicketKind
from enrollment.tickets import Line, Opened
from mdm.api import Page, Paging, page_of
from mdm.audit import chain
from mdm.auth import Action, Principal, may
from mdm.db import SessionDep
from mdm.organization.schools import find_school
from mdm.platform import Platform

router = APIRouter(prefix="/api/v1/tickets", tags=["enrollment"])

_DEFAULT_STAGING_HOURS = 8.0


class TicketRequest(BaseModel):
    """Whom to let in: either one tablet by `serial`, or `uses` tablets of a `school`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"serial": "DMPX00000001"}, {"school": "e-01", "uses": 40, "hours": 8}]},
    )

    serial: str | None = Field(default=None, min_length=1, max_length=32)
    school: str | None = Field(default=None, min_length=1, max_length=32, description="The school's code.")
    uses: int | None = Field(default=None, ge=1, le=tickets.MAX_STAGING_USES)
    hours: float | None = Field(
        default=None,
        gt=0,
        le=tickets.MAX_STAGING_HOURS,
        description="How long it lives. For one tablet at most, and by default, the setting `challenge_minutes`.",
    )
    platform: Platform = Field(default=Platform.APPLE, description="Of a staging ticket; a tablet's is in the ledger.")

    @model_validator(mode="after")
    def _one_or_the_other(self) -> "TicketRequest":
        if (self.serial is None) == (self.school is None):
            raise ValueError("give either serial or school")
        if self.serial is not None and self.uses not in (None, 1):
            raise ValueError("a tablet's ticket is good once; uses goes with school")
        return self


class OpenedTicket(BaseModel):
    """A new ticket. Secret, address and profile are shown this once, and let in whoever has them."""

    id: UUID
    expires_at: datetime
    secret: str
    url: str = Field(description="Where the tablet fetches its enrolment profile.")
    file_name: str
    profile: str = Field(description="The same profile, in base64, to be brought to the tablet another way.")


class TicketLine(BaseModel):
    """A ticket in a list."""

    id: UUID
    kind: TicketKind
    platform: Platform
    serial: str | None
    school: str | None
    uses: int
    used: int
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


@router.post("", status_code=201, summary="Open a ticket")
def open_ticket(
    wanted: TicketRequest, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.ENROL))]
) -> OpenedTicket:
    """Open a ticket for one tablet of the ledger, or for the set-up bench of a school."""
    if wanted.serial is not None:
        opened = tickets.open_for_tablet(
            session,
            principal.scope,
            serial=wanted.serial,
            created_by=principal.id,
            lifetime=None if wanted.hours is None else timedelta(hours=wanted.hours),
        )
    else:
        opened = _open_staging(session, principal, wanted)
    answer = _shown(session, opened)
    chain.record(
        session,
        principal,
        "ticket.open",
        f"ticket:{opened.id}",
        wanted.model_dump(mode="json", exclude_none=True) | {"expires_at": opened.expires_at.isoformat()},
    )
    return answer


def _open_staging(session: Session, principal: Principal, wanted: TicketRequest) -> Opened:
    assert wanted.school is not None
    school = find_school(session, principal.scope, wanted.school)
    return tickets.open_for_staging(
        session,
        school_id=school.id,
        uses=wanted.uses or 1,
        lifetime=timedelta(hours=wanted.hours or _DEFAULT_STAGING_HOURS),
        created_by=principal.id,
        platform=wanted.platform,
    )


def _shown(session: Session, opened: Opened) -> OpenedTicket:
    module = inviter(opened.platform)
    admission = tickets.look_up(session, opened.platform, opened.secret)
    assert isinstance(admission, Admission)  # it was opened in this transaction
    body = module.body_of(session, admission, opened.secret)
    return OpenedTicket(
        id=opened.id,
        expires_at=opened.expires_at,
        secret=opened.secret,
        url=module.url_of(opened.secret),
        file_name=module.FILE_NAME,
        profile=base64.b64encode(body).decode(),
    )


@router.get("", summary="List tickets")
def list_tickets(
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.READ_FLEET))],
    window: Paging,
    live: Annotated[bool, Query(description="Only those that still let somebody in.")] = True,
) -> Page[TicketLine]:
    """List the tickets of the caller's schools, newest first."""
    before = UUID(window.after[0]) if window.after else None
    lines = tickets.list_tickets(session, principal.scope, live=live, limit=window.limit + 1, before=before)
    return page_of(window, lines, key=lambda line: [line.id], show=_line)


def _line(line: Line) -> TicketLine:
    return TicketLine(
        id=line.id,
        kind=line.kind,
        platform=line.platform,
        serial=line.serial,
        school=line.school_code,
        uses=line.uses,
        used=line.used,
        created_at=line.created_at,
        expires_at=line.expires_at,
        revoked_at=line.revoked_at,
    )


@router.post("/{ticket_id}/revoke", status_code=204, summary="Revoke a ticket")
def revoke_ticket(
    ticket_id: Annotated[UUID, Path()], session: SessionDep, principal: Annotated[Principal, Depends(may(Action.ENROL))]
) -> None:
    """End a ticket at once; certificates that it already gave stay."""
    tickets.revoke(session, principal.scope, ticket_id)
    chain.record(session, principal, "ticket.revoke", f"ticket:{ticket_id}")
