"""The trail as JSON Lines with all that is needed to verify it elsewhere: writing, reading back, verifying.

The first line says what the file is; each of the others is one event. Verifying needs no database and no settings.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import func
from sqlmodel import Session, col, select

from mdm import clock, vault
from mdm.audit import chain, checkpoints, signing, witness
from mdm.audit.checkpoints import Checkpoint
from mdm.audit.events import GENESIS, Link, canonical, moment
from mdm.audit.inspection import Verdict
from mdm.audit.models import AuditEvent
from mdm.audit.verification import Claim, Findings, Walk, compare
from mdm.audit.witness import Testimony
from mdm.errors import Malformed

FORMAT: Final = "tabane audit 1"
_DIGEST: Final = 32


@dataclass(frozen=True, slots=True)
class Extent:
    """Which part of the trail an export holds."""

    made_at: str
    """Whatever a witness saw before this moment must be in an export that goes to the end."""
    first_place: int
    whole_end: bool
    """It goes to the newest event there was."""
    after_id: int
    upto_id: int


def extent(session: Session, since: datetime | None, until: datetime | None) -> Extent:
    """Find the events of a range of time; ids follow the trail, and the time is of the moment of recording."""
    made_at = moment(clock.now())
    newest = select(func.coalesce(func.max(AuditEvent.id), 0))
    upto = session.exec(newest if until is None else newest.where(col(AuditEvent.at) < until)).one() or 0
    after = 0
    if since is not None:
        first = select(func.min(AuditEvent.id)).where(col(AuditEvent.at) >= since)
        after = (session.exec(first).one() or upto + 1) - 1
    before = session.exec(select(func.count(col(AuditEvent.id))).where(col(AuditEvent.id) <= after)).one()
    return Extent(made_at, before + 1, until is None, after, max(upto, after))


def lines(session: Session, part: Extent) -> Iterator[bytes]:
    """Yield the file line by line; a few thousand events are in memory at a time."""
    head = {"format": FORMAT, "made_at": part.made_at, "first_place": part.first_place, "whole_end": part.whole_end}
    yield canonical(head) + b"\n"
    for link in chain.walk(session, after=part.after_id, upto=part.upto_id):
        yield canonical(_document(link)) + b"\n"


def _document(link: Link) -> dict[str, Any]:
    return {
        "id": link.id,
        "at": moment(link.at),
        "actor": link.actor,
        "action": link.action,
        "subject": link.subject,
        "details": link.details,
        "previous": link.previous.hex(),
        "digest": link.digest.hex(),
        "sequence": link.sequence,
        "key": link.key_id,
        "seal": link.mac.hex() if link.mac else None,
    }


def _link(line: bytes) -> Link:
    try:
        said = json.loads(line)
        seal = said["seal"]
        return Link(
            id=int(said["id"]),
            at=datetime.fromisoformat(said["at"]),
            actor=said["actor"],
            action=said["action"],
            subject=said["subject"],
            details=said["details"],
            previous=bytes.fromhex(said["previous"]),
            digest=bytes.fromhex(said["digest"]),
            sequence=said["sequence"],
            key_id=said["key"],
            mac=bytes.fromhex(seal) if seal else None,
        )
    except (ValueError, KeyError, TypeError):
        raise Malformed("a line of the export is none of ours") from None


@dataclass(frozen=True, slots=True)
class Proofs:
    """What an export is held against; all of it comes from elsewhere than the export."""

    public_keys: Path | None = None
    checkpoints: tuple[Path, ...] = ()
    witnesses: tuple[Path, ...] = ()
    secret_keys: Path | None = None
    """With it the seals and the lines of witnesses are verified too; without it their digests still have to agree."""


def verify(stream: Iterable[bytes], proofs: Proofs) -> Verdict:
    """Verify an export on any machine; 32 bytes of memory an event. Raises `Malformed` for a file that is none."""
    remaining = iter(stream)
    head = _head(next(remaining, b""))
    first = head["first_place"]
    whole = first == 1
    findings, digests = Findings(), bytearray()
    walk = Walk(
        findings,
        (lambda key_id: vault.derived_key(chain.SEAL_PURPOSE, key_id, file=proofs.secret_keys))
        if proofs.secret_keys
        else None,
        place=first - 1,
        previous=GENESIS if whole else None,
    )
    for line in remaining:
        link = _link(line)
        walk.step(link)
        digests += link.digest.ljust(_DIGEST, b"\0")[:_DIGEST]
    count = len(digests) // _DIGEST

    def digests_at(places: list[int]) -> dict[int, bytes]:
        within = [place for place in places if first <= place < first + count]
        return {place: bytes(digests[(place - first) * _DIGEST :][:_DIGEST]) for place in within}

    claims = _Claims(proofs, first=first, last=first + count - 1, head=head)
    seen = compare(findings, claims.testimonies(), digests_at)
    signed = compare(findings, claims.checkpoints(), digests_at)
    return Verdict(
        events=walk.events,
        last=walk.place or 0,
        head=walk.previous or GENESIS,
        unsealed=walk.unsealed,
        findings=tuple(findings.shown),
        faults=findings.total,
        witnessed_to=seen,
        signed_to=signed,
        unreadable=claims.unreadable,
    )


def _head(line: bytes) -> dict[str, Any]:
    try:
        head = json.loads(line)
        if head["format"] == FORMAT and int(head["first_place"]) > 0:
            return {"made_at": str(head["made_at"]), "first_place": int(head["first_place"]), "end": head["whole_end"]}
    except (ValueError, KeyError, TypeError):
        pass
    raise Malformed("this is no export of the audit trail")


class _Claims:
    """The claims that concern this part of the trail."""

    def __init__(self, proofs: Proofs, *, first: int, last: int, head: dict[str, Any]) -> None:
        self.unreadable = 0
        self._proofs = proofs
        self._first = first
        self._last = last
        self._made_at = datetime.fromisoformat(head["made_at"]) if head["end"] else None

    def testimonies(self) -> Iterator[Claim]:
        for file in self._proofs.witnesses:
            for line in witness.read(file):
                self.unreadable += line is None
                if line is not None and self._concerns(line):
                    ours = line.is_ours(self._proofs.secret_keys) if self._proofs.secret_keys else None
                    yield Claim(line.sequence, line.digest, ours)

    def checkpoints(self) -> Iterator[Claim]:
        keys = signing.public_keys(self._proofs.public_keys) if self._proofs.public_keys else None
        for file in self._proofs.checkpoints:
            for line in checkpoints.read(file):
                self.unreadable += line is None
                if line is not None and self._concerns(line):
                    yield Claim(line.sequence, line.digest, line.is_signed(keys))

    def _concerns(self, line: Testimony | Checkpoint) -> bool:
        if line.sequence < self._first:
            return False
        if line.sequence <= self._last:
            return True
        # Beyond the end: of an export that goes to the end, only what was there before it was made.
        return self._made_at is not None and datetime.fromisoformat(line.at) <= self._made_at
