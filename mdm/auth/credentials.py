"""Sessions and API tokens: 256 random bits, shown once, kept as SHA-256. Never stores or logs a secret."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, or_
from sqlmodel import Session, col, select, update

from mdm import clock
from mdm.auth.models import Credential, Operator, OperatorSchool, Role
from mdm.auth.principal import CredentialKind, Principal, Scope
from mdm.errors import NotFound
from mdm.settings import get_settings

PREFIXES = {CredentialKind.SESSION: "tbs_", CredentialKind.TOKEN: "tbt_"}
"""So that a leaked secret is recognised by scanners and by people."""
LONGEST_TOKEN = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Issued:
    """A new credential; the only moment its secret exists outside its owner's hands."""

    secret: str
    key: str
    """How to name it later: the first 16 hexadecimal digits of its hash."""
    expires_at: datetime


def digest(secret: str) -> bytes:
    """Return the hash under which a secret is kept; plain SHA-256 suffices for 256 random bits."""
    return hashlib.sha256(secret.encode()).digest()


def _issue(session: Session, operator_id: int, kind: CredentialKind, *, label: str, lifetime: timedelta) -> Issued:
    secret = PREFIXES[kind] + secrets.token_urlsafe(32)
    row = Credential(
        secret_hash=digest(secret),
        operator_id=operator_id,
        kind=kind.value,
        label=label,
        created_at=clock.now(),
        expires_at=clock.now() + lifetime,
    )
    session.add(row)
    session.flush()
    return Issued(secret=secret, key=key_of(row.secret_hash), expires_at=row.expires_at)


def key_of(secret_hash: bytes) -> str:
    """Return the public name of a credential."""
    return secret_hash.hex()[:16]


def open_session(session: Session, operator_id: int) -> Issued:
    """Start a session of the length that the settings give."""
    lifetime = timedelta(hours=get_settings().session_hours)
    return _issue(session, operator_id, CredentialKind.SESSION, label="", lifetime=lifetime)


def create_token(session: Session, operator_id: int, *, label: str, lifetime: timedelta) -> Issued:
    """Make an API token with its owner's rights, for at most 90 days."""
    return _issue(session, operator_id, CredentialKind.TOKEN, label=label, lifetime=min(lifetime, LONGEST_TOKEN))


def authenticate(session: Session, secret: str) -> Principal | None:
    """Return who holds this session or token, or None when it is unknown, expired, revoked or its owner disabled."""
    statement = (
        select(Credential.kind, Operator)
        .join(Operator, col(Operator.id) == Credential.operator_id)
        .where(
            Credential.secret_hash == digest(secret),
            col(Credential.revoked_at).is_(None),
            col(Credential.expires_at) > func.now(),
            col(Operator.disabled_at).is_(None),
        )
    )
    found = session.exec(statement).first()
    if found is None:
        return None
    kind, operator = found
    return principal_of(session, operator, CredentialKind(kind))


def principal_of(session: Session, operator: Operator, kind: CredentialKind = CredentialKind.SESSION) -> Principal:
    """Return the principal of an operator with its scope as it stands now."""
    assert operator.id is not None
    schools: frozenset[int] = frozenset()
    if not operator.all_schools:
        query = select(OperatorSchool.school_id).where(OperatorSchool.operator_id == operator.id)
        schools = frozenset(session.exec(query))
    scope = Scope(all_schools=operator.all_schools, school_ids=schools)
    return Principal(id=operator.id, name=operator.name, role=Role(operator.role), scope=scope, credential=kind)


def live_tokens(session: Session, operator_id: int) -> list[Credential]:
    """List an operator's API tokens that still open something, oldest first."""
    statement = (
        select(Credential)
        .where(
            Credential.operator_id == operator_id,
            Credential.kind == CredentialKind.TOKEN.value,
            col(Credential.revoked_at).is_(None),
            col(Credential.expires_at) > func.now(),
        )
        .order_by(col(Credential.created_at), col(Credential.secret_hash))
    )
    return list(session.exec(statement))


def revoke(session: Session, secret: str) -> None:
    """End the session or token that this secret opens; ending it twice is harmless."""
    session.exec(
        update(Credential)
        .where(col(Credential.secret_hash) == digest(secret), col(Credential.revoked_at).is_(None))
        .values(revoked_at=func.now())
    )


def revoke_token(session: Session, operator_id: int, key: str) -> None:
    """End one of an operator's API tokens by its public name; `NotFound` when there is no such live token."""
    for token in live_tokens(session, operator_id):
        if key_of(token.secret_hash) == key:
            token.revoked_at = clock.now()
            session.add(token)
            return
    raise NotFound("there is no such token")


def revoke_all(session: Session, operator_id: int) -> None:
    """End every session and token of an operator: the password changed, or the account was disabled."""
    session.exec(
        update(Credential)
        .where(col(Credential.operator_id) == operator_id, col(Credential.revoked_at).is_(None))
        .values(revoked_at=func.now())
    )


def drop_dead(session: Session) -> int:
    """Delete credentials that ended more than a day ago and return how many; for the upkeep job."""
    before = clock.now() - timedelta(days=1)
    dead = session.exec(
        select(Credential).where(or_(col(Credential.expires_at) < before, col(Credential.revoked_at) < before))
    ).all()
    for row in dead:
        session.delete(row)
    return len(dead)
