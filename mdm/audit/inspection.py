"""Verify this house's own trail: all of it, or what is new since the last checkpoint. Writes nothing.

Sizes of the witnesses are taken before the trail is read, so that no line can be newer than what it is held against.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlmodel import Session, col, func, select

from mdm import vault
from mdm.audit import chain, checkpoints, signing, witness
from mdm.audit.checkpoints import Checkpoint
from mdm.audit.events import GENESIS
from mdm.audit.models import AuditCheckpoint, AuditEvent
from mdm.audit.verification import Claim, Finding, Findings, Walk, compare
from mdm.audit.witness import Testimony
from mdm.settings import get_settings

_RECENT: Final = 2_000_000
"""Bytes of a witness that are looked at for what is new: some 8,000 commits."""
PATROL: Final = 20_000
"""Old events that are walked again with each checkpoint."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found."""

    events: int
    """How many were walked."""
    last: int
    """The place of the newest event."""
    head: bytes
    unsealed: int
    """Events from before there were seals: their chain holds, but whoever owned the database could rewrite it."""
    findings: tuple[Finding, ...]
    faults: int
    """How many findings there are; the first few are listed."""
    witnessed_to: int
    """The last place that a line outside the database confirms; what is newer could be cut off unnoticed."""
    signed_to: int
    """The last place that a signed checkpoint confirms."""
    unreadable: int
    """Lines of witnesses that are none, torn by a crash perhaps."""
    walked_to: int = 0
    """The id up to which old events have been walked again."""

    @property
    def intact(self) -> bool:
        """Say whether nothing is wrong."""
        return self.faults == 0


@dataclass(slots=True)
class _Evidence:
    """The witnesses at hand, as far as they were written when the look began."""

    witnesses: list[tuple[Path, int]]
    files: list[tuple[Path, int]]
    keys: signing.PublicKeys | None
    unreadable: int = 0

    @classmethod
    def gathered(cls, more: Iterable[Path] = ()) -> "_Evidence":
        where = get_settings().audit
        own = [where.witness_file] if where.witness_file else []
        kept = [where.checkpoint_file] if where.checkpoint_file else []
        keys = where.public_keys_file
        return cls(
            witnesses=[(file, witness.size_of(file)) for file in (*own, *more)],
            files=[(file, witness.size_of(file)) for file in kept],
            keys=signing.public_keys(keys) if keys else None,
        )

    def testimonies(self, last: int | None = None) -> Iterator[Claim]:
        for file, size in self.witnesses:
            yield from self.claims(witness.read(file, upto=size, last=last))

    def checkpoints(self, last: int | None = None) -> Iterator[Claim]:
        for file, size in self.files:
            yield from self.claims(checkpoints.read(file, upto=size, last=last))

    def claims(self, lines: Iterable[Testimony | Checkpoint | None]) -> Iterator[Claim]:
        for line in lines:
            match line:
                case None:
                    self.unreadable += 1
                case Testimony():
                    yield Claim(line.sequence, line.digest, line.is_ours())
                case Checkpoint():
                    yield Claim(line.sequence, line.digest, line.is_signed(self.keys))


def verify(session: Session, *, witnesses: Iterable[Path] = ()) -> Verdict:
    """Walk the whole trail and hold it against every witness, every checkpoint, and the files given beside."""
    evidence = _Evidence.gathered(witnesses)
    findings = Findings()
    walk = Walk(findings, _key_of)
    for link in chain.walk(session):
        walk.step(link)

    def digests_at(places: list[int]) -> dict[int, bytes]:
        return _digests_at(session, places)

    seen = compare(findings, evidence.testimonies(), digests_at)
    signed = compare(findings, evidence.claims(checkpoints.kept(session)), digests_at)
    signed = max(signed, compare(findings, evidence.checkpoints(), digests_at))
    return _verdict(walk, findings, evidence, witnessed_to=seen, signed_to=signed)


def verify_new(session: Session) -> Verdict:
    """Verify what is new since the last checkpoint, and walk again the next few thousand old events.

    Without a checkpoint there is nothing to start from: the newest event is taken as it is, the patrol walks the rest.
    """
    evidence = _Evidence.gathered()
    last = checkpoints.newest(session)
    findings = Findings()
    base = _event_at(session, last.sequence) if last else _newest(session)
    since = _sealed_since(session)
    place = last.sequence if last else (base.sequence if base else 0)
    previous = last.digest if last else (base.digest if base else GENESIS)
    walk = Walk(findings, _key_of, place=place, previous=previous, sealed_since=since)
    if base is not None and base.id is not None:
        for link in chain.walk(session, after=base.id):
            walk.step(link)

    def digests_at(places: list[int]) -> dict[int, bytes]:
        return _digests_at(session, places)

    seen = compare(findings, evidence.testimonies(_RECENT), digests_at)
    newest = [Checkpoint.of(last)] if last else []
    signed = compare(findings, evidence.claims(newest), digests_at)
    signed = max(signed, compare(findings, evidence.checkpoints(_RECENT), digests_at))
    walked_to = _patrol(session, findings, last, since)
    return _verdict(walk, findings, evidence, witnessed_to=seen, signed_to=signed, walked_to=walked_to)


def _patrol(session: Session, findings: Findings, last: AuditCheckpoint | None, since: datetime | None) -> int:
    """Walk the next old events again; return the id to go on from, or 0 at the end."""
    start = last.walked_to if last else 0
    before = session.exec(
        select(AuditEvent).where(col(AuditEvent.id) <= start).order_by(col(AuditEvent.id).desc()).limit(1)
    ).first()
    ends = session.exec(
        select(AuditEvent.id).where(col(AuditEvent.id) > start).order_by(col(AuditEvent.id)).offset(PATROL).limit(1)
    ).first()
    walk = Walk(
        findings,
        _key_of,
        place=before.sequence if before else 0,
        previous=before.digest if before else GENESIS,
        sealed_since=since if before and before.sequence else None,
    )
    for link in chain.walk(session, after=start, upto=ends):
        walk.step(link)
    return ends or 0


def _verdict(
    walk: Walk, findings: Findings, evidence: _Evidence, *, witnessed_to: int, signed_to: int, walked_to: int = 0
) -> Verdict:
    return Verdict(
        events=walk.events,
        last=walk.place or 0,
        head=walk.previous or GENESIS,
        unsealed=walk.unsealed,
        findings=tuple(findings.shown),
        faults=findings.total,
        witnessed_to=witnessed_to,
        signed_to=signed_to,
        unreadable=evidence.unreadable,
        walked_to=walked_to,
    )


def _key_of(key_id: str) -> bytes | None:
    return vault.derived_key(chain.SEAL_PURPOSE, key_id)


def _digests_at(session: Session, places: list[int]) -> dict[int, bytes]:
    statement = select(AuditEvent.sequence, AuditEvent.digest).where(col(AuditEvent.sequence).in_(places))
    return {sequence: digest for sequence, digest in session.exec(statement) if sequence is not None}


def _event_at(session: Session, place: int) -> AuditEvent | None:
    return session.exec(select(AuditEvent).where(AuditEvent.sequence == place)).first()


def _newest(session: Session) -> AuditEvent | None:
    return session.exec(select(AuditEvent).order_by(col(AuditEvent.id).desc()).limit(1)).first()


def _sealed_since(session: Session) -> datetime | None:
    first = select(func.min(AuditEvent.sequence)).scalar_subquery()
    return session.exec(select(AuditEvent.at).where(col(AuditEvent.sequence) == first)).first()
