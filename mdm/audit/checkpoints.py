"""Signed checkpoints: how long the trail was at a moment and with which digest it ended, kept also elsewhere.

Only what has been verified is signed: a trail that is found broken gets no checkpoint, and whoever rang says so aloud.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import httpx2
import structlog
from sqlmodel import Session, col, select

from mdm import clock
from mdm.audit import signing, witness
from mdm.audit.events import canonical, moment
from mdm.audit.models import AuditCheckpoint
from mdm.settings import get_settings

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint as a row or as a line of a file."""

    at: str
    sequence: int
    digest: bytes
    key_id: str
    signature: bytes

    @classmethod
    def of(cls, row: AuditCheckpoint) -> Self:
        """Read a row."""
        return cls(moment(row.at), row.sequence, row.digest, row.key_id, row.signature)

    def is_signed(self, keys: signing.PublicKeys | None) -> bool | None:
        """Say whether one of these keys signed it; None when there are no keys at hand."""
        if keys is None:
            return None
        return signing.is_signed(keys, self.key_id, self.signature, statement(self))

    def line(self) -> bytes:
        """Return it as a line of JSON."""
        return canonical(_said(self) | {"signature": self.signature.hex()})


def statement(checkpoint: Checkpoint) -> bytes:
    """Return the bytes that are signed: a heading and canonical JSON, so that other tools can check them."""
    return b"tabane audit checkpoint 1\n" + canonical(_said(checkpoint))


def _said(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "at": checkpoint.at,
        "sequence": checkpoint.sequence,
        "digest": checkpoint.digest.hex(),
        "key": checkpoint.key_id,
    }


def sign(sequence: int, digest: bytes, key_file: Path, *, at: datetime | None = None) -> Checkpoint:
    """Make and sign a checkpoint of this moment."""
    key = signing.private_key(key_file)
    bare = Checkpoint(moment(at or clock.now()), sequence, digest, signing.id_of(key.public_key()), b"")
    return Checkpoint(bare.at, sequence, digest, bare.key_id, key.sign(statement(bare)))


def add(session: Session, checkpoint: Checkpoint, *, walked_to: int) -> None:
    """Keep a checkpoint in the database."""
    session.add(
        AuditCheckpoint(
            at=datetime.fromisoformat(checkpoint.at),
            sequence=checkpoint.sequence,
            digest=checkpoint.digest,
            key_id=checkpoint.key_id,
            signature=checkpoint.signature,
            walked_to=walked_to,
        )
    )


def newest(session: Session) -> AuditCheckpoint | None:
    """Return the last one."""
    return session.exec(select(AuditCheckpoint).order_by(col(AuditCheckpoint.id).desc()).limit(1)).first()


def kept(session: Session) -> Iterator[Checkpoint]:
    """Yield all in the database, oldest first."""
    statement = select(AuditCheckpoint).order_by(col(AuditCheckpoint.id)).execution_options(yield_per=1000)
    for row in session.exec(statement):
        yield Checkpoint.of(row)


def read(file: Path, *, upto: int | None = None, last: int | None = None) -> Iterator[Checkpoint | None]:
    """Read the checkpoints of a file, or only those in its `last` bytes; None for a line that is none."""
    for line in witness.lines(file, upto=upto, last=last):
        try:
            said = json.loads(line)
            digest, signature = bytes.fromhex(said["digest"]), bytes.fromhex(said["signature"])
            yield Checkpoint(str(said["at"]), int(said["sequence"]), digest, str(said["key"]), signature)
        except (ValueError, KeyError, TypeError):
            yield None


def ship(checkpoint: Checkpoint) -> None:
    """Bring a committed checkpoint to the other places. Never raises: the next one covers what this one would have."""
    where = get_settings().audit
    if where.checkpoint_file is not None:
        try:
            witness.append(where.checkpoint_file, checkpoint.line())
        except OSError as error:
            _log.error("audit_checkpoint_not_kept", error=type(error).__name__)
    if where.checkpoint_url is not None:
        try:
            headers = {"Content-Type": "application/json"}
            httpx2.post(where.checkpoint_url, content=checkpoint.line(), headers=headers, timeout=10).raise_for_status()
        except httpx2.HTTPError as error:
            _log.error("audit_checkpoint_not_posted", error=type(error).__name__)
