"""An operator's second factors together: what is set up, what a proof proves, adding and removing. No HTTP."""

from dataclasses import dataclass

from sqlmodel import Session

from mdm import clock
from mdm.audit import chain
from mdm.auth import Principal, credentials
from mdm.auth.models import Operator
from mdm.auth.principal import Factor, StepUpRequired, are_two
from mdm.auth.webauthn import NotProved
from mdm.errors import Conflict
from mdm.operators import passkeys, recovery, throttle, totp
from mdm.operators.ceremonies import Lapsed

code_throttle = throttle.Throttle("code", per_name=10)
"""Whoever gets this far has the password, so that a low limit by name locks nobody out for strangers."""


@dataclass(frozen=True, slots=True)
class Second:
    """What is given beside a password: a code of the app, a recovery code, or a security key's answer."""

    code: str | None = None
    key: passkeys.Answer | None = None

    @property
    def is_given(self) -> bool:
        """Whether anything was given at all."""
        return self.code is not None or self.key is not None


def is_set_up(session: Session, operator_id: int) -> bool:
    """Say whether an operator has a second factor."""
    return totp.is_set_up(session, operator_id) or bool(passkeys.of(session, operator_id))


def prove(session: Session, operator: Operator, second: Second, *, address: str) -> Factor | None:
    """Return what was proved, or None; counts as a guess unless it is right. Raises `TooManyAttempts`."""
    assert operator.id is not None
    code_throttle.attempt(operator.name, address)
    proved = _proved(session, operator.id, second)
    if proved is not None:
        code_throttle.succeeded(operator.name, address)
    if proved is Factor.RECOVERY:
        left = recovery.left(session, operator.id)
        chain.record(session, f"operator:{operator.name}", "recovery.use", f"operator:{operator.name}", {"left": left})
    return proved


def _proved(session: Session, operator_id: int, second: Second) -> Factor | None:
    if second.key is not None:
        try:
            whose, factor = passkeys.believe(session, second.key)
        except (NotProved, Lapsed):
            return None
        return factor if whose == operator_id else None
    if second.code is None:
        return None
    if totp.accept(session, operator_id, second.code):
        return Factor.TOTP
    return Factor.RECOVERY if recovery.spend(session, operator_id, second.code) else None


def must_be_allowed_to_change(session: Session, principal: Principal) -> Operator:
    """Return the principal's own account if its factors may change now: by its person, just proved, by all it has.

    A stolen session adds no key of the thief's once its proof is a few minutes old.
    """
    principal.must_be_fresh(principal.minutes_for_a)
    if is_set_up(session, principal.id) and not are_two(principal.factors):
        raise StepUpRequired("prove with the second factor that you have before you change it")
    return session.get_one(Operator, principal.id, with_for_update=True)


def added(session: Session, principal: Principal, operator: Operator, factor: Factor) -> list[str] | None:
    """Note a new factor; return recovery codes if it is the first one. The founder's grace ends with it."""
    details = {"factor": factor.value, "grace_ended": operator.second_factor_waived}
    operator.second_factor_waived = False
    session.add(operator)
    assert operator.id is not None
    codes = None if recovery.left(session, operator.id) else recovery.issue(session, operator.id)
    chain.record(session, principal, "factor.add", principal.actor, details)
    return codes


def removed(session: Session, principal: Principal, operator: Operator, what: str) -> None:
    """Note a removal; `Conflict` if the role needs a second factor and this was the last."""
    assert operator.id is not None
    if not is_set_up(session, operator.id):
        if credentials.must_show_two(operator):
            raise Conflict("this is the last second factor, and your role needs one; set up another first")
        recovery.forget(session, operator.id)
    chain.record(session, principal, "factor.remove", principal.actor, {"factor": what})


def reset(session: Session, actor: Principal | str, operator: Operator) -> None:
    """Forget all second factors of an operator who has lost them, and end what was open; who may is the caller's."""
    assert operator.id is not None
    totp.remove(session, operator.id)
    passkeys.remove_all(session, operator.id)
    recovery.forget(session, operator.id)
    credentials.revoke_all(session, operator.id)
    operator.elevated_at = clock.now()  # whoever asked for it could be whoever sets the next one up
    session.add(operator)
    chain.record(session, actor, "factor.reset", f"operator:{operator.name}")
