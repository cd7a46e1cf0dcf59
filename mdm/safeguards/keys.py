"""Keys of approvers: people register and revoke their own, the host pins them. Makes no key and sees no private half.

A key that a stolen session registered counts for nothing: only pinned ones do, and no process that serves the net may
pin (the database refuses it). Whoever pins compares the fingerprint with the person's own screen.
"""

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from mdm import clock
from mdm.audit import chain
from mdm.auth import Principal
from mdm.auth.models import Operator
from mdm.auth.rights import Action
from mdm.auth.webauthn import relying_party, verify_registration
from mdm.errors import Conflict, Forbidden, NotFound
from mdm.safeguards import signing
from mdm.safeguards.models import ApproverKey, KeyKind

MOST = 5
"""Live keys of one person."""


class NotPinned(Forbidden):
    """The key is not one that the host has pinned for this person."""

    slug = "key-not-pinned"


def register_software(
    session: Session, principal: Principal, *, label: str, public_key: bytes, signature: str
) -> ApproverKey:
    """Add a key of the command line, which signed its own registration. `NotProved` if it did not."""
    key = signing.Key(KeyKind.SOFTWARE, public_key)
    signed = signing.registration_challenge(principal.name, label=label, public_key=public_key)
    signing.verify(key, signed, signing.Signature(signature))
    new = ApproverKey(
        operator_id=principal.id, kind=KeyKind.SOFTWARE, public_key=public_key, label=label, added_at=clock.now()
    )
    return _add(session, principal, new)


def register_webauthn(
    session: Session, principal: Principal, *, label: str, client_data: bytes, attestation: bytes
) -> ApproverKey:
    """Add a security key that answered its registration, with its holder verified. `NotProved` otherwise."""
    rp_id, origin = relying_party()
    found = verify_registration(
        challenge=signing.registration_challenge(principal.name, label=label),
        client_data_json=client_data,
        attestation_object=attestation,
        rp_id=rp_id,
        origin=origin,
        require_uv=True,
    )
    new = ApproverKey(
        operator_id=principal.id,
        kind=KeyKind.WEBAUTHN,
        public_key=found.public_key,
        credential_id=found.credential_id,
        sign_count=found.sign_count,
        label=label,
        added_at=clock.now(),
    )
    return _add(session, principal, new)


def _add(session: Session, principal: Principal, key: ApproverKey) -> ApproverKey:
    principal.must(Action.APPROVE)
    if len([each for each in of_operator(session, principal.id) if each.revoked_at is None]) >= MOST:
        raise Conflict(f"you have {MOST} keys; revoke one first")
    try:
        with session.begin_nested():
            session.add(key)
    except IntegrityError:
        raise Conflict("this key is registered already") from None
    session.refresh(key)
    details = {"kind": key.kind, "fingerprint": signing.fingerprint(key.public_key), "label": key.label}
    chain.record(session, principal, "key.register", f"key:{key.id}", details)
    return key


def of_operator(session: Session, operator_id: int) -> list[ApproverKey]:
    """List a person's keys, oldest first, revoked ones too."""
    statement = select(ApproverKey).where(ApproverKey.operator_id == operator_id).order_by(col(ApproverKey.id))
    return list(session.exec(statement))


def revoke(session: Session, principal: Principal, key_id: int) -> None:
    """End one of one's own keys for good; twice is harmless."""
    _revoke(session, principal, _one(session, key_id, operator_id=principal.id))


def _revoke(session: Session, actor: Principal | str, key: ApproverKey) -> None:
    if key.revoked_at is not None:
        return
    key.revoked_at = clock.now()
    session.add(key)
    chain.record(session, actor, "key.revoke", f"key:{key.id}", {"operator": key.operator_id})


def usable(session: Session, operator_id: int, key_id: int) -> ApproverKey:
    """Return a key that may sign for this person, locked against a second use at the same time; else `NotPinned`."""
    key = session.get(ApproverKey, key_id, with_for_update=True, populate_existing=True)
    if key is None or key.operator_id != operator_id:
        raise NotPinned("you have no such key")
    if key.revoked_at is not None:
        raise NotPinned("this key is revoked")
    if key.pinned_at is None:
        raise NotPinned("this key is not pinned yet: whoever runs the host does it, with `tabane key pin`")
    return key


def waiting(session: Session) -> list[tuple[ApproverKey, Operator]]:
    """List the live keys that are not pinned, with whose they are; for the host."""
    statement = (
        select(ApproverKey, Operator)
        .join(Operator, col(Operator.id) == ApproverKey.operator_id)
        .where(
            col(ApproverKey.pinned_at).is_(None),
            col(ApproverKey.revoked_at).is_(None),
            col(Operator.disabled_at).is_(None),
        )
        .order_by(col(ApproverKey.id))
    )
    return [(key, holder) for key, holder in session.exec(statement)]


def pin(session: Session, fingerprint: str) -> str:
    """Let the key with this fingerprint count, and return whose it is. Only the database's owner can; for the host."""
    for key, holder in waiting(session):
        if signing.fingerprint(key.public_key) == fingerprint:
            key.pinned_at = clock.now()
            session.add(key)
            details = {"operator": holder.name, "fingerprint": fingerprint}
            chain.record(session, "host", "key.pin", f"key:{key.id}", details)
            return holder.name
    raise NotFound(f"no key waits to be pinned under {fingerprint}")


def revoke_by_host(session: Session, fingerprint: str) -> None:
    """End anybody's key: its holder has left, or lost it."""
    for key in session.exec(select(ApproverKey).where(col(ApproverKey.revoked_at).is_(None))):
        if signing.fingerprint(key.public_key) == fingerprint:
            _revoke(session, "host", key)
            return
    raise NotFound(f"there is no live key {fingerprint}")


def _one(session: Session, key_id: int, *, operator_id: int) -> ApproverKey:
    key = session.get(ApproverKey, key_id)
    if key is None or key.operator_id != operator_id:
        raise NotFound("you have no such key")
    return key
