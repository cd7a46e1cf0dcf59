"""From a name and a password to an operator, at a speed that makes guessing useless. Opens no session itself."""

from sqlmodel import Session, select

from mdm.auth.models import Operator
from mdm.auth.passwords import verify_password
from mdm.operators.throttle import Throttle

throttle = Throttle()
"""This process's; several web processes multiply its limits by their number."""


def check(session: Session, *, name: str, password: str, address: str) -> tuple[Operator | None, bool]:
    """Return the operator if name and password are right, and whether the name is known at all (for the record only).

    Unknown, disabled and wrong take the same time and look the same. Raises `TooManyAttempts`.
    """
    throttle.attempt(name, address)
    operator = session.exec(select(Operator).where(Operator.name == name)).first()
    right = verify_password(operator.password_hash if operator else None, password)
    if operator is None or not right or operator.disabled_at is not None:
        return None, operator is not None
    throttle.succeeded(name, address)
    return operator, True
