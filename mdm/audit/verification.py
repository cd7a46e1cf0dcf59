"""Say whether a trail is what was written: walk its links, then hold it against its witnesses. Writes nothing.

It takes events from a database or from an export alike, and shares with the writers only the form of an event.
"""

import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Final

from mdm.audit.events import GENESIS, Link, digest_of, seal_of

KeyOf = Callable[[str], bytes | None]
"""The key of seals by id."""
DigestsAt = Callable[[list[int]], Mapping[int, bytes]]
"""The digests that stand at these places of the trail."""
OVERLAP: Final = timedelta(hours=1)
"""How long after the first sealed event the former version may still write unsealed ones: while it is replaced."""
_AT_ONCE: Final = 5000


class Fault(StrEnum):
    """What can be wrong."""

    CHANGED = "changed"
    """An event's content is not what its digest says."""
    UNLINKED = "unlinked"
    """An event does not follow from the one before: some are missing, were put in, or changed places."""
    OUT_OF_PLACE = "out_of_place"
    """An event's number is not its place."""
    FORGED = "forged"
    """The seal is not one that a process of ours made."""
    UNSEALED = "unsealed"
    """An event without a seal where all must have one."""
    UNKNOWN_KEY = "unknown_key"
    """The seal names a key that is not in the secret key file."""
    CUT = "cut"
    """A witness knows an event that is not there any more."""
    CONTRADICTED = "contradicted"
    """A witness knows another event at this place."""
    FALSE_WITNESS = "false_witness"
    """A line of a witness, or a checkpoint, that none of our keys made."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    fault: Fault
    place: int | None
    """Counted from 1 along the trail; None when it is not known."""
    event_id: int | None = None


@dataclass(slots=True)
class Findings:
    """What is wrong, counted; the first few in full."""

    shown: list[Finding] = field(default_factory=list)
    total: int = 0

    def add(self, fault: Fault, place: int | None, event_id: int | None = None) -> None:
        """Take one up."""
        self.total += 1
        if len(self.shown) < 20:
            self.shown.append(Finding(fault, place, event_id))


class Walk:
    """Goes along a trail, event by event, and notes what does not follow."""

    def __init__(
        self,
        findings: Findings,
        key_of: KeyOf | None,
        *,
        place: int | None = 0,
        previous: bytes | None = GENESIS,
        sealed_since: datetime | None = None,
    ) -> None:
        """Begin after the event at `place`, whose digest is `previous`.

        None: not known, because it begins in the middle; the first events are taken as they say. Without `key_of` the
        seals are not looked at.
        """
        self.place = place
        self.previous = previous
        self.events = 0
        self.unsealed = 0
        self._findings = findings
        self._key_of = key_of
        self._sealed_since = sealed_since
        self._newest_sealed = sealed_since

    def step(self, link: Link) -> None:
        """Look at the next event."""
        self.events += 1
        if self.place is not None:
            self.place += 1
        if digest_of(link) != link.digest:
            self._note(Fault.CHANGED, link)
        elif self.previous is not None and link.previous != self.previous:
            self._note(Fault.UNLINKED, link)
        if link.sequence is None:
            self._unsealed(link)
        else:
            self._sealed(link, link.sequence)
        self.previous = link.digest

    def _sealed(self, link: Link, sequence: int) -> None:
        if self.place not in (None, sequence):
            self._note(Fault.OUT_OF_PLACE, link)
        self.place = sequence
        self._sealed_since = self._sealed_since or link.at
        self._newest_sealed = link.at
        if self._key_of is None:
            return
        key = self._key_of(link.key_id or "")
        if key is None:
            self._note(Fault.UNKNOWN_KEY, link)
        elif not hmac.compare_digest(seal_of(key, link.digest), link.mac or b""):
            self._note(Fault.FORGED, link)

    def _unsealed(self, link: Link) -> None:
        self.unsealed += 1
        if self._sealed_since is None or self._newest_sealed is None:
            return
        if max(link.at, self._newest_sealed) > self._sealed_since + OVERLAP:
            self._note(Fault.UNSEALED, link)

    def _note(self, fault: Fault, link: Link) -> None:
        self._findings.add(fault, self.place, link.id)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a witness says: at this place of the trail stood this digest. `is_ours` None: its key is not at hand."""

    place: int
    digest: bytes
    is_ours: bool | None


def compare(findings: Findings, claims: Iterable[Claim], digests_at: DigestsAt) -> int:
    """Hold a trail against claims about it; return the last place that one of ours confirms."""
    confirmed = 0
    remaining = iter(claims)
    while some := list(islice(remaining, _AT_ONCE)):
        found = digests_at([claim.place for claim in some])
        for claim in some:
            there = found.get(claim.place)
            if claim.is_ours is False:
                findings.add(Fault.FALSE_WITNESS, claim.place)
            elif there is None:
                findings.add(Fault.CUT, claim.place)
            elif there != claim.digest:
                findings.add(Fault.CONTRADICTED, claim.place)
            else:
                confirmed = max(confirmed, claim.place)
    return confirmed
