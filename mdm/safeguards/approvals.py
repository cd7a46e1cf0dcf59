"""Approvals by a second person: request, decide, expire. Knows no command; what an approval sets free is its caller's.

One approval is one execution. Its digest binds the decision to exactly what was asked for, and whoever approves signs
it with a key that the host has pinned: editing voids both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, text
from sqlmodel import Session, col, select, update

from mdm import clock
from mdm.audit import chain
from mdm.auth import SCOPE_SQL, Action, Principal, Scope
from mdm.auth.entitlement import is_entitled
from mdm.errors import Conflict, Forbidden, Invalid, NotFound
from mdm.safeguards import keys, signing
from mdm.safeguards.models import Approval, ApprovalState, KeyKind
from mdm.safeguards.signing import Signature

LIFETIME = timedelta(hours=24)
_IN_SCOPE = text(
    "NOT EXISTS (SELECT 1 FROM jsonb_array_elements(approval.subject -> 'devices') AS each"
    " LEFT JOIN device d ON d.id = (each ->> 'id')::bigint"
    f" WHERE d.id IS NULL OR NOT {SCOPE_SQL.format(column='d.school_id')})"
    " AND (CAST(:schools AS bigint[]) IS NULL OR NOT coalesce((approval.subject ->> 'everywhere')::boolean, false))"
)
"""Every tablet of the subject is within scope; what is `everywhere` is only in that of people of all schools."""


class SubjectChanged(Conflict):
    """What was requested is no longer what would be done."""

    slug = "subject-changed"


class SelfApproval(Forbidden):
    """A second person must approve."""

    slug = "self-approval"


@dataclass(frozen=True, slots=True)
class Consent:
    """A second person's signature under a request: by which of their keys, and whether it need not wait."""

    key_id: int
    signature: Signature
    urgent: bool = False


def request(
    session: Session,
    principal: Principal,
    *,
    action: str,
    subject: Mapping[str, Any],
    reason: str,
    right: Action = Action.REQUEST_WIPE,
) -> Approval:
    """Ask for a second person; `subject["devices"]` lists the tablets as `{"id", "serial", ...}`, for scope and reader.

    Pending for 24 hours. `Invalid` without a reason: whoever decides must know why. With `everywhere` in the subject it
    is about more than tablets.
    """
    principal.must(right)
    if not reason.strip():
        detail = "say why; a second person decides on it"
        raise Invalid("this needs an approval, and an approval needs a reason", errors=[_at("/reason", detail)])
    bound = subject.get("devices") or subject.get("everywhere")
    assert bound, "an approval without tablets would be in everybody's scope"
    approval = Approval(
        action=action,
        subject=dict(subject),
        digest=b"",
        reason=reason.strip()[:400],
        state=ApprovalState.PENDING,
        requested_by=principal.id,
        requested_at=clock.now(),
        expires_at=clock.now() + LIFETIME,
    )
    approval.digest = digest_of(approval)
    session.add(approval)
    session.flush()
    session.refresh(approval)
    # Not the reason: people write names into it, and the trail is for ever.
    details = {"action": action, "devices": [each["id"] for each in subject["devices"]]}
    chain.record(session, principal, "approval.request", f"approval:{approval.id}", details)
    return approval


def _at(pointer: str, detail: str) -> dict[str, str]:
    return {"pointer": pointer, "detail": detail}


def find(session: Session, scope: Scope, approval_id: UUID, *, locked: bool = False) -> Approval:
    """Return one approval all of whose tablets are in scope, or raise `NotFound`."""
    statement = select(Approval).where(Approval.id == approval_id, _IN_SCOPE.bindparams(schools=scope.parameter))
    if locked:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    approval = session.exec(statement).first()
    if approval is None:
        raise NotFound("there is no such approval")
    return approval


def visible(
    session: Session, scope: Scope, *, state: ApprovalState | None, before: UUID | None, limit: int
) -> list[Approval]:
    """List approvals in scope, newest first (ids are in the order of time)."""
    statement = select(Approval).where(_IN_SCOPE.bindparams(schools=scope.parameter))
    if state is not None:
        statement = statement.where(col(Approval.state) == state.value)
    if before is not None:
        statement = statement.where(col(Approval.id) < before)
    return list(session.exec(statement.order_by(col(Approval.id).desc()).limit(limit)))


def digest_of(approval: Approval, subject: Mapping[str, Any] | None = None) -> bytes:
    """Return the digest of a request as its row stands now, or as it would be of another subject."""
    return signing.digest(
        approval.action,
        approval.subject if subject is None else subject,
        reason=approval.reason,
        requested_by=approval.requested_by,
        expires_at=approval.expires_at,
    )


