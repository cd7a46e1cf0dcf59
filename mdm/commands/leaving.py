"""What the sender looks at before a command of class A leaves: everything again, from the rows, trusting nobody.

Whoever wrote the rows may have been a stolen web process. What counts is the signature of a second person over exactly
what would be done now, by a key that the host has pinned. Only the sender's process may call this (the database refuses
the others), and it decides nothing that was not signed.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlalchemy import func
from sqlmodel import Session, col, select

from mdm.audit import chain
from mdm.auth import Action
from mdm.auth.credentials import principal_of
from mdm.auth.entitlement import is_entitled
from mdm.auth.models import Operator
from mdm.auth.rights import allowed
from mdm.commands import holding, transitions
from mdm.commands.models import Command, CommandState
from mdm.commands.queue import subject_of
from mdm.devices.models import Device, Enrollment, EnrollmentStatus, Lane
from mdm.errors import Conflict, MdmError
from mdm.safeguards import approvals, budgets, proven, signing
from mdm.safeguards.models import Approval, ApprovalState, ApproverKey, KeyKind

ACTOR: Final = "job:sender"
_SLACK: Final = timedelta(minutes=1)
"""Between the clock of the web process and the database's."""


class Verdict(StrEnum):
    """What became of one."""

    LEFT = "left"
    REFUSED = "refused"
    """It was cancelled, and put on record why."""
    WAITS = "waits"
    """Its time has not come, or class A is frozen."""
    GONE = "gone"
    """It is not held any more."""


class Refused(Conflict):
    """What would be done is not what was signed, or may not leave any more."""

    slug = "not-sent"


def waiting(session: Session) -> list[UUID]:
    """Return the approvals whose commands are held still, in the order in which they were asked for."""
    statement = (
        select(Approval.id)
        .join(Command, col(Command.approval_id) == Approval.id)
        .where(Approval.state == ApprovalState.APPROVED, col(Command.state) == CommandState.HELD.value)
        .order_by(col(Command.id))
    )
    return [approval_id for approval_id in session.exec(statement) if approval_id is not None]


def let_go(session: Session, approval_id: UUID) -> Verdict:
    """Let one approved command leave if all is well and its time has come; end it if it must not leave at all."""
    approval = approvals.lock(session, approval_id)
    command = session.exec(
        select(Command)
        .where(Command.approval_id == approval_id, Command.state == CommandState.HELD)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).first()
    if approval is None or command is None or approval.state != ApprovalState.APPROVED:
        return Verdict.GONE
    try:
        leaves_at = _checked(session, approval, command)
        now = session.exec(select(func.clock_timestamp())).one()
        if leaves_at > now:
            return Verdict.WAITS
        # In the line of whoever opens the breaker: what is let go is seen and pulled back, or nothing is let go.
        chain.stand_in_line(session)
        if proven.frozen(session):
            return Verdict.WAITS
        budgets.recheck(session, command, signers=[approval.decided_by] if approval.decided_by else [])
    except MdmError as refusal:
        _refuse(session, approval, command, refusal)
        return Verdict.REFUSED
    _release(session, approval, command)
    return Verdict.LEFT


def _checked(session: Session, approval: Approval, command: Command) -> datetime:
    """Return when the command may leave; raises an `MdmError` with the reason if it must not."""
    device = session.get_one(Device, command.device_id, populate_existing=True)
    enrollment = session.get_one(Enrollment, command.device_id, populate_existing=True)
    if enrollment.status != EnrollmentStatus.ACTIVE or enrollment.epoch != command.epoch:
        raise Refused("the tablet has left or enrolled again since this was asked for")
    present = subject_of(command, serial=device.serial, control_number=device.control_number)
    if not approvals.digest_of(approval) == approval.digest == approvals.digest_of(approval, present):
        raise Refused("what would be done now is not what was asked for")
    approver = _second_person(session, approval, device)
    _must_be_signed(session, approval, approver)
    _must_be_in_time(session, approval)
    return holding.leaves_at(session, approval, command, enrollment)


def _second_person(session: Session, approval: Approval, device: Device) -> Operator:
    """Return who approved: somebody else than who asked, both still in office, with the right and the school."""
    if approval.decided_by is None or approval.decided_by == approval.requested_by:
        raise Refused("nobody else approved it")
    # A contractor's account ends by itself, with its handler or its contract: that may have come during the hold.
    if not (is_entitled(session, approval.requested_by) and is_entitled(session, approval.decided_by)):
        raise Refused("whoever asked or approved may no longer sign in")
    approver = session.get_one(Operator, approval.decided_by)
    who = principal_of(session, approver)
    if not allowed(who.role, Action.APPROVE):
        raise Refused("whoever approved may not approve any more")
    if not (who.scope.all_schools or device.school_id in who.scope.school_ids):
        raise Refused("the tablet is not in the schools of whoever approved")
    return approver


def _must_be_signed(session: Session, approval: Approval, approver: Operator) -> None:
    key = session.get(ApproverKey, approval.key_id, populate_existing=True) if approval.key_id else None
    if key is None or key.operator_id != approver.id or key.pinned_at is None or key.revoked_at is not None:
        raise Refused("it is not signed with a key that the host has pinned for whoever approved")
    signed = signing.challenge(approval.digest, approver=approver.name, urgent=approval.urgent)
    given = signing.Signature.from_stored(approval.signature)
    signing.verify(signing.Key(KeyKind(key.kind), key.public_key), signed, given)


def _must_be_in_time(session: Session, approval: Approval) -> None:
    """An approval is given within a day of the request, and used within a day."""
    now = session.exec(select(func.clock_timestamp())).one()
    assert approval.decided_at is not None
    if approval.expires_at > approval.requested_at + approvals.LIFETIME + _SLACK:
        raise Refused("the request is good for longer than requests are")
    if not approval.requested_at - _SLACK <= approval.decided_at <= approval.expires_at + _SLACK:
        raise Refused("it was approved too late")
    if now > approval.decided_at + approvals.LIFETIME:
        raise Refused("the approval has run out; ask again")


def _release(session: Session, approval: Approval, command: Command) -> None:
    assert command.id is not None
    transitions.move(
        session,
        CommandState.QUEUED,
        col(Command.id) == command.id,
        col(Command.state) == CommandState.HELD.value,
        note="approved and signed by a second person",
    )
    approval.executed_at = session.exec(select(func.now())).one()
    session.add(approval)
    transitions.wake(session, [command.device_id], Lane(command.lane))
    details = {"approval": approval.id, "kind": command.kind, "command": command.id}
    chain.record(session, ACTOR, "command.release", f"device:{command.device_id}", details)


def _refuse(session: Session, approval: Approval, command: Command, refusal: MdmError) -> None:
    assert command.id is not None
    transitions.move(
        session,
        CommandState.CANCELLED,
        col(Command.id) == command.id,
        col(Command.state) == CommandState.HELD.value,
        note=f"not sent: {refusal.detail}",
        ended_at=func.now(),
    )
    details = {"approval": approval.id, "kind": command.kind, "command": command.id, "reason": refusal.slug}
    chain.record(session, ACTOR, "command.refuse", f"device:{command.device_id}", details)
