"""Sessions and API tokens: 256 random bits, shown once, kept as SHA-256. Never stores or logs a secret."""

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from sqlalchemy import ColumnElement, Integer, func, literal_column, or_
from sqlmodel import Session, col, select, update

from mdm import clock
from mdm.auth.entitlement import entitled, tier_of
from mdm.auth.models import Credential, Operator, OperatorSchool, Role
from mdm.auth.principal import (
    FRESH_FOR_A,
    FRESH_FOR_BULK,
    CredentialKind,
    Factor,
    Principal,
    Scope,
    are_two,
    needs_two,
)
from mdm.auth.rights import Action
from mdm.errors import NotFound
from mdm.settings import get_settings

PREFIXES = {CredentialKind.SESSION: "tbs_", CredentialKind.TOKEN: "tbt_"}
"""So that a leaked secret is recognised by scanners and by people."""
LONGEST_TOKEN = timedelta(days=90)
_NOTED_EVERY: Final = timedelta(minutes=1)
_ACTIONS: Final = frozenset(Action)


def _minutes(name: str, first: int) -> ColumnElement[int]:
    newest = f"SELECT value FROM safeguard_threshold WHERE name = '{name}' ORDER BY id DESC LIMIT 1"
    return literal_column(f"coalesce(({newest}), {first})", Integer)


_FOR_A: Final = _minutes("step_up.a_minutes", FRESH_FOR_A)
_FOR_BULK: Final = _minutes("step_up.b_minutes", FRESH_FOR_BULK)
"""Thresholds of `mdm.safeguards`, a storey above: read by name with the credential, in the same query."""


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


def _issue(session: Session, row: Credential, kind: CredentialKind) -> Issued:
    secret = PREFIXES[kind] + secrets.token_urlsafe(32)
    row.secret_hash = digest(secret)
    session.add(row)
    session.flush()
    return Issued(secret=secret, key=key_of(row.secret_hash), expires_at=row.expires_at)


def key_of(secret_hash: bytes) -> str:
    """Return the public name of a credential."""
    return secret_hash.hex()[:16]


def open_session(
    session: Session,
    operator_id: int,
    *,
    factors: Collection[Factor] = (Factor.HOST,),
    proved_at: datetime | Literal["now"] | None = "now",
    address: str = "",
) -> Issued:
    """Start a session of the length that the settings give; without `factors` the host vouches for who opens it.

    `proved_at` is None where the proof was given elsewhere and nobody said when.
    """
    row = Credential(
        secret_hash=b"",
        created_at=clock.now(),
        operator_id=operator_id,
        kind=CredentialKind.SESSION.value,
        expires_at=clock.now() + timedelta(hours=get_settings().session_hours),
        used_at=clock.now(),
        proved_at=clock.now() if proved_at == "now" else proved_at,
        factors=sorted(factors),
        address=address[:64],
    )
    return _issue(session, row, CredentialKind.SESSION)


def renew_session(session: Session, secret: str, factors: Collection[Factor]) -> Issued:
    """Put a new session in the place of one whose person has just proved to be there, with the same end.

    Whoever had copied the old secret is left outside, instead of being let in further.
    """
    return renew(session, digest(secret), factors)


def renew(session: Session, secret_hash: bytes, factors: Collection[Factor]) -> Issued:
    """The same by the hash of the secret, where the person proved it elsewhere; `NotFound` if it has ended."""
    statement = select(Credential).where(
        Credential.secret_hash == secret_hash,
        Credential.kind == CredentialKind.SESSION.value,
        col(Credential.revoked_at).is_(None),
        col(Credential.expires_at) > func.now(),
    )
    former = session.exec(statement.with_for_update()).first()
    if former is None:
        raise NotFound("there is no such session")
    former.revoked_at = clock.now()
    session.add(former)
    row = Credential(
        secret_hash=b"",
        created_at=clock.now(),
        operator_id=former.operator_id,
        kind=former.kind,
        expires_at=former.expires_at,
        used_at=clock.now(),
        proved_at=clock.now(),
        factors=sorted({*former.factors, *factors}),
        address=former.address,
    )
    return _issue(session, row, CredentialKind.SESSION)


def create_token(
    session: Session,
    operator_id: int,
    *,
    label: str,
    lifetime: timedelta,
    actions: Collection[Action] | None = None,
    school_ids: Collection[int] | None = None,
) -> Issued:
    """Make an API token for at most 90 days, with its owner's rights or those of them that are named."""
    row = Credential(
        secret_hash=b"",
        created_at=clock.now(),
        operator_id=operator_id,
        kind=CredentialKind.TOKEN.value,
        label=label,
        expires_at=clock.now() + min(lifetime, LONGEST_TOKEN),
        actions=None if actions is None else sorted(actions),
        school_ids=None if school_ids is None else sorted(school_ids),
    )
    return _issue(session, row, CredentialKind.TOKEN)


