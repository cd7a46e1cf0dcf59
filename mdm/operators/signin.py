"""From what a person knows and holds to an operator, at a speed that makes guessing useless. Opens no session."""

from dataclasses import dataclass

from sqlmodel import Session, select

from mdm.auth.entitlement import is_entitled
from mdm.auth.models import Operator
from mdm.auth.passwords import verify_password
from mdm.auth.principal import Factor
from mdm.auth.webauthn import NotProved
from mdm.errors import MdmError, Unauthenticated
from mdm.operators import factors, passkeys
from mdm.operators.ceremonies import Lapsed
from mdm.operators.factors import Second
from mdm.operators.throttle import Throttle

throttle = Throttle("password")
start_throttle = Throttle("start", per_name_and_address=120, per_address=120, per_name=10_000)
"""For what strangers may begin: each leaves a row for ten minutes."""


class SecondFactorNeeded(Unauthenticated):
    """The password is right, and the account has a second factor."""

    slug = "second-factor-needed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Who signed in by what, or why not."""

    operator: Operator | None = None
    factors: frozenset[Factor] = frozenset()
    refusal: MdmError | None = None
    known: str | None = None
    """The name of a refused account that exists: for the record only."""


def check(session: Session, *, name: str, password: str, address: str) -> tuple[Operator | None, bool]:
    """Return the operator if name and password are right, and whether the name is known at all (for the record only).

    Unknown, disabled, no longer entitled and wrong take the same time and look the same. Raises `TooManyAttempts`.
    Counts as a guess until `throttle.succeeded`.
    """
    throttle.attempt(name, address)
    operator = session.exec(select(Operator).where(Operator.name == name)).first()
    right = verify_password(operator.password_hash if operator else None, password)
    if operator is None or not right or operator.id is None or not is_entitled(session, operator.id):
        return None, operator is not None
    return operator, True


def by_password(session: Session, *, name: str, password: str, second: Second, address: str) -> Outcome:
    """Return who signs in with a password and, where one is set up, a second factor."""
    operator, known = check(session, name=name, password=password, address=address)
    wrong = Unauthenticated("name or password is wrong")
    if operator is None:
        return Outcome(refusal=wrong, known=name if known else None)
    assert operator.id is not None
    proved = {Factor.PASSWORD}
    if factors.is_set_up(session, operator.id):
        if not second.is_given:
            return Outcome(refusal=SecondFactorNeeded("this account needs a code of its app or a security key, too"))
        factor = factors.prove(session, operator, second, address=address)
        if factor is None:
            return Outcome(refusal=SecondFactorNeeded("the second factor is wrong or used"), known=name)
        proved.add(factor)
    throttle.succeeded(name, address)
    return Outcome(operator=operator, factors=frozenset(proved))


def by_passkey(session: Session, answer: passkeys.Answer, *, address: str) -> Outcome:
    """Return who signs in with a passkey alone: it must have checked its holder, so that it is two factors in one."""
    name = f"key {answer.credential_id.hex()[:64]}"
    throttle.attempt(name, address)
    try:
        whose, factor = passkeys.believe(session, answer, require_uv=True)
    except (NotProved, Lapsed):
        return Outcome(refusal=Unauthenticated("this key opens nothing here"))
    throttle.succeeded(name, address)
    operator = session.get_one(Operator, whose)
    if not is_entitled(session, whose):
        return Outcome(refusal=Unauthenticated("this key opens nothing here"), known=operator.name)
    return Outcome(operator=operator, factors=frozenset({factor}))


def again(
    session: Session, operator: Operator, *, password: str | None, second: Second, address: str
) -> frozenset[Factor] | None:
    """Return what a signed-in person has proved anew, or None if that is not enough.

    A passkey that checked its holder is; else the password (if there is one) and the second factor (if there is one).
    """
    assert operator.id is not None
    proved: set[Factor] = set()
    if password is not None:
        right, _ = check(session, name=operator.name, password=password, address=address)
        if right is None:
            return None
        proved.add(Factor.PASSWORD)
    if second.is_given:
        factor = factors.prove(session, operator, second, address=address)
        if factor is None:
            return None
        proved.add(factor)
    has_password = bool(operator.password_hash)
    lacks_password = has_password and Factor.PASSWORD not in proved
    lacks_second = factors.is_set_up(session, operator.id) and not proved - {Factor.PASSWORD}
    if not proved or (Factor.PASSKEY not in proved and (lacks_password or lacks_second)):
        return None
    if password is not None:
        throttle.succeeded(operator.name, address)
    return frozenset(proved)
