"""Recovery codes: the way in for who has lost the second factor. Shown once, kept as hashes, each good once."""

import hashlib
import secrets
from typing import Final

from sqlalchemy import func
from sqlmodel import Session, col, delete, select, update

from mdm import clock
from mdm.operators.models import RecoveryCode

HOW_MANY: Final = 10
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like something else
_LENGTH: Final = 16  # about 79 bits: a plain hash will do


def issue(session: Session, operator_id: int) -> list[str]:
    """Return ten new codes; the former ones are void."""
    forget(session, operator_id)
    codes = ["".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH)) for _ in range(HOW_MANY)]
    session.add_all(
        RecoveryCode(code_hash=_hash(operator_id, code), operator_id=operator_id, created_at=clock.now())
        for code in codes
    )
    session.flush()
    return ["-".join(code[start : start + 4] for start in range(0, _LENGTH, 4)) for code in codes]


def spend(session: Session, operator_id: int, code: str) -> bool:
    """Say whether this is one of the operator's codes that nobody has used; now somebody has."""
    spent = session.exec(
        update(RecoveryCode)
        .where(col(RecoveryCode.code_hash) == _hash(operator_id, code), col(RecoveryCode.used_at).is_(None))
        .values(used_at=func.now())
    )
    return spent.rowcount == 1


def left(session: Session, operator_id: int) -> int:
    """Count the codes that are still good."""
    statement = select(func.count()).where(RecoveryCode.operator_id == operator_id, col(RecoveryCode.used_at).is_(None))
    return session.exec(statement).one()


def forget(session: Session, operator_id: int) -> None:
    """Void all codes of an operator."""
    session.exec(delete(RecoveryCode).where(col(RecoveryCode.operator_id) == operator_id))


def _hash(operator_id: int, code: str) -> bytes:
    plain = "".join(letter for letter in code.lower() if letter in _ALPHABET)
    return hashlib.sha256(f"{operator_id}:{plain}".encode()).digest()