def authenticate(session: Session, secret: str) -> Principal | None:
    """Return who holds this session or token, or None when it is unknown, over, unused for too long or its owner out.

    Its owner is out when disabled, and from the day on which its handler or its contract is over.

    A session's use is noted once a minute.
    """
    idle_since = clock.now() - timedelta(minutes=get_settings().session_idle_minutes)
    statement = (
        select(Credential, Operator, _FOR_A, _FOR_BULK)
        .join(Operator, col(Operator.id) == Credential.operator_id)
        .where(
            Credential.secret_hash == digest(secret),
            col(Credential.revoked_at).is_(None),
            col(Credential.expires_at) > func.now(),
            or_(
                col(Credential.kind) == CredentialKind.TOKEN.value,
                func.coalesce(Credential.used_at, Credential.created_at) > idle_since,
            ),
            col(Operator.disabled_at).is_(None),
            entitled(),
        )
    )
    found = session.exec(statement).first()
    if found is None:
        return None
    row, operator, minutes_for_a, minutes_for_bulk = found
    if row.used_at is None or row.used_at < clock.now() - _NOTED_EVERY:
        _note_use(session, row.secret_hash)
    principal = principal_of(session, operator, row)
    return replace(principal, minutes_for_a=minutes_for_a, minutes_for_bulk=minutes_for_bulk)


def _note_use(session: Session, secret_hash: bytes) -> None:
    # A long request of the same session may hold the row: then that one has noted it already.
    free = select(Credential.secret_hash).where(Credential.secret_hash == secret_hash).with_for_update(skip_locked=True)
    session.exec(
        update(Credential)
        .where(col(Credential.secret_hash).in_(free))
        .values(used_at=clock.now())
        .execution_options(synchronize_session=False)
    )


def principal_of(session: Session, operator: Operator, row: Credential | None = None) -> Principal:
    """Return the principal of an operator with its scope as it stands now, within the bounds of a credential."""
    assert operator.id is not None
    schools: frozenset[int] = frozenset()
    if not operator.all_schools:
        query = select(OperatorSchool.school_id).where(OperatorSchool.operator_id == operator.id)
        schools = frozenset(session.exec(query))
    role, scope = Role(operator.role), Scope(all_schools=operator.all_schools, school_ids=schools)
    organization_id, tier = operator.organization_id, tier_of(session, operator.organization_id)
    if row is None:
        return Principal(
            id=operator.id, name=operator.name, role=role, scope=scope, organization_id=organization_id, tier=tier
        )
    kind = CredentialKind(row.kind)
    factors = frozenset(Factor(each) for each in row.factors)
    lacks = kind is CredentialKind.SESSION and must_show_two(operator) and not are_two(factors)
    return Principal(
        id=operator.id,
        name=operator.name,
        role=role,
        scope=scope if row.school_ids is None else scope.only(frozenset(row.school_ids)),
        credential=kind,
        key=key_of(row.secret_hash),
        proved_at=row.proved_at,
        factors=factors,
        second_factor_missing=lacks,
        organization_id=organization_id,
        tier=tier,
        actions=None if row.actions is None else frozenset(Action(each) for each in row.actions if each in _ACTIONS),
    )


def must_show_two(operator: Operator) -> bool:
    """Say whether one factor is not enough for this operator to do more than set up the second."""
    wanted = get_settings().second_factor
    needed = wanted == "everyone" or (wanted == "required" and needs_two(Role(operator.role)))
    return needed and not operator.second_factor_waived


def live(session: Session, operator_id: int, kind: CredentialKind) -> list[Credential]:
    """List an operator's sessions or API tokens that still open something, oldest first."""
    idle_since = clock.now() - timedelta(minutes=get_settings().session_idle_minutes)
    statement = (
        select(Credential)
        .where(
            Credential.operator_id == operator_id,
            Credential.kind == kind.value,
            col(Credential.revoked_at).is_(None),
            col(Credential.expires_at) > func.now(),
        )
        .order_by(col(Credential.created_at), col(Credential.secret_hash))
    )
    if kind is CredentialKind.SESSION:
        statement = statement.where(func.coalesce(Credential.used_at, Credential.created_at) > idle_since)
    return list(session.exec(statement))


def revoke(session: Session, secret: str) -> None:
    """End the session or token that this secret opens; ending it twice is harmless."""
    session.exec(
        update(Credential)
        .where(col(Credential.secret_hash) == digest(secret), col(Credential.revoked_at).is_(None))
        .values(revoked_at=func.now())
    )


def revoke_one(session: Session, operator_id: int, kind: CredentialKind, key: str) -> None:
    """End one of an operator's sessions or tokens by its public name; `NotFound` when there is no such live one."""
    for row in live(session, operator_id, kind):
        if key_of(row.secret_hash) == key:
            row.revoked_at = clock.now()
            session.add(row)
            return
    raise NotFound(f"there is no such {kind.value}")


def revoke_all(session: Session, operator_id: int, kind: CredentialKind | None = None) -> int:
    """End every session and token of an operator (or those of one kind) and return how many."""
    statement = (
        update(Credential)
        .where(col(Credential.operator_id) == operator_id, col(Credential.revoked_at).is_(None))
        .values(revoked_at=func.now())
    )
    if kind is not None:
        statement = statement.where(col(Credential.kind) == kind.value)
    return session.exec(statement).rowcount


def drop_dead(session: Session) -> int:
    """Delete credentials that ended more than a day ago and return how many; for the upkeep job."""
    before = clock.now() - timedelta(days=1)
    dead = session.exec(
        select(Credential).where(or_(col(Credential.expires_at) < before, col(Credential.revoked_at) < before))
    ).all()
    for row in dead:
        session.delete(row)
    return len(dead)
