"""Passwords: argon2id with the library's own parameters. Never keeps, logs or compares a password itself."""

import threading
import unicodedata
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from mdm.errors import Invalid

SHORTEST = 12
LONGEST = 128
_hasher = PasswordHasher()
_at_once = threading.BoundedSemaphore(2)
"""Each hash takes 64 MiB and some 50 ms of every core: a crowd at the door must queue, not fill the memory."""


@lru_cache(maxsize=1)
def _nobody() -> str:
    return _hasher.hash("the hash that unknown names are compared with")


def _normal(password: str) -> str:
    # Two keyboards may spell the same character differently.
    return unicodedata.normalize("NFKC", password)


def hash_password(password: str, *, name: str) -> str:
    """Return the argon2id hash of an acceptable password; `Invalid` when it is too short, too long or the name."""
    normal = _normal(password)
    if not SHORTEST <= len(normal) <= LONGEST:
        detail = f"must have {SHORTEST} to {LONGEST} characters"
    elif name.casefold() in normal.casefold() or len(set(normal)) < 5:
        detail = "is too easy to guess"
    else:
        with _at_once:
            return _hasher.hash(normal)
    raise Invalid(f"the password {detail}", errors=[{"pointer": "/password", "detail": detail}])


def verify_password(password_hash: str | None, password: str) -> bool:
    """Compare a password with a hash; no hash (no such operator, or one without) takes as long and is never right."""
    with _at_once:
        try:
            _hasher.verify(password_hash or _nobody(), _normal(password[: LONGEST * 4]))
        except (VerificationError, InvalidHashError):
            return False
    return bool(password_hash)
