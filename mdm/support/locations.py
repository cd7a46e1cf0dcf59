"""Where a lost tablet was: read one at a time, each look on record, and forgotten when it is found or the case ends.

Locations lie in the answers to `locate` commands and nowhere else.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from mdm.audit import chain
from mdm.auth import Principal
from mdm.auth.rights import Action
from mdm.commands.kinds import Kind
from mdm.commands.models import CommandState
from mdm.errors import NotFound
from mdm.support import cases, progress, timeline
from mdm.support.models import Case
from mdm.support.states import Act


@dataclass(frozen=True, slots=True)
class Location:
    """The latest answer to "where are you"."""

    command_id: UUID
    answered_at: datetime
    answer: dict[str, Any]


def latest(session: Session, principal: Principal, case_id: int) -> Location:
    """Return the latest answer; each look is on record. `NotFound` while there is none."""
    principal.must(Action.READ_LOCATION)
    case, seen = cases.begin(session, principal, case_id, Act.LOCATE)
    answered = [each.id for each in seen.asked if each.kind is Kind.LOCATE and each.state is CommandState.DONE]
    row = None
    if answered:
        row = session.execute(
            text(
                "SELECT id, ended_at, result FROM command WHERE id = :id AND result IS NOT NULL"
                " UNION ALL SELECT id, ended_at, result FROM command_past WHERE id = :id AND result IS NOT NULL"
            ),
            {"id": answered[-1]},
        ).first()
    if row is None:
        raise NotFound("the tablet has not said where it is; ask it with locate, and wait for its answer")
    timeline.note(session, principal, case_id, "location_read", {"command": str(row.id)})
    chain.record(session, principal, "location.read", f"device:{case.device_id}", {"command": row.id, "case": case_id})
    return Location(row.id, row.ended_at, row.result)


def purge(session: Session, case: Case) -> int:
    """Erase every answer to a `locate` of this case or of its tablet meanwhile; return how many were erased.

    An answer that comes after this is erased by the job (`deadlines`), which calls this again.
    """
    session.flush()
    ids = [each.id for each in progress.asked_of(session, case) if each.kind is Kind.LOCATE]
    if not ids:
        return 0
    gone = 0
    for table in ("command", "command_past"):
        statement = text(
            f"UPDATE {table} SET result = NULL WHERE id = ANY(CAST(:ids AS uuid[])) AND result IS NOT NULL RETURNING 1"
        )
        gone += len(session.execute(statement, {"ids": ids}).all())
    return gone
