"""What a second person's decision does to acts that wait for it. Believes the rows as little as the message.

Each act is held against what was signed; one that was changed, or whose tablet needs its line by now, is taken back.
"""

from typing import Any
from uuid import UUID

from sqlmodel import Session, col, select

from mdm import clock
from mdm.cellular import line_gate, sim_actions
from mdm.cellular.models import ActionKind, ActionState, SimAction
from mdm.cellular.sim_gate import Refused
from mdm.cellular.sim_wishes import LIFETIME
from mdm.safeguards import approvals
from mdm.safeguards.models import Approval, ApprovalState


def follow(session: Session, approval_id: UUID) -> int:
    """Let the acts of a request go, or take them back; return how many go."""
    approval = approvals.lock(session, approval_id)
    statement = select(SimAction).where(
        SimAction.approval_id == approval_id, SimAction.state == ActionState.REQUESTED.value
    )
    acts = session.exec(statement.order_by(col(SimAction.id)).with_for_update()).all()
    if approval is None or approval.state == ApprovalState.PENDING:
        return 0
    going = 0
    for act in acts:
        refusal = _refusal(session, approval, act)
        if refusal is not None:
            sim_actions.take_back(session, act, refusal)
            continue
        act.state, act.approved_at, act.expires_at = ActionState.APPROVED, clock.now(), clock.now() + LIFETIME
        session.add(act)
        session.flush()
        sim_actions.intend(session, act)
        going += 1
    return going


def _refusal(session: Session, approval: Approval, act: SimAction) -> str | None:
    if approval.state != ApprovalState.APPROVED:
        return f"the second person did not agree: {ApprovalState(approval.state).value}"
    if approvals.digest_of(approval) != approval.digest or not _is_in(approval.subject, act):
        return "what was agreed to is not this"
    if act.kind == ActionKind.SUSPEND:
        decision = line_gate.judge(session, act.sim_id, reason=act.reason, wished_after=act.requested_at)
        if isinstance(decision, Refused):
            return decision.detail
    return None


def _is_in(subject: dict[str, Any], act: SimAction) -> bool:
    lines = {(each["sim"], each["id"]) for each in subject.get("devices", ())}
    lines |= {(sim_id, None) for sim_id in subject.get("free_sims", ())}
    # Bound to the radio of the tablet that it is in, a line has a value of its own.
    same_value = subject.get("value") in (act.value, "" if act.kind == ActionKind.LOCK_IMEI else act.value)
    return (act.sim_id, act.device_id) in lines and subject.get("kind") == act.kind and same_value
