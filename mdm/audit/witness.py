"""The witness outside the database: after each commit a line says how long the trail is and with which digest it ends.

So whoever owns the database cannot cut off the newest events without contradicting a file that is not in it. A line
that cannot be written never stops an act: the log says so, and the next line covers what this one would have.
"""

import hmac
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import event
from sqlmodel import Session

from mdm import clock, vault
from mdm.audit.events import canonical, moment
from mdm.audit.models import AuditEvent
from mdm.errors import Misconfigured
from mdm.settings import get_settings

_log = structlog.get_logger(__name__)
_KEPT: Final = "tabane.audit"
_PURPOSE: Final = "audit.witness"


@dataclass(frozen=True, slots=True)
class Testimony:
    """One line: at this moment the event at this place had this digest."""

    at: str
    sequence: int
    digest: bytes
    key_id: str
    mac: bytes

    def is_ours(self, file: Path | None = None) -> bool | None:
        """Say whether a process that holds the key wrote this; None when that key is not at hand."""
        key = vault.derived_key(_PURPOSE, self.key_id, file=file)
        return None if key is None else hmac.compare_digest(self.mac, _mac(key, self._said()))

    def _said(self) -> dict[str, Any]:
        return {"at": self.at, "sequence": self.sequence, "digest": self.digest.hex(), "key": self.key_id}


def expect(session: Session, added: AuditEvent) -> None:
    """Remember an event until its transaction has committed; then its line is written."""
    session.info.setdefault(_KEPT, []).append(added)


def _testify(session: Session) -> None:
    """Write one line for what has just been committed: its last event stands for those before it."""
    if _KEPT not in session.info or session.in_nested_transaction():
        return
    # What was rolled back, all or to a savepoint, has left the session; there must be no testimony of it.
    committed = [each for each in session.info.pop(_KEPT) if each in session]
    file = get_settings().audit.witness_file
    if not committed or file is None:
        return
    try:
        append(file, _line(committed[-1]))
    except (OSError, Misconfigured) as error:
        _log.error("audit_witness_failed", error=type(error).__name__)


event.listen(Session, "after_commit", _testify)


def _line(last: AuditEvent) -> bytes:
    said = {"at": moment(clock.now()), "sequence": last.sequence, "digest": last.digest.hex(), "key": last.key_id}
    key = vault.derived_key(_PURPOSE, str(last.key_id))
    assert key is not None, "the event was sealed with a key of the same file"
    return canonical(said | {"mac": _mac(key, said).hex()})


def _mac(key: bytes, said: dict[str, Any]) -> bytes:
    return hmac.digest(key, b"tabane audit witness 1\n" + canonical(said), "sha256")


def append(file: Path, line: bytes) -> None:
    """Append a line in one write, so that the lines of several processes do not mix; only its owner may read it."""
    _make_folder(file.parent)
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, line + b"\n")
    finally:
        os.close(descriptor)


@lru_cache(maxsize=8)
def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def size_of(file: Path) -> int:
    """Return how much is written: asked before the trail is read, so that no line is newer than what is compared."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def lines(file: Path, *, upto: int | None = None, last: int | None = None) -> Iterator[bytes]:
    """Yield the lines of an append-only file as far as it was written, or only those in its `last` bytes."""
    end = size_of(file) if upto is None else upto
    if end == 0:
        return
    with file.open("rb") as stream:
        if last is not None and last < end:
            stream.seek(end - last)
            stream.readline()
        for line in stream:
            yield line
            if stream.tell() >= end:
                return


def read(file: Path, *, upto: int | None = None, last: int | None = None) -> Iterator[Testimony | None]:
    """Read the lines of a witness; None for a line that is none, torn by a crash perhaps."""
    for line in lines(file, upto=upto, last=last):
        try:
            said = json.loads(line)
            digest, mac = bytes.fromhex(said["digest"]), bytes.fromhex(said["mac"])
            yield Testimony(str(said["at"]), int(said["sequence"]), digest, str(said["key"]), mac)
        except (ValueError, KeyError, TypeError):
            yield None
