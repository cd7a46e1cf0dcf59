"""Codes of an app that shows a new one each 30 seconds (RFC 6238: SHA-1, 6 digits, as every app knows it). No HTTP."""

import base64
import hmac
import os
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from sqlmodel import Session, col, delete, select

from mdm import clock, vault
from mdm.errors import Conflict
from mdm.operators.models import Totp
from mdm.settings import get_settings

_PURPOSE: Final = "operator.totp"
_STEP_S: Final = 30
_DIGITS: Final = 6
_WINDOW: Final = 1
"""Steps before and after the present one, for clocks that differ."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an app needs; the only moment the secret is shown."""

    secret: str
    """Base32, to type."""
    uri: str
    """`otpauth://`, to scan."""


def enrol(session: Session, operator_id: int, name: str) -> Enrolment:
    """Give an operator's app a secret; it opens nothing before `confirm`. `Conflict` if one is confirmed already."""
    present = session.get(Totp, operator_id, with_for_update=True)
    if present is not None and present.confirmed_at is not None:
        raise Conflict("an app is set up already; remove it first")
    if present is not None:
        session.delete(present)
        session.flush()
    secret = os.urandom(20)
    session.add(Totp(operator_id=operator_id, secret_sealed=vault.seal(_PURPOSE, secret), created_at=clock.now()))
    session.flush()
    uri = _codes(secret).get_provisioning_uri(name, get_settings().organization)
    return Enrolment(secret=base64.b32encode(secret).decode().rstrip("="), uri=uri)


def confirm(session: Session, operator_id: int, code: str) -> bool:
    """Take the app's first code, which shows that it has the secret; False for a wrong one."""
    row = session.get(Totp, operator_id, with_for_update=True)
    if row is None or row.confirmed_at is not None:
        raise Conflict("there is no app to confirm; begin with its secret")
    if not _take(session, row, code):
        return False
    row.confirmed_at = clock.now()
    return True


def accept(session: Session, operator_id: int, code: str) -> bool:
    """Say whether this is a right code that has not been used; from now on it, and every older one, has been."""
    row = session.exec(select(Totp).where(Totp.operator_id == operator_id).with_for_update()).first()
    return row is not None and row.confirmed_at is not None and _take(session, row, code)


def is_set_up(session: Session, operator_id: int) -> bool:
    """Say whether an operator has a confirmed app."""
    statement = select(Totp.operator_id).where(Totp.operator_id == operator_id, col(Totp.confirmed_at).is_not(None))
    return session.exec(statement).first() is not None


def remove(session: Session, operator_id: int) -> bool:
    """Forget an operator's app and say whether there was one."""
    return session.exec(delete(Totp).where(col(Totp.operator_id) == operator_id)).rowcount > 0


def _codes(secret: bytes) -> TOTP:
    return TOTP(secret, _DIGITS, SHA1(), _STEP_S)  # noqa: S303 - what RFC 6238's apps compute; HMAC is sound with it


def _take(session: Session, row: Totp, code: str) -> bool:
    codes = _codes(vault.unseal(_PURPOSE, row.secret_sealed))
    given = code.strip().encode()
    present = int(clock.now().timestamp()) // _STEP_S
    for step in range(present - _WINDOW, present + _WINDOW + 1):
        right = hmac.compare_digest(codes.generate(step * _STEP_S), given)
        if right and step > row.last_step:
            row.last_step = step
            session.add(row)
            session.flush()
            return True
    return False
