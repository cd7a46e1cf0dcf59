"""The operator API of commands and of the approvals they wait for. Renders; the rules are in `queue` and `release`."""

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session, col, select

from mdm.api import Once, Page, Paging, page_of
from mdm.audit import chain
from mdm.auth import Action, Principal, may
from mdm.commands import queue, release, transitions, views
from mdm.commands.decisions import Wish
from mdm.commands.kinds import Kind
from mdm.commands.views import ApprovalLine, CommandDetail, CommandFilter, CommandLine
from mdm.db import SessionDep
from mdm.devices.models import Device
from mdm.errors import Invalid, MdmError, NotFound
from mdm.safeguards import approvals
from mdm.safeguards.consents import SignedConsent
from mdm.safeguards.models import ApprovalState

router = APIRouter(prefix="/api/v1", tags=["commands"])
_MAX_BULK = 500
_may_ask = may(Action.ASK, Action.LOCK, Action.LOCATE, Action.REQUEST_WIPE)
"""Which of them it takes is a matter of the kind; `queue` asks for it."""


class Ask(BaseModel):
    """What to ask of a tablet."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "kind": "lock",
                    "arguments": {"message": "Please return to the school", "phone_number": "03-0000-0000"},
                },
                {"kind": "locate"},
                {"kind": "wipe", "arguments": {"preserve_data_plan": True}, "reason": "stolen, police report 12"},
            ]
        },
    )

    kind: Kind | Wish = Field(
        description="A kind, or `lock`: lost mode where the tablet is supervised, else the screen."
    )
    arguments: dict[str, str | bool] = Field(
        default={}, description="lost_mode_on, lock: message and/or phone_number, footnote. wipe: preserve_data_plan."
    )
    reason: str = Field(default="", max_length=400, description="Needed for what a second person must approve.")


class AskMany(Ask):
    """What to ask of several tablets, by id or by serial number."""

    device_ids: list[int] = Field(default=[], max_length=_MAX_BULK)
    serials: list[str] = Field(default=[], max_length=_MAX_BULK, examples=[["F9FXL1ABCD"]])


class Placed(BaseModel):
    """A command in line; `created` is false when the same was on its way already."""

    command: CommandLine
    created: bool
    protects: str | None = Field(description="What a lock protects and what not.")
    approval_id: UUID | None = Field(description="The request that a second person must approve first.")


class Refused(BaseModel):
    """A tablet that was left out."""

    device_id: int | None
    serial: str
    problem: str = Field(examples=["not-enrolled"])
    detail: str


class PlacedMany(BaseModel):
    """What became of each tablet."""

    placed: list[Placed]
    refused: list[Refused]


@router.post(
    "/devices/{device_id}/commands",
    operation_id="askDevice",
    summary="Ask something of one tablet",
    status_code=HTTPStatus.ACCEPTED,
    response_model=Placed,
)
def ask_device(
    device_id: int, body: Ask, session: SessionDep, principal: Annotated[Principal, Depends(_may_ask)], once: Once
) -> Response:
    """Put a command in line for one tablet. What cannot be undone is held until a second person approves."""

    def act() -> Placed:
        answer = _ask(session, principal, [device_id], body)
        outcome = answer[0]
        if outcome.refusal is not None:
            raise outcome.refusal
        return _placed(session, answer)[0]

    return once.run(act)


@router.post(
    "/commands",
    operation_id="askDevices",
    summary="Ask something of several tablets",
    status_code=HTTPStatus.ACCEPTED,
    response_model=PlacedMany,
)
def ask_devices(
    body: AskMany, session: SessionDep, principal: Annotated[Principal, Depends(_may_ask)], once: Once
) -> Response:
    """Put a command in line for up to 500 tablets; those that cannot have it are listed with the reason."""

    def act() -> PlacedMany:
        serials = [serial.strip().upper() for serial in body.serials]
        by_serial = _ids_of(session, principal, serials)
        ids = [*body.device_ids, *(by_serial[serial] for serial in serials if serial in by_serial)]
        unknown = [serial for serial in serials if serial not in by_serial]
        if not ids and not unknown:
            detail = "name at least one tablet"
            raise Invalid(detail, errors=[{"pointer": "/device_ids", "detail": detail}])
        outcomes = _ask(session, principal, ids, body)
        missing = NotFound("there is no such tablet")
        return PlacedMany(
            placed=_placed(session, outcomes),
            refused=[
                *(_refused(each.device_id, each.serial, each.refusal) for each in outcomes if each.refusal),
                *(_refused(None, serial, missing) for serial in unknown),
            ],
        )

    return once.run(act)


def _ask(session: Session, principal: Principal, device_ids: list[int], body: Ask) -> list[queue.Outcome]:
    return queue.enqueue(session, principal, device_ids, body.kind, body.arguments, reason=body.reason)


def _ids_of(session: Session, principal: Principal, serials: list[str]) -> dict[str, int]:
    statement = select(Device.serial, Device.id).where(
        col(Device.serial).in_(serials), principal.scope.covers(col(Device.school_id))
    )
    return {serial: id_ for serial, id_ in session.exec(statement) if id_ is not None}


def _placed(session: Session, outcomes: list[queue.Outcome]) -> list[Placed]:
    there = [each for each in outcomes if each.command is not None]
    lines = views.lines_of(session, [each.command.id for each in there if each.command and each.command.id])
    placed = []
    for each in there:
        assert each.command is not None
        assert each.command.id is not None
        line = lines[each.command.id]
        placed.append(Placed(command=line, created=each.fresh, protects=line.protects, approval_id=line.approval_id))
    return placed


def _refused(device_id: int | None, serial: str, error: MdmError) -> Refused:
    return Refused(device_id=device_id, serial=serial, problem=error.slug, detail=error.detail)


@router.get("/commands", operation_id="listCommands", summary="Commands, newest first")
def list_commands(
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.READ_FLEET))],
    paging: Paging,
    wanted: Annotated[CommandFilter, Depends()],
) -> Page[CommandLine]:
    """List commands of the tablets in scope."""
    before = UUID(paging.after[0]) if paging.after else None
    lines = views.command_lines(session, principal.scope, wanted, before=before, limit=paging.limit + 1)
    return page_of(paging, lines, key=lambda line: [line.id], show=lambda line: line)


@router.get("/commands/{command_id}", operation_id="showCommand", summary="One command with its timeline")
def show_command(
    command_id: UUID, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_FLEET))]
) -> CommandDetail:
    """Return one command, what happened to it and what the tablet answered. Reading a location goes on record."""
    detail = views.command_detail(session, principal, command_id)
    if detail.kind == Kind.LOCATE and detail.result is not None:
        chain.record(session, principal, "location.read", f"device:{detail.device_id}", {"command": command_id})
    return detail


@router.post("/commands/{command_id}/cancel", operation_id="cancelCommand", summary="Cancel a command")
def cancel_command(
    command_id: UUID, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.CANCEL_COMMAND))]
) -> CommandDetail:
    """Cancel what the tablet has not been handed yet; cancelling twice is harmless."""
    transitions.cancel(session, principal, command_id)
    return views.command_detail(session, principal, command_id)


@router.get("/approvals", operation_id="listApprovals", summary="Requests for a second person", tags=["approvals"])
def list_approvals(
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.READ_APPROVALS))],
    paging: Paging,
    state: Annotated[ApprovalState | None, Query()] = None,
) -> Page[ApprovalLine]:
    """List requests all of whose tablets are in scope, newest first."""
    before = UUID(paging.after[0]) if paging.after else None
    found = approvals.visible(session, principal.scope, state=state, before=before, limit=paging.limit + 1)
    lines = views.approval_lines(session, found)
    return page_of(paging, lines, key=lambda line: [line.id], show=lambda line: line)


@router.get("/approvals/{approval_id}", operation_id="showApproval", summary="One request", tags=["approvals"])
def show_approval(
    approval_id: UUID, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_APPROVALS))]
) -> ApprovalLine:
    """Return one request: what exactly would be done, to which tablet, and why."""
    return _approval(session, approvals.find(session, principal.scope, approval_id))


@router.post("/approvals/{approval_id}/approve", operation_id="approve", summary="Approve", tags=["approvals"])
def approve(
    approval_id: UUID,
    body: SignedConsent,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.APPROVE))],
) -> ApprovalLine:
    """Approve somebody else's request, signed with a key that the host has pinned. Tokens cannot."""
    return _approval(session, release.approve(session, principal, approval_id, body.consent()))


@router.post("/approvals/{approval_id}/reject", operation_id="reject", summary="Reject or withdraw", tags=["approvals"])
def reject(
    approval_id: UUID, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.WITHDRAW))]
) -> ApprovalLine:
    """Refuse somebody else's request, or withdraw one's own; its command ends."""
    return _approval(session, release.reject(session, principal, approval_id))


def _approval(session: Session, approval: Any) -> ApprovalLine:
    return views.approval_lines(session, [approval])[0]
