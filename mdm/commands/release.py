"""What the decision of a second person does to a held command: leave it to the sender, or end it. Lets nothing go."""

from uuid import UUID

from sqlmodel import Session, col, select

from mdm import clock, jobs
from mdm.auth import Action, Principal
from mdm.auth.models import Operator
from mdm.commands import freezing, holding, transitions
from mdm.commands.models import Command, CommandState
from mdm.commands.queue import subject_of
from mdm.devices.models import Device, Enrollment, EnrollmentStatus
from mdm.errors import Attempt, Conflict
from mdm.jobs import Job
from mdm.organization.models import School
from mdm.safeguards import approvals, breaker, budgets, notices, seasoned, thresholds
from mdm.safeguards.approvals import Consent
from mdm.safeguards.models import Approval, ApprovalState


def approve(session: Session, principal: Principal, approval_id: UUID, consent: Consent) -> Approval:
    """Approve as a second person; the sender lets the command leave in its time. Raises what `approvals.approve` does.

    The subject is read again under a lock: another tablet, other arguments or a new enrolment void the request.
    """
    with breaker.counted(principal, "approve"):
        principal.must(Action.APPROVE)
        breaker.must_be_closed(session)
        seasoned.must_be(session, principal.id, thresholds.current(session), what="approve")
        return _approve(session, principal, approval_id, consent)


def _approve(session: Session, principal: Principal, approval_id: UUID, consent: Consent) -> Approval:
    approval = approvals.find(session, principal.scope, approval_id, locked=True)
    approvals.must_be_pending(approval)
    if not is_command(approval):
        # Whoever let it be asked for holds what was signed against what is to be done, before it is done.
        approval = approvals.approve(session, principal, approval_id, present=approval.subject, consent=consent)
        jobs.ring(session, Job.CARRIERS)
        return approval
    command, device, enrollment = _held(session, approval_id)
    present = subject_of(command, serial=device.serial, control_number=device.control_number)
    approval = approvals.approve(session, principal, approval_id, present=present, consent=consent)
    budgets.spend_approval(session, principal, what=approval.action)
    session.refresh(approval)
    # For people to read: the sender makes up its own mind.
    command.not_before = holding.leaves_at(session, approval, command, enrollment)
    session.add(command)
    _tell(session, command, device)
    jobs.ring(session, Job.LET_GO)
    return approval


def _tell(session: Session, command: Command, device: Device) -> None:
    """Call whoever is on duty, and the tablet's school, while somebody can still say stop (operations.md §2.3)."""
    if command.not_before is None or command.not_before <= clock.now():
        return
    details = {
        "school": session.get_one(School, device.school_id).code,
        "command": str(command.id),
        "kind": command.kind,
        "leaves_at": command.not_before.isoformat(timespec="seconds"),
        "cancel": f"tabane command cancel {command.id}; a school calls the board (学校は教育委員会へ連絡してください)",
    }
    notices.page(session, "wipe.held", "A wipe is approved and held: who knows better can cancel it", details)


def is_command(approval: Approval) -> bool:
    """Say whether a request is about a command; else it is about what lies above this room."""
    return approval.action.startswith("command.")


def _held(session: Session, approval_id: UUID) -> tuple[Command, Device, Enrollment]:
    statement = (
        select(Command, Device, Enrollment)
        .join(Device, col(Device.id) == Command.device_id)
        .join(Enrollment, col(Enrollment.device_id) == Command.device_id)
        .where(Command.approval_id == approval_id, Command.state == CommandState.HELD)
        .with_for_update(of=(Command, Device), key_share=True)
        .execution_options(populate_existing=True)
    )
    row = session.exec(statement).first()
    if row is None:
        raise Conflict("the command of this request is over")
    command, device, enrollment = row
    if enrollment.status != EnrollmentStatus.ACTIVE or enrollment.epoch != command.epoch:
        raise approvals.SubjectChanged("the tablet has left or enrolled again since this was asked for")
    return command, device, enrollment


def reject(session: Session, principal: Principal, approval_id: UUID) -> Approval:
    """Refuse somebody else's request, or withdraw one's own; the held command ends."""
    approval = approvals.reject(session, principal, approval_id)
    note = f"{approval.state} by {principal.actor}"
    transitions.drop_held(session, [approval_id], CommandState.CANCELLED, note=note)
    if not is_command(approval):
        jobs.ring(session, Job.CARRIERS)
    elif approval.state == ApprovalState.REJECTED:
        asker = session.get_one(Operator, approval.requested_by)
        attempt = Attempt(approval.requested_by, f"operator:{asker.name}", approval.action)
        freezing.note_attempt(session, attempt)
    return approval
