"""From an identity provider's word to an operator here: who it is, as what, over which schools. No network, no HTTP.

The provider is asked anew at each sign-in: what it no longer gives has ended then, with all that was open.
"""

import hashlib
import re
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session, select

from mdm import clock
from mdm.audit import chain
from mdm.auth import Role, Scope, credentials
from mdm.auth.entitlement import is_entitled
from mdm.auth.models import Operator
from mdm.auth.principal import Factor
from mdm.auth.rights import DUTIES
from mdm.errors import Forbidden, Invalid, MdmError, Misconfigured
from mdm.operators import accounts
from mdm.operators.models import Identity
from mdm.operators.oidc import Vouched
from mdm.settings import OidcSettings, get_settings

_ACTOR = "sso"
"""In the audit trail: whoever gives roles at the identity provider."""


class NoEntry(Forbidden):
    """The identity provider knows the person, and gives no place here."""

    slug = "no-entry"


@dataclass(frozen=True, slots=True)
class Arrival:
    """An operator who has signed in elsewhere, or why nobody came in."""

    operator: Operator | None
    factors: frozenset[Factor] = frozenset()
    refusal: MdmError | None = None


def receive(session: Session, vouched: Vouched) -> Arrival:
    """Return the operator behind an identity, made or brought up to date with what the provider says today.

    A refusal is returned, not raised: what it ended must stay ended.
    """
    # Two first sign-ins of one person at once: one makes the account, the other finds it.
    lock = text("SELECT pg_advisory_xact_lock(hashtextextended(:who, 7))")
    session.execute(lock, {"who": f"{vouched.issuer} {vouched.subject}"})
    identity = session.get(Identity, (vouched.issuer, vouched.subject))
    operator = None if identity is None else session.get_one(Operator, identity.operator_id, with_for_update=True)
    try:
        role, scope = _given(session, vouched)
    except NoEntry as refusal:
        if operator is not None:
            assert operator.id is not None
            ended = credentials.revoke_all(session, operator.id)
            chain.record(session, _ACTOR, "operator.lost_role", f"operator:{operator.name}", {"ended": ended})
        return Arrival(None, refusal=refusal)
    if operator is None:
        operator = _arrive(session, vouched, role, scope)
    elif operator.id is None or not is_entitled(session, operator.id):
        chain.record(session, _ACTOR, "session.refuse", f"operator:{operator.name}")
        return Arrival(None, refusal=NoEntry("this account is disabled here, or its contract has ended"))
    else:
        assert identity is not None
        identity.signed_in_at = clock.now()
        accounts.follow(session, _ACTOR, operator, role=role, scope=scope)
    factors = {Factor.SSO} | ({Factor.SSO_MFA} if vouched.asked_for_two else set())
    return Arrival(operator, frozenset(factors))


def find(session: Session, vouched: Vouched) -> int | None:
    """Return whose identity this is, or None."""
    statement = select(Identity.operator_id).where(
        Identity.issuer == vouched.issuer, Identity.subject == vouched.subject
    )
    return session.exec(statement).first()


def _given(session: Session, vouched: Vouched) -> tuple[Role, Scope]:
    """Return role and scope by the provider's values; `NoEntry` unless there is just one role, and some school."""
    ours = get_settings().oidc
    roles = {role for value, role in _roles(ours).items() if value in vouched.values}
    if len(roles) != 1:
        many = "more than one role" if roles else "no role"
        raise NoEntry(f"the identity provider gives you {many} here; whoever runs it must give you one")
    if roles & DUTIES:
        # What comes by the provider counts as the board's own; a contractor's person is registered as a handler here.
        raise NoEntry("a contractor's duty is given by registering a handler here, not by the identity provider")
    codes = {value.removeprefix(ours.school_prefix) for value in vouched.values if value.startswith(ours.school_prefix)}
    try:
        scope = accounts.scope_of_codes(
            session, sorted(codes), all_schools="*" in codes, within=Scope(all_schools=True)
        )
    except Invalid:
        raise NoEntry("the identity provider names no school for you, or one that is not known here") from None
    return roles.pop(), scope


def _roles(ours: OidcSettings) -> dict[str, Role]:
    try:
        return {value: Role(name) for value, name in ours.roles.items()}
    except ValueError:
        raise Misconfigured("setting oidc.roles: names a role that there is not") from None


def _arrive(session: Session, vouched: Vouched, role: Role, scope: Scope) -> Operator:
    operator = accounts.add(session, _ACTOR, name=_name(session, vouched), password=None, role=role, scope=scope)
    assert operator.id is not None
    session.add(
        Identity(issuer=vouched.issuer, subject=vouched.subject, operator_id=operator.id, signed_in_at=clock.now())
    )
    session.flush()
    return operator


def _name(session: Session, vouched: Vouched) -> str:
    """Return a free name that people recognise; it identifies nobody, and is never matched with an account."""
    wanted = re.sub(r"[^a-z0-9._-]", "", vouched.preferred_name.partition("@")[0].lower()).lstrip("._-")[:48]
    mark = hashlib.sha256(f"{vouched.issuer} {vouched.subject}".encode()).hexdigest()[:8]
    taken = len(wanted) < 2 or session.exec(select(Operator.id).where(Operator.name == wanted)).first() is not None
    return f"{wanted or 'sso'}-{mark}" if taken else wanted
