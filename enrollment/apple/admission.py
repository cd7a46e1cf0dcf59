"""Who gets a certificate by SCEP: a ticket's bearer, a known tablet renewing, or a transaction that repeats itself.

It must not parse or write messages. A refusal that concerns a ticket or tablet we know goes into the audit trail.
"""

import hashlib
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlmodel import Session, col, select

from enrollment import ca, tickets
from enrollment.apple.scep import FailInfo, Message, Request
from enrollment.ca import Admission
from enrollment.models import ScepTransaction
from enrollment.tickets import Refusal
from mdm import clock
from mdm.audit import chain
from mdm.cms.certificates import Untrusted, verify_chain
from mdm.devices import identities
from mdm.devices.models import Device, Enrollment, EnrollmentStatus, LedgerState
from mdm.platform import Platform

_log = structlog.get_logger(__name__)


def admit(session: Session, message: Message, request: Request) -> bytes | FailInfo:
    """Return the DER certificate for an opened request, or why there is none.

    A retried transaction with the same key gets the same certificate and spends nothing; with another key it fails.
    """
    # In line per transaction: of two copies of one request, the second finds what the first left.
    session.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"scep:{message.transaction_id}"}
    )
    key_hash = hashlib.sha256(request.spki).digest()
    before = session.get(ScepTransaction, message.transaction_id)
    if before is not None:
        if before.public_key_hash != key_hash:
            return _refused("another key under a known transaction", FailInfo.BAD_REQUEST)
        known = identities.find(session, hashlib.sha256(before.certificate).digest())
        if known is not None and known.revoked_at is None:
            return before.certificate
    admission = _renewing(session, message) if message.type.renews else _bearing(session, request.challenge)
    if isinstance(admission, FailInfo):
        return admission
    der = ca.issue(session, request.public_key, admission)
    _remember(
        session,
        before,
        ScepTransaction(
            transaction_id=message.transaction_id, public_key_hash=key_hash, certificate=der, at=clock.now()
        ),
    )
    chain.record(
        session,
        f"tablet:{admission.name}",
        "identity.issue",
        _subject(admission.device_id, admission.ticket_id),
        {"sha256": hashlib.sha256(der).hexdigest(), "renewal": admission.renewal},
    )
    return der


def _remember(session: Session, before: ScepTransaction | None, now: ScepTransaction) -> None:
    if before is not None:
        before.certificate, before.at = now.certificate, now.at
    session.add(before or now)
    session.flush()


def _bearing(session: Session, challenge: str | None) -> Admission | FailInfo:
    """Spend the ticket whose secret is the challenge."""
    outcome = tickets.spend(session, Platform.APPLE, challenge or "")
    if isinstance(outcome, Admission):
        return outcome
    on_record(session, outcome)
    return _refused(outcome.reason, FailInfo.BAD_REQUEST)


def on_record(session: Session, refusal: Refusal) -> None:
    """Put the refusal of a ticket that we did open in the audit trail; strangers' guesses do not get to fill it."""
    if refusal.ticket_id is not None:
        _record(session, "tablet:unknown", refusal.device_id, refusal.ticket_id, refusal.reason)


def _renewing(session: Session, message: Message) -> Admission | FailInfo:
    """Admit the tablet whose live certificate signed the request; it needs no challenge."""
    moment: datetime = clock.now()
    try:
        verify_chain(message.signer.der, ca.trusted(session), at=moment)
    except Untrusted:
        return _refused("a renewal under a certificate that is not ours or not valid", FailInfo.BAD_CERTIFICATE)
    identity = identities.find(session, message.signer.thumbprint)
    if identity is None or identity.device_id is None or identity.associated_at is None:
        return _refused("a renewal of a certificate that no tablet uses", FailInfo.BAD_CERTIFICATE)
    device, enrollment = session.exec(
        select(Device, Enrollment)
        .join(Enrollment, col(Enrollment.device_id) == Device.id)
        .where(Device.id == identity.device_id)
    ).one()
    # A lost tablet may renew: its channel is what it is found by.
    reason = ""
    if identity.revoked_at is not None:
        reason = "the certificate is revoked"
    elif enrollment.status != EnrollmentStatus.ACTIVE:
        reason = "the tablet is not enrolled"
    elif device.state == LedgerState.RETIRED:
        reason = "the tablet is retired in the ledger"
    if reason:
        _record(session, f"tablet:{device.serial}", device.id, None, reason)
        return _refused(reason, FailInfo.BAD_CERTIFICATE)
    return Admission(name=device.serial, device_id=device.id, renewal=True)


def _record(session: Session, actor: str, device_id: int | None, ticket_id: UUID | None, reason: str) -> None:
    chain.record(session, actor, "identity.refuse", _subject(device_id, ticket_id), {"reason": reason})


def _subject(device_id: int | None, ticket_id: UUID | None) -> str:
    return f"device:{device_id}" if device_id is not None else f"ticket:{ticket_id}"


def _refused(reason: str, fail_info: FailInfo) -> FailInfo:
    _log.warning("scep_refused", reason=reason)
    return fail_info
