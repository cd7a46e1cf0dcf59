"""Write the audit trail: append events, chained and sealed. Inserts only; the database refuses anything else."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from sqlalchemy import Row, text
from sqlmodel import Session, col, select

from mdm import clock, vault
from mdm.audit import witness
from mdm.audit.events import GENESIS, Link, digest_of, seal_of
from mdm.audit.models import AuditEvent
from mdm.errors import Misconfigured

_LOCK = 0x7461_6261_6E65_0001
"""The advisory lock that puts writers in line; held to the end of the transaction, so ids follow the chain."""
_BATCH = 5000
SEAL_PURPOSE: Final = "audit.seal"


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
    stand_in_line(session)
    newest = select(AuditEvent.id, AuditEvent.digest, AuditEvent.sequence).order_by(col(AuditEvent.id).desc()).limit(1)
    before = session.execute(newest).first()
    key_id = vault.present_key()
    event = AuditEvent(
        at=clock.now(),
        actor=_storable(actor if isinstance(actor, str) else actor.actor)[:80],
        action=action,
        subject=_storable(subject)[:200],
        details=_storable(details or {}),
        previous=before.digest if before else GENESIS,
        digest=b"",
        sequence=_next_place(session, before),
        key_id=key_id,
    )
    event.digest = digest_of(event)
    event.mac = seal_of(seal_key(key_id), event.digest)
    session.add(event)
    session.flush()
    witness.expect(session, event)


def stand_in_line(session: Session) -> None:
    """Take the writers' lock before the record is due: whoever needs another order of things deadlocks with `record`.

    For rules that count what others have done (budgets) and put it on record in the same transaction.
    """
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})


def seal_key(key_id: str) -> bytes:
    """Return the key of seals; it is not in the database."""
    key = vault.derived_key(SEAL_PURPOSE, key_id)
    if key is None:
        raise Misconfigured("the secret key file does not hold the key of the audit trail")
    return key


def _next_place(session: Session, before: Row[Any] | None) -> int:
    if before is None:
        return 1
    if before.sequence is not None:
        return int(before.sequence) + 1
    # An event of the former version is the newest, which numbers none: count on from the last one that has a number.
    statement = text(
        "SELECT 1 + count(*) + coalesce((SELECT max(sequence) FROM audit_event), 0) FROM audit_event"
        " WHERE id > coalesce((SELECT max(id) FROM audit_event WHERE sequence IS NOT NULL), 0)"
    )
    return int(session.execute(statement).scalar_one())


def count(session: Session) -> int:
    """Return how many events there are."""
    return int(session.execute(text("SELECT count(*) FROM audit_event")).scalar_one())


def is_unsealed(session: Session) -> bool:
    """Say whether the newest event has no seal, because the former version wrote it."""
    newest = session.execute(select(AuditEvent.sequence).order_by(col(AuditEvent.id).desc()).limit(1)).first()
    return newest is not None and newest.sequence is None


def contains(session: Session, digest: str) -> bool:
    """Say whether an event with this digest (hexadecimal) is in the trail: what a kept head is compared with."""
    try:
        wanted = bytes.fromhex(digest)
    except ValueError:
        return False
    return session.exec(select(AuditEvent.id).where(AuditEvent.digest == wanted)).first() is not None


def walk(session: Session, *, after: int = 0, upto: int | None = None) -> Iterator[Link]:
    """Yield events in the order of the trail, a few thousand in memory at a time; `after` and `upto` are ids."""
    while True:
        statement = (
            select(*AuditEvent.__table__.columns)  # type: ignore[attr-defined]  # SQLModel hides the table
            .where(col(AuditEvent.id) > after)
            .order_by(col(AuditEvent.id))
            .limit(_BATCH)
        )
        if upto is not None:
            statement = statement.where(col(AuditEvent.id) <= upto)
        batch = session.execute(statement).mappings().all()
        yield from (Link(**row) for row in batch)
        if len(batch) < _BATCH:
            return
        after = batch[-1]["id"]


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