def approve(
    session: Session, principal: Principal, approval_id: UUID, *, present: Mapping[str, Any], consent: Consent
) -> Approval:
    """Approve as a second person; `present` is the subject as it stands now, and must be what was requested.

    Raises `NotFound` outside scope, `Forbidden` for tokens and without the right, `SelfApproval`, `Conflict` when it is
    decided, expired or its requester may no longer sign in, `SubjectChanged`, `NotPinned`, `NotProved`.
    """
    principal.must(Action.APPROVE)
    approval = find(session, principal.scope, approval_id, locked=True)
    if approval.requested_by == principal.id:
        raise SelfApproval("a second person must approve; you asked for this yourself")
    must_be_pending(approval)
    if not is_entitled(session, approval.requested_by):
        raise Conflict("whoever asked for this may no longer sign in; let somebody else ask again")
    if not digest_of(approval) == approval.digest == digest_of(approval, present):
        raise SubjectChanged("what was asked for has changed since; cancel it and ask again")
    _sign(session, principal, approval, consent)
    return _decide(session, principal, approval, ApprovalState.APPROVED, "approval.approve")


def _sign(session: Session, principal: Principal, approval: Approval, consent: Consent) -> None:
    key = keys.usable(session, principal.id, consent.key_id)
    signed = signing.challenge(approval.digest, approver=principal.name, urgent=consent.urgent)
    key.sign_count = signing.verify(
        signing.Key(KeyKind(key.kind), key.public_key, key.sign_count), signed, consent.signature
    )
    session.add(key)
    approval.urgent = consent.urgent
    approval.key_id = key.id
    approval.signature = consent.signature.stored()


def reject(session: Session, principal: Principal, approval_id: UUID) -> Approval:
    """Refuse a request of somebody else's, or withdraw one's own (`cancelled`)."""
    principal.must(Action.WITHDRAW)
    approval = find(session, principal.scope, approval_id, locked=True)
    if approval.requested_by == principal.id:
        return _decide(session, principal, approval, ApprovalState.CANCELLED, "approval.cancel")
    return _decide(session, principal, approval, ApprovalState.REJECTED, "approval.reject")


def cancel(session: Session, actor: Principal | str, approval_id: UUID) -> None:
    """End a pending request because its subject ended; no-op when it is decided already."""
    approval = lock(session, approval_id)
    if approval is None or approval.state != ApprovalState.PENDING:
        return
    approval.state = ApprovalState.CANCELLED
    approval.decided_at = clock.now()
    session.add(approval)
    chain.record(session, actor, "approval.cancel", f"approval:{approval.id}", {"action": approval.action})


def lock(session: Session, approval_id: UUID) -> Approval | None:
    """Lock a request before what waits for it: everybody locks in this order, so nobody waits in a circle."""
    return session.get(Approval, approval_id, with_for_update=True, populate_existing=True)


def expire(session: Session) -> list[UUID]:
    """End the requests that nobody decided in time; return their ids, for whoever holds their subjects."""
    statement = (
        update(Approval)
        .where(col(Approval.state) == ApprovalState.PENDING.value, col(Approval.expires_at) <= func.now())
        .values(state=ApprovalState.EXPIRED.value, decided_at=func.now())
        .returning(col(Approval.id))
        .execution_options(synchronize_session=False)
    )
    expired = [row[0] for row in session.execute(statement)]
    for approval_id in expired:
        chain.record(session, "job:sweep", "approval.expire", f"approval:{approval_id}")
    return expired


def must_be_pending(approval: Approval) -> None:
    """Raise `Conflict` unless the request waits for a decision and has not run out."""
    if approval.state != ApprovalState.PENDING:
        raise Conflict(f"this request is decided already: {ApprovalState(approval.state).value}")
    if approval.expires_at <= clock.now():
        raise Conflict("this request has run out; ask again")


def _decide(session: Session, principal: Principal, approval: Approval, state: ApprovalState, action: str) -> Approval:
    must_be_pending(approval)
    approval.state = state
    approval.decided_by = principal.id
    approval.decided_at = clock.now()
    session.add(approval)
    session.flush()
    details = {"action": approval.action, "digest": approval.digest, "requested_by": approval.requested_by}
    if approval.key_id is not None:
        details |= {"key": approval.key_id, "urgent": approval.urgent}
    chain.record(session, principal, action, f"approval:{approval.id}", details)
    return approval
