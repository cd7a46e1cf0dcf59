"""Commands of class A that belong to a whole and not to an approval of their own (`mdm.campaigns`).

Puts them in line held, takes them back, ends them, and lets them go for the sender. Decides nothing: who calls has
looked at everything, and the database lets none leave that is not signed for.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from mdm.commands import decisions, transitions
from mdm.commands.kinds import FACTS, Kind
from mdm.commands.models import Command, CommandState
from mdm.commands.queue import LIVE
from mdm.devices.models import Lane

_ON_ITS_WAY = (CommandState.QUEUED.value, CommandState.SENT.value, CommandState.NOT_NOW.value)


def hold(
    session: Session, epochs: Mapping[int, int], kind: Kind, arguments: Mapping[str, Any], *, asker: int, note: str
) -> dict[int, UUID]:
    """Put one command for each tablet (its epoch by its id) in line, held; return those put, by tablet.

    A tablet that has a live one of this kind gets none.
    """
    if not epochs:
        return {}
    facts = FACTS[kind]
    rows = [
        {
            "device_id": device_id,
            "epoch": epoch,
            "kind": kind.value,
            "arguments": dict(arguments),
            "dedupe_key": kind.value,
            "lane": int(facts.lane),
            "state": CommandState.HELD.value,
            "expires_at": func.now() + facts.lifetime,
            "created_by": asker,
        }
        for device_id, epoch in sorted(epochs.items())
    ]
    statement = insert(Command).values(rows)
    statement = statement.on_conflict_do_nothing(index_elements=["device_id", "dedupe_key"], index_where=LIVE)
    placed = session.execute(statement.returning(col(Command.device_id), col(Command.id))).all()
    transitions.log(session, [row[1] for row in placed], CommandState.HELD, note)
    return {row[0]: row[1] for row in placed}


def locked(session: Session, command_ids: Sequence[UUID]) -> dict[UUID, Command]:
    """Return those of these commands that are held, locked, by id."""
    statement = (
        select(Command)
        .where(col(Command.id).in_(command_ids), Command.state == CommandState.HELD)
        .order_by(col(Command.id))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return {each.id: each for each in session.exec(statement) if each.id is not None}


def let_go(session: Session, commands: Sequence[Command], *, note: str) -> None:
    """Move held commands of one lane to the queue and wake their tablets. For the sender."""
    ids = [each.id for each in commands if each.id is not None]
    transitions.move(
        session,
        CommandState.QUEUED,
        col(Command.id).in_(ids),
        col(Command.state) == CommandState.HELD.value,
        note=note,
    )
    transitions.wake(session, [each.device_id for each in commands], Lane(commands[0].lane))


def hold_back(session: Session, command_ids: Sequence[UUID], *, note: str) -> list[UUID]:
    """Hold what is on its way and has not been handed over; return which."""
    on_its_way = col(Command.state).in_(_ON_ITS_WAY)
    return transitions.move(session, CommandState.HELD, col(Command.id).in_(command_ids), on_its_way, note=note)


def end(session: Session, command_ids: Sequence[UUID], *, note: str) -> list[UUID]:
    """Cancel what has not been handed over; return which."""
    return transitions.move(
        session,
        CommandState.CANCELLED,
        col(Command.id).in_(command_ids),
        col(Command.state).in_(decisions.RECALLABLE),
        note=note,
        ended_at=func.now(),
    )
