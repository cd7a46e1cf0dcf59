"""What holds of the safeguards when no row is believed: looser thresholds and thaws count only where they are signed.

For the sender and the auditor. Whoever has the web process's role in the database can add rows; the signature of a
second person, by a key that the host pinned for an administrator of all schools, it cannot make. What is not proven
does not hold: the tighter value does, and what is frozen stays so. Reads only.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlmodel import Session, col, select

from mdm.auth import Principal
from mdm.auth.models import Operator
from mdm.auth.webauthn import NotProved
from mdm.safeguards import keys, signing
from mdm.safeguards.approvals import Consent
from mdm.safeguards.breaker_models import BreakerEvent, What
from mdm.safeguards.models import ApproverKey, KeyKind
from mdm.safeguards.signing import Signature
from mdm.safeguards.threshold_models import RequestState, SafeguardThreshold, ThresholdRequest
from mdm.safeguards.threshold_values import FACTS, Name, loosens

LIFETIME: Final = timedelta(hours=24)
"""How long a wish to loosen or to thaw waits for its second person."""
LOOSEN: Final = "safeguard.loosen"
THAW: Final = "breaker.thaw"
_SLACK: Final = timedelta(minutes=1)
"""Between the clock of the web process and the database's."""


def wish_to_loosen(request: ThresholdRequest) -> dict[str, Any]:
    """Return the subject of a request to loosen, as it is signed: this one and no other like it."""
    return {"request": str(request.id), "threshold": request.name, "before": request.before, "value": request.value}


def wish_to_thaw(opened: BreakerEvent, asked: BreakerEvent) -> dict[str, Any]:
    """Return the subject of a wish to thaw, as it is signed: after this opening, and not after the next."""
    return {"opened": opened.id, "asked": asked.id, "pattern": opened.detail}


def digest_to_loosen(request: ThresholdRequest) -> bytes:
    """Return the digest of a request to loosen, as its row stands now."""
    return signing.digest(
        LOOSEN,
        wish_to_loosen(request),
        reason=request.reason,
        requested_by=request.requested_by,
        expires_at=request.expires_at,
    )


def digest_to_thaw(opened: BreakerEvent, asked: BreakerEvent) -> bytes:
    """Return the digest of a wish to thaw."""
    assert asked.at is not None
    return signing.digest(
        THAW,
        wish_to_thaw(opened, asked),
        reason="",
        requested_by=asked.operator_id or 0,
        expires_at=asked.at + LIFETIME,
    )


def take(session: Session, principal: Principal, digest: bytes, consent: Consent) -> None:
    """Verify a second administrator's signature under a wish, and count the key's use; `NotPinned`, `NotProved`."""
    key = keys.usable(session, principal.id, consent.key_id)
    if not key.loosens:
        raise keys.NotPinned("the host has not pinned this key for an administrator of all schools")
    signed = signing.challenge(digest, approver=principal.name, urgent=False)
    verified = signing.Key(KeyKind(key.kind), key.public_key, key.sign_count)
    key.sign_count = signing.verify(verified, signed, consent.signature)
    session.add(key)


def current(session: Session) -> Mapping[Name, int]:
    """Return every threshold as it holds when what is looser must be proven."""
    return {name: fact.first for name, fact in FACTS.items()} | {Name(row.name): row.value for row in history(session)}


def history(session: Session) -> list[SafeguardThreshold]:
    """Return what was set of the thresholds, the oldest first, without what is looser and not proven."""
    held = {name: fact.first for name, fact in FACTS.items()}
    rows = session.exec(
        select(SafeguardThreshold)
        .where(col(SafeguardThreshold.name).in_([name.value for name in Name]))
        .order_by(col(SafeguardThreshold.id))
        .execution_options(populate_existing=True)
    )
    found = []
    for row in rows:
        name = Name(row.name)
        if row.by_owner or not loosens(name, held[name], row.value) or _was_asked_and_signed(session, row, held[name]):
            held[name] = row.value
            found.append(row)
    return found


def frozen(session: Session) -> bool:
    """Say whether class A is frozen, when only a proven thaw closes the breaker."""
    latest = select(BreakerEvent).order_by(col(BreakerEvent.id).desc()).execution_options(populate_existing=True)
    opened = session.exec(latest.where(BreakerEvent.what == What.OPENED.value).limit(1)).first()
    if opened is None:
        return False
    later = latest.where(BreakerEvent.what == What.THAWED.value, col(BreakerEvent.id) > opened.id)
    return not any(event.by_owner or _was_thawed(session, opened, event) for event in session.exec(later))


def _was_asked_and_signed(session: Session, row: SafeguardThreshold, held: int) -> bool:
    request = session.get(ThresholdRequest, row.request_id, populate_existing=True) if row.request_id else None
    if request is None or request.state != RequestState.APPROVED or request.decided_at is None:
        return False
    is_this = (request.name, request.value, request.before) == (row.name, row.value, held)
    in_time = (
        request.expires_at <= request.requested_at + LIFETIME + _SLACK
        and request.requested_at - _SLACK <= request.decided_at <= request.expires_at + _SLACK
    )
    return (
        is_this
        and in_time
        and request.decided_by != request.requested_by
        and _is_signed(
            session,
            signer_id=request.decided_by,
            key_id=request.key_id,
            digest=digest_to_loosen(request),
            signature=request.signature,
            at=request.decided_at,
        )
    )


def _was_thawed(session: Session, opened: BreakerEvent, event: BreakerEvent) -> bool:
    asked = session.get(BreakerEvent, event.asked_id, populate_existing=True) if event.asked_id else None
    if asked is None or asked.what != What.THAW_ASKED or asked.operator_id is None:
        return False
    if opened.id is None or asked.id is None or asked.at is None or event.at is None:
        return False
    return (
        opened.id < asked.id
        and asked.operator_id != event.operator_id
        and event.at <= asked.at + LIFETIME
        and _is_signed(
            session,
            signer_id=event.operator_id,
            key_id=event.key_id,
            digest=digest_to_thaw(opened, asked),
            signature=event.signature,
            at=event.at,
        )
    )


def _is_signed(
    session: Session,
    *,
    signer_id: int | None,
    key_id: int | None,
    digest: bytes,
    signature: Mapping[str, str] | None,
    at: datetime,
) -> bool:
    """Say whether a pinned key that loosens signed this; one that was revoked later still did."""
    signer = session.get(Operator, signer_id, populate_existing=True) if signer_id else None
    key = session.get(ApproverKey, key_id, populate_existing=True) if key_id else None
    if signer is None or key is None or key.operator_id != signer.id or not key.loosens or key.pinned_at is None:
        return False
    if key.revoked_at is not None and key.revoked_at <= at:
        return False
    signed = signing.challenge(digest, approver=signer.name, urgent=False)
    try:
        signing.verify(signing.Key(KeyKind(key.kind), key.public_key), signed, Signature.from_stored(signature))
    except NotProved:
        return False
    return True
