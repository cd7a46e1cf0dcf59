"""Write and verify the hash chain of the audit trail. Inserts only; the database refuses anything else."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy import Row, text
from sqlmodel import Session, col, select

from mdm import clock
from mdm.audit.models import AuditEvent

_LOCK = 0x7461_6261_6E65_0001
"""The advisory lock that puts writers in line; held to the end of the transaction, so ids follow the chain."""
_GENESIS = bytes(32)
_BATCH = 5000


class Actor(Protocol):
    """Whatever can say under which name it acts; `mdm.auth.Principal` does."""

    @property
    def actor(self) -> str:
        """`operator:<name>`."""
        ...


def record(
    session: Session, actor: Actor | str, action: str, subject: str, details: Mapping[str, Any] | None = None
) -> None:
    """Append one act to the trail, in the caller's transaction: no act without its record, no record without its act.

    `action` is `noun.verb` (`command.enqueue`), `subject` names the thing (`device:42`), `details` are JSON facts and
    never secrets or names of pupils. Take it late in a transaction: later writers wait for this one's commit.
    """
    session.flush()
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    newest = select(AuditEvent.digest).order_by(col(AuditEvent.id).desc()).limit(1)
    event = AuditEvent(
        at=clock.now(),
        actor=_storable(actor if isinstance(actor, str) else actor.actor)[:80],
        action=action,
        subject=_storable(subject)[:200],
        details=_storable(details or {}),
        previous=session.exec(newest).first() or _GENESIS,
        digest=b"",
    )
    event.digest = digest_of(event)
    session.add(event)
    session.flush()


def digest_of(event: AuditEvent | Row[Any]) -> bytes:
    """Return SHA-256 over the previous digest and the event in canonical JSON (sorted keys, no spaces, UTC)."""
    at: datetime = event.at
    body = {
        "at": at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": event.actor,
        "action": event.action,
        "subject": event.subject,
        "details": event.details,
    }
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return hashlib.sha256(event.previous + canonical).digest()


def verify(session: Session) -> int | None:
    """Walk the whole chain; return the id of the first event that does not follow from the one before, or None.

    A change, a removal or an insertion anywhere shows at its place or right after it. Cutting off the newest events
    shows only against a `head` that was kept elsewhere.
    """
    previous = _GENESIS
    for event in _all_events(session):
        if event.previous != previous or digest_of(event) != event.digest:
            return int(event.id)
        previous = event.digest
    return None


def head(session: Session) -> tuple[int, bytes]:
    """Return how many events there are and the newest digest: what to keep elsewhere as a witness."""
    count = session.execute(text("SELECT count(*) FROM audit_event")).scalar_one()
    newest = session.exec(select(AuditEvent.digest).order_by(col(AuditEvent.id).desc()).limit(1)).first()
    return int(count), newest or _GENESIS


def contains(session: Session, digest: str) -> bool:
    """Say whether an event with this digest (hexadecimal) is in the trail: what a kept `head` is compared with."""
    try:
        wanted = bytes.fromhex(digest)
    except ValueError:
        return False
    return session.exec(select(AuditEvent.id).where(AuditEvent.digest == wanted)).first() is not None


def _all_events(session: Session) -> Iterator[Row[Any]]:
    after = 0
    while True:
        statement = (
            select(*AuditEvent.__table__.columns)  # type: ignore[attr-defined]  # SQLModel hides the table
            .where(col(AuditEvent.id) > after)
            .order_by(col(AuditEvent.id))
            .limit(_BATCH)
        )
        batch = session.execute(statement).all()
        yield from batch
        if len(batch) < _BATCH:
            return
        after = batch[-1].id


def _storable(value: Any) -> Any:
    """Bring a value to what JSONB returns unchanged: no NUL, no lone surrogates, no floats, nothing but JSON."""
    match value:
        case bool() | int() | None:
            return value
        case Mapping():
            return {_storable(str(key)): _storable(item) for key, item in value.items()}
        case bytes():
            return value.hex()
        case str():
            return str(value).replace("\0", "\ufffd").encode(errors="replace").decode()
        case Sequence() | set() | frozenset():
            return [_storable(item) for item in value]
        case _:
            return _storable(str(value))
