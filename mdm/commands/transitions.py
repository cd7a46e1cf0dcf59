"""Transitions that people and time bring about: superseded, cancelled, released, expired.

Each is one function, guarded in its WHERE and logged; a late or repeated one is a no-op. Inserts no commands.
What the tablet brings about is in `exchange` and `epochs`, the wake-up in `waking`.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select, update

from mdm import jobs
from mdm.audit import chain
from mdm.auth import Action, Principal, Scope
from mdm.commands import decisions
from mdm.commands.history import ANY
from mdm.commands.kinds import FACTS, Kind, action_of
from mdm.commands.models import LIVE_STATES, OPEN_STATES, Command, CommandEvent, CommandState
from mdm.devices.models import Device, Lane
from mdm.devices.wakeups import mark_due
from mdm.errors import Conflict, NotFound
from mdm.jobs import Job
from mdm.safeguards import approvals
from mdm.safeguards.models import Approval, ApprovalState


def shown_arguments(command: Command) -> dict[str, Any]:
    """Return the arguments that may be shown; an unknown kind's are silent."""
    try:
        shown = FACTS[Kind(command.kind)].audit
    except ValueError:
        return {}
    return {name: command.arguments[name] for name in shown if name in command.arguments}


def record(session: Session, who: Principal | str, action: str, commands: Sequence[Command]) -> None:
    """Put an act on commands of one kind in the audit trail."""
    first = commands[0]
    subject = f"device:{first.device_id}" if len(commands) == 1 else f"devices:{len(commands)}"
    details = {
        "kind": first.kind,
        "arguments": shown_arguments(first),
        "commands": {str(command.device_id): str(command.id) for command in commands},
    }
    chain.record(session, who, action, subject, details)


def wake(session: Session, device_ids: Sequence[int], lane: Lane) -> None:
    """Make tablets due a push in a lane and hint the dispatcher."""
    mark_due(session, device_ids, lane)
    jobs.ring(session, Job.DISPATCH, urgent=lane is Lane.URGENT, lane=int(lane))


def move(session: Session, to: CommandState, *where: ColumnElement[bool], note: str, **values: Any) -> list[UUID]:
    """Move the commands that meet every condition to a state, log it, and return which moved."""
    statement = (
        update(Command)
        .where(*where)
        .values(state=to.value, **values)
        .returning(col(Command.id))
        .execution_options(synchronize_session=False)
    )
    moved = [row[0] for row in session.execute(statement)]
    log(session, moved, to, note)
    return moved


def log(session: Session, ids: Sequence[UUID], state: CommandState, note: str) -> None:
    """Add a line to the timeline of each of these commands."""
    if ids:
        rows = [{"command_id": command_id, "state": state.value, "note": note[:200]} for command_id in ids]
        session.execute(insert(CommandEvent).values(rows))


def supersede(session: Session, command_ids: Sequence[UUID], *, note: str) -> list[UUID]:
    """End commands that a newer one makes pointless, unless the tablet has been handed them meanwhile."""
    if not command_ids:
        return []
    return move(
        session,
        CommandState.SUPERSEDED,
        col(Command.id).in_(command_ids),
        col(Command.state).in_(decisions.RECALLABLE),
        note=note,
        ended_at=func.now(),
    )


def cancel(session: Session, principal: Principal, command_id: UUID) -> Command:
    """Cancel a command that the tablet has not been handed; cancelling twice is harmless.

    Whoever may not ask for a kind may not take it back either. Raises `NotFound` outside scope, `Forbidden`, `Conflict`
    when the tablet has it already or it is over.
    """
    principal.must(Action.CANCEL_COMMAND)
    command = find(session, principal.scope, command_id)
    principal.must(action_of(command.kind))
    if command.approval_id is not None:
        approvals.lock(session, command.approval_id)
    moved = move(
        session,
        CommandState.CANCELLED,
        col(Command.id) == command_id,
        col(Command.state).in_(decisions.RECALLABLE),
        note=f"by {principal.actor}",
        ended_at=func.now(),
    )
    command = find(session, principal.scope, command_id)
    if not moved and command.state != CommandState.CANCELLED:
        if command.state == CommandState.DELIVERED:
            raise Conflict("the tablet has been handed this command; it may have carried it out")
        raise Conflict(f"this command is over: {CommandState(command.state).value}")
    if moved:
        record(session, principal, "command.cancel", [command])
        if command.approval_id is not None:
            approvals.cancel(session, principal, command.approval_id)
    return command


def find(session: Session, scope: Scope, command_id: UUID) -> Command:
    """Return one command of a tablet in scope, live or past, or raise `NotFound`."""
    statement = (
        select(ANY)
        .join(Device, col(Device.id) == col(ANY.device_id))
        .where(col(ANY.id) == command_id, scope.covers(col(Device.school_id)))
        .execution_options(populate_existing=True)
    )
    command = session.exec(statement).first()
    if command is None:
        raise NotFound("there is no such command")
    return command


def drop_held(session: Session, approval_ids: Sequence[UUID], state: CommandState, *, note: str) -> list[UUID]:
    """End what waits for approvals that were refused, withdrawn or ran out."""
    if not approval_ids:
        return []
    return move(
        session,
        state,
        col(Command.approval_id).in_(approval_ids),
        col(Command.state) == CommandState.HELD.value,
        note=note,
        ended_at=func.now(),
    )


def expire(session: Session) -> int:
    """End what waited too long, for a tablet or for an approval; return how many. For the sweeper."""
    unapproved = approvals.expire(session)
    dropped = drop_held(session, unapproved, CommandState.EXPIRED, note="nobody approved it in time")
    over = move(
        session,
        CommandState.EXPIRED,
        col(Command.state).in_(LIVE_STATES),
        col(Command.expires_at) <= func.now(),
        note="the tablet did not answer in time",
        ended_at=func.now(),
    )
    _withdraw_orphans(session)
    return len(dropped) + len(over)


def _withdraw_orphans(session: Session) -> None:
    """End the requests for approval whose commands ended otherwise: run out, or dropped by a new enrolment."""
    orphans = (
        select(Approval.id)
        .join(Command, col(Command.approval_id) == Approval.id)
        .where(Approval.state == ApprovalState.PENDING, col(Command.state) != CommandState.HELD.value)
    )
    for approval_id in session.exec(orphans).all():
        assert approval_id is not None
        approvals.cancel(session, "job:sweep", approval_id)


def end_overtaken(session: Session) -> int:
    """Supersede what a tablet put off (NotNow) while a newer command made it pointless; for the sweeper.

    Such a command had been handed over when the newer one came, so it could not be superseded then.
    """
    count = 0
    for kind, facts in FACTS.items():
        if not facts.supersedes:
            continue
        newer = aliased(Command)
        overtaken = (
            exists()
            .where(
                col(newer.device_id) == col(Command.device_id),
                col(newer.epoch) == col(Command.epoch),
                col(newer.kind) == kind.value,
                col(newer.id) > col(Command.id),
                col(newer.state).in_((*OPEN_STATES, CommandState.DONE)),
            )
            .correlate(Command)
        )
        count += len(
            move(
                session,
                CommandState.SUPERSEDED,
                col(Command.state) == CommandState.NOT_NOW.value,
                col(Command.kind).in_(facts.supersedes),
                overtaken,
                note=f"by a newer {kind.value}",
                ended_at=func.now(),
            )
        )
    return count
