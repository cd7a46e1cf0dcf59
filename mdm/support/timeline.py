"""The timeline of a case: lines are added and read, never changed. Writes no names and judges no state."""

from collections.abc import Mapping
from typing import Any

from sqlmodel import Session, col, select

from mdm import clock
from mdm.auth import Principal
from mdm.support.models import CaseEvent


def note(
    session: Session, who: Principal | str, case_id: int, what: str, details: Mapping[str, Any] | None = None
) -> CaseEvent:
    """Add a line to a case's timeline, in the caller's transaction."""
    actor = who if isinstance(who, str) else who.actor
    event = CaseEvent(case_id=case_id, at=clock.now(), actor=actor[:80], what=what, details=dict(details or {}))
    session.add(event)
    session.flush()
    return event


def last(session: Session, case_id: int) -> CaseEvent | None:
    """Return the newest line."""
    return session.exec(
        select(CaseEvent).where(CaseEvent.case_id == case_id).order_by(col(CaseEvent.id).desc())
    ).first()


def lines(session: Session, case_id: int) -> list[CaseEvent]:
    """Return the whole timeline, oldest first."""
    statement = select(CaseEvent).where(CaseEvent.case_id == case_id).order_by(col(CaseEvent.id))
    return list(session.exec(statement.execution_options(populate_existing=True)))
