"""The operator API of exceptions. It reads and shows; the rules are in `exceptions`."""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from mdm.api import Page, Paging, page_of
from mdm.auth import Action, Principal, may
from mdm.db import SessionDep
from profiles import exceptions, plans
from profiles.exceptions import ShownException

router = APIRouter(prefix="/policy-exceptions", tags=["policies"])


class AskException(BaseModel):
    """What a place should differ in, why and until when."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    place: str = Field(max_length=110, examples=["school=0101", "class=0101/6/1", "serial=DMPXINVENTED"])
    replacing: dict[str, Any] = Field(
        default={},
        alias="set",
        description="Sections as in a policy: each field takes the place of what wider layers say, looser or not.",
        examples=[{"usb": {"external_storage": "allow"}}],
    )
    without: dict[str, Any] = Field(
        default={},
        description="Sections as in a policy: entries that are taken out of the wider layers' lists.",
        examples=[{"web_filter": {"deny_list": ["video.example.net"]}}],
    )
    reason: str = Field(max_length=400)
    expires_at: AwareDatetime


class AgreeException(BaseModel):
    """Stops that whoever agrees takes upon themselves."""

    model_config = ConfigDict(extra="forbid")

    overrides: list[str] = Field(default=[], max_length=20, description="Lints that are overridden.")
    reason: str | None = Field(default=None, max_length=400, description="Why; it goes on record.")


@router.post("", operation_id="requestException", summary="Ask for an exception", status_code=HTTPStatus.CREATED)
def request(
    body: AskException, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.REQUEST_EXCEPTION))]
) -> ShownException:
    """Ask that one school, class or tablet may differ from wider layers; a second person decides."""
    return exceptions.request(
        session,
        principal,
        place=body.place,
        replacing=body.replacing,
        without=body.without,
        reason=body.reason,
        expires_at=body.expires_at,
    )


@router.get("", operation_id="listExceptions", summary="List exceptions")
def list_exceptions(
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.READ_POLICIES))],
    window: Paging,
    everything: Annotated[bool, Query(alias="all", description="Also those that are over.")] = False,
) -> Page[ShownException]:
    """Return the exceptions in scope that wait or hold, newest first."""
    before = UUID(str(window.after[0])) if window.after else None
    rows = exceptions.overview(session, principal, is_open=not everything, limit=window.limit + 1, before=before)
    return page_of(window, rows, key=lambda row: [str(row.id)], show=lambda row: row)


@router.get("/{exception_id}", operation_id="showException", summary="Show one exception")
def show(
    exception_id: UUID, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_POLICIES))]
) -> ShownException:
    """Return one exception."""
    return exceptions.show(session, principal, exception_id)


@router.post("/{exception_id}/approve", operation_id="approveException", summary="Agree to an exception")
def approve(
    exception_id: UUID,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.APPROVE_EXCEPTION))],
    body: AgreeException | None = None,
) -> ShownException:
    """Agree as a second person; its tablets are told at once."""
    taken = plans.NONE if body is None else plans.Overrides(tuple(body.overrides), body.reason)
    return exceptions.approve(session, principal, exception_id, overrides=taken)


@router.post("/{exception_id}/end", operation_id="endException", summary="Decline, withdraw or end an exception")
def end(
    exception_id: UUID, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.REQUEST_EXCEPTION))]
) -> ShownException:
    """End an exception before its time, or what was never approved; its tablets fall back at once."""
    return exceptions.end(session, principal, exception_id)
