"""How long an approved command of class A waits before it leaves, so that somebody can still say stop. Reads only."""

from datetime import datetime, timedelta

from sqlmodel import Session, col, func, select

from mdm.commands.history import ANY
from mdm.commands.kinds import Kind
from mdm.commands.models import Command, CommandState
from mdm.devices.models import Enrollment
from mdm.safeguards import proven
from mdm.safeguards.models import Approval
from mdm.safeguards.threshold_values import Name


def leaves_at(session: Session, approval: Approval, command: Command, enrollment: Enrollment) -> datetime:
    """Return when an approved command may leave: at once if that was signed, or if its tablet has long been lost.

    (operations.md §2.3, point 5.) A tablet that has been in lost mode for long is gone: waiting protects nobody.
    """
    assert approval.decided_at is not None
    if approval.urgent:
        return approval.decided_at
    thresholds_now = proven.current(session)
    held = approval.decided_at + timedelta(minutes=thresholds_now[Name.HOLD_MINUTES])
    lost_since = _lost_since(session, command, enrollment)
    if lost_since is None:
        return held
    long = timedelta(hours=thresholds_now[Name.HOLD_LOST_HOURS])
    return min(held, max(approval.decided_at, lost_since + long))


def _lost_since(session: Session, command: Command, enrollment: Enrollment) -> datetime | None:
    """Return since when the tablet has been in lost mode by its own word; None while it is not."""
    if not enrollment.lost_mode:
        return None
    statement = select(func.max(col(ANY.ended_at))).where(
        col(ANY.device_id) == command.device_id,
        col(ANY.epoch) == command.epoch,
        col(ANY.kind) == Kind.LOST_MODE_ON.value,
        col(ANY.state) == CommandState.DONE.value,
    )
    return session.exec(statement).one()
