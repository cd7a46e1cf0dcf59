"""What begins in one request and ends once in another: challenges, ways to the identity provider. Proves nothing.

Who holds the handle may end it, within minutes; what it remembers is sealed, and the row goes with its use.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, delete

from mdm import clock, vault
from mdm.auth.credentials import digest
from mdm.errors import Forbidden
from mdm.operators.models import Ceremony

LIFETIME = timedelta(minutes=10)


class Kind(StrEnum):
    """What is under way."""

    NEW_KEY = "new_key"
    """A security key is being registered."""
    ASK_KEY = "ask_key"
    """A security key is asked to sign."""
    SSO = "sso"
    """A browser is at the identity provider."""
    HANDOFF = "handoff"
    """A browser has signed in for a program on the same machine."""


class Lapsed(Forbidden):
    """It was not begun here, took too long, or has ended already."""

    slug = "lapsed"


@dataclass(frozen=True, slots=True)
class Ended:
    """What a ceremony remembered."""

    operator_id: int | None
    content: dict[str, Any]


def begin(session: Session, kind: Kind, content: Mapping[str, Any], *, operator_id: int | None = None) -> str:
    """Remember something for ten minutes and return the handle by which it is ended, once."""
    handle = secrets.token_urlsafe(32)
    sealed = vault.seal(f"ceremony.{kind.value}", json.dumps(dict(content)).encode())
    row = Ceremony(
        handle_hash=digest(handle),
        kind=kind.value,
        operator_id=operator_id,
        content_sealed=sealed,
        expires_at=clock.now() + LIFETIME,
    )
    session.add(row)
    session.flush()
    return handle


def end(session: Session, kind: Kind, handle: str) -> Ended:
    """Return what was remembered, for the last time; `Lapsed` if there is nothing of that kind under this handle."""
    ended = session.exec(
        delete(Ceremony)
        .where(
            col(Ceremony.handle_hash) == digest(handle),
            col(Ceremony.kind) == kind.value,
            col(Ceremony.expires_at) > func.now(),
        )
        .returning(col(Ceremony.operator_id), col(Ceremony.content_sealed))
    ).first()
    if ended is None:
        raise Lapsed("this was not begun here, took too long or has been used already; begin again")
    operator_id, sealed = ended
    return Ended(operator_id, json.loads(vault.unseal(f"ceremony.{kind.value}", sealed)))


def drop_old(session: Session) -> int:
    """Delete what nobody ended in time and return how many; for the upkeep job."""
    return session.exec(delete(Ceremony).where(col(Ceremony.expires_at) <= func.now())).rowcount
