"""Commands and approvals as the operator API shows them, and the SQL of their lists. Changes nothing."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field
from sqlalchemy import select as sa_select
from sqlmodel import Session, col, select

from mdm.auth import Action, Principal, Scope
from mdm.auth.models import Operator
from mdm.commands import decisions
from mdm.commands.history import ANY
from mdm.commands.kinds import FACTS, Kind, safety_of
from mdm.commands.models import LIVE_STATES, Command, CommandEvent, CommandState
from mdm.commands.transitions import shown_arguments
from mdm.devices.models import Device, Lane
from mdm.errors import NotFound
from mdm.safeguards.models import Approval, ApprovalState


class CommandLine(BaseModel):
    """One command; the state is what the tablet has said, never what we hope."""

    id: UUID = Field(description="The CommandUUID on the wire.")
    device_id: int
    serial: str
    control_number: str
    kind: str = Field(examples=["lost_mode_on"])
    safety: str = Field(description="A irreversible, B disruptive, C benign.")
    state: CommandState
    lane: str
    arguments: dict[str, Any]
    created_at: datetime
    created_by: str | None = Field(description="The operator's name; null for the server's own.")
    not_before: datetime | None = Field(description="When it leaves at the earliest; until then it can be cancelled.")
    expires_at: datetime
    sent_at: datetime | None
    delivered_at: datetime | None
    ended_at: datetime | None
    not_now_count: int
    approval_id: UUID | None
    protects: str | None = Field(description="What a lock protects and what not; null for other kinds.")


class EventLine(BaseModel):
    """One step of a command."""

    at: datetime
    state: CommandState
    note: str


class CommandDetail(CommandLine):
    """One command with its timeline and what the tablet answered."""

    timeline: list[EventLine]
    error: list[dict[str, Any]] | None = Field(description="The tablet's error chain.")
    result: dict[str, Any] | None = Field(description="The tablet's answer; a location only with the right to read it.")


class CommandFilter(BaseModel):
    """What to list."""

    device_id: int | None = None
    serial: str | None = Field(default=None, max_length=32)
    state: CommandState | None = None
    kind: Kind | None = None


class ApprovalLine(BaseModel):
    """One request for a second person."""

    id: UUID
    action: str = Field(examples=["command.wipe"])
    devices: list[dict[str, Any]]
    command: dict[str, Any] | None
    subject: dict[str, Any] = Field(description="All of what would be done; part of what is signed.")
    reason: str
    state: ApprovalState
    requested_by: str
    requested_by_id: int
    requested_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    urgent: bool = Field(description="Whoever approved wants no waiting time.")
    executed_at: datetime | None = Field(description="When it was let go.")
    digest: str = Field(
        description="SHA-256 over action, subject, reason, requester and end: what is approved is what runs."
    )


def command_lines(
    session: Session, scope: Scope, wanted: CommandFilter, *, before: UUID | None, limit: int
) -> list[CommandLine]:
    """List commands of tablets in scope, newest first, live and past; what is live is not sought in the past."""
    source = Command if wanted.state in LIVE_STATES else ANY
    statement = _commands(scope, source).order_by(col(source.id).desc()).limit(limit)
    for column, value in (
        (col(source.device_id), wanted.device_id),
        (col(Device.serial), wanted.serial.strip().upper() if wanted.serial else None),
        (col(source.state), wanted.state.value if wanted.state else None),
        (col(source.kind), wanted.kind.value if wanted.kind else None),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if before is not None:
        statement = statement.where(col(source.id) < before)
    return [_line(*row) for row in session.execute(statement)]


def lines_of(session: Session, command_ids: Sequence[UUID]) -> dict[UUID, CommandLine]:
    """Return the lines of commands that the caller was just given, by id."""
    statement = _commands(Scope(all_schools=True), ANY).where(col(ANY.id).in_(command_ids))
    lines = [_line(*row) for row in session.execute(statement)]
    return {line.id: line for line in lines}


def command_detail(session: Session, principal: Principal, command_id: UUID) -> CommandDetail:
    """Return one command with its timeline; `NotFound` outside scope. A location needs a right of its own."""
    row = session.execute(_commands(principal.scope, ANY).where(col(ANY.id) == command_id)).first()
    if row is None:
        raise NotFound("there is no such command")
    command: Command = row[0]
    events = session.exec(
        select(CommandEvent).where(CommandEvent.command_id == command_id).order_by(col(CommandEvent.id))
    )
    hidden = command.kind == Kind.LOCATE and not principal.may(Action.READ_LOCATION)
    return CommandDetail(
        **_line(*row).model_dump(),
        timeline=[EventLine(at=each.at, state=each.state, note=each.note) for each in events],
        error=command.error,
        result=None if hidden else command.result,
    )


def _commands(scope: Scope, source: type[Command]) -> Any:
    return (
        sa_select(source, col(Device.serial), col(Device.control_number), col(Operator.name))
        .join(Device, col(Device.id) == col(source.device_id))
        .outerjoin(Operator, col(Operator.id) == col(source.created_by))
        .where(scope.covers(col(Device.school_id)))
        .execution_options(populate_existing=True)
    )


def _line(command: Command, serial: str, control_number: str, operator: str | None) -> CommandLine:
    known = command.kind in FACTS
    return CommandLine(
        **command.model_dump(exclude={"arguments", "lane", "created_by"}, warnings=False),
        serial=serial,
        control_number=control_number,
        safety=safety_of(command.kind).value,
        lane=Lane(command.lane).name.lower(),
        arguments=shown_arguments(command),
        created_by=operator,
        protects=decisions.protects(Kind(command.kind)) if known else None,
    )


def approval_lines(session: Session, approvals: Sequence[Approval]) -> list[ApprovalLine]:
    """Return approvals with the names of those who asked and decided."""
    ids = {each.requested_by for each in approvals} | {each.decided_by for each in approvals if each.decided_by}
    rows = session.execute(sa_select(col(Operator.id), col(Operator.name)).where(col(Operator.id).in_(ids)))
    names: dict[int, str] = {row[0]: row[1] for row in rows}
    return [
        ApprovalLine(
            **each.model_dump(exclude={"digest", "requested_by", "decided_by", "key_id", "signature"}, warnings=False),
            devices=each.subject.get("devices", []),
            command=each.subject.get("command"),
            requested_by=names[each.requested_by],
            requested_by_id=each.requested_by,
            decided_by=names.get(each.decided_by or 0),
            digest=each.digest.hex(),
        )
        for each in approvals
    ]
