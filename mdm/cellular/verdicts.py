"""Judge where each SIM is by three views: ledger, carrier, tablets (lte-and-usage A3.4). Pure: values in, values out.

The latest word says where a SIM is: the carrier's, which radio the network saw it in, or that of the tablet that named
it. What was said before the SIM was put where the ledger has it says nothing against that.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mdm.cellular.findings import Kind

UNSEEN_AFTER: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Line:
    """A SIM as ledger and carrier know it."""

    sim_id: int
    core: str
    """The ICCID without its check digit."""
    device_id: int | None = None
    """The tablet that the ledger has it in."""
    bound_since: datetime | None = None
    radio: str | None = None
    """The first 14 digits of the IMEI that the network last saw it in."""
    radio_at: datetime | None = None
    active: bool = True
    used: bool = False
    """Whether it used anything in the last thirty days."""
    online_at: datetime | None = None

    def __repr__(self) -> str:
        """Leave every number out."""
        return f"Line({self.sim_id} in {self.device_id})"


@dataclass(frozen=True, slots=True)
class Tablet:
    """A tablet as the ledger knows it, and what it last said of the SIMs in it."""

    device_id: int
    radios: frozenset[str] = frozenset()
    """The first 14 digits of its IMEIs, by the ledger's word and its own."""
    cores: frozenset[str] = frozenset()
    """The SIMs that it named."""
    told_at: datetime | None = None
    """None: it has said nothing of SIMs."""
    contact_at: datetime | None = None
    """When it last spoke with us, of whatever."""
    handed_out: bool = True

    def __repr__(self) -> str:
        """Leave every number out."""
        return f"Tablet({self.device_id})"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a SIM is: in which tablet (None: in no tablet of ours), as of when, and who says so."""

    device_id: int | None
    at: datetime
    by: str
    """`carrier` or `device`."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What does not fit."""

    kind: Kind
    sim_id: int | None = None
    device_id: int | None = None
    """Where the ledger has the SIM; for a foreign SIM the tablet that it is in."""
    other_sim_id: int | None = None
    other_device_id: int | None = None
    """The other one of a pair, or where the SIM is in fact."""
    at: datetime | None = None
    """As of when."""
    by: str = ""

    @property
    def subject(self) -> str:
        """What tells it from others of its kind: of a swapped pair the two tablets, in order."""
        if self.kind is Kind.SWAPPED_PAIR:
            return f"devices:{self.device_id}-{self.other_device_id}"
        return f"sim:{self.sim_id}" if self.sim_id is not None else f"device:{self.device_id}"


def judge(lines: Sequence[Line], tablets: Sequence[Tablet], now: datetime) -> list[Verdict]:
    """Return what does not fit, at most one verdict for each SIM and one for each tablet with a foreign one."""
    by_id = {tablet.device_id: tablet for tablet in tablets}
    radios = {radio: tablet.device_id for tablet in tablets for radio in tablet.radios}
    told = _told(tablets)
    places = {line.sim_id: _place(line, radios, told) for line in lines}
    bound = {line.device_id: line for line in lines if line.device_id is not None}
    known = {line.core for line in lines}
    verdicts = {verdict.subject + verdict.kind: verdict for verdict in _of_lines(lines, places, bound, by_id, now)}
    verdicts |= {verdict.subject + verdict.kind: verdict for verdict in _foreign(tablets, known)}
    return list(verdicts.values())


def _told(tablets: Iterable[Tablet]) -> dict[str, Place]:
    """Return for each SIM which tablet was the last to name it."""
    told: dict[str, Place] = {}
    for tablet in tablets:
        if tablet.told_at is None:
            continue
        for core in tablet.cores:
            before = told.get(core)
            if before is None or (before.at, before.device_id or 0) < (tablet.told_at, tablet.device_id):
                told[core] = Place(tablet.device_id, tablet.told_at, "device")
    return told


def _place(line: Line, radios: Mapping[str, int], told: Mapping[str, Place]) -> Place | None:
    """Return where a SIM is by the latest word that counts; None where nobody says."""
    words = []
    if line.radio is not None and line.radio_at is not None:
        words.append(Place(radios.get(line.radio), line.radio_at, "carrier"))
    if line.core in told:
        words.append(told[line.core])
    if line.bound_since is not None:
        words = [word for word in words if word.at > line.bound_since]
    # At one moment the tablet knows better than the network what is in it.
    return max(words, key=lambda word: (word.at, word.by == "device"), default=None)


def _of_lines(
    lines: Iterable[Line],
    places: Mapping[int, Place | None],
    bound: Mapping[int, Line],
    tablets: Mapping[int, Tablet],
    now: datetime,
) -> Iterator[Verdict]:
    for line in lines:
        place = places[line.sim_id]
        if line.device_id is None:
            verdict = _unbound(line, place)
        elif place is None or place.device_id == line.device_id:
            verdict = _unseen(line, place, tablets.get(line.device_id), now)
        elif place.device_id is None:
            verdict = _foreign_device(line, place, tablets.get(line.device_id))
        else:
            verdict = _elsewhere(line, place, place.device_id, bound, places)
        if verdict is not None:
            yield verdict


def _unbound(line: Line, place: Place | None) -> Verdict | None:
    where = place.device_id if place is not None else None
    if not line.active or (where is None and not line.used):
        return None
    at, by = (place.at, place.by) if place is not None else (None, "")
    return Verdict(Kind.NOT_IN_LEDGER, line.sim_id, None, None, where, at, by)


def _unseen(line: Line, place: Place | None, tablet: Tablet | None, now: datetime) -> Verdict | None:
    """Nobody has heard of line and tablet for long, and it should be in somebody's hands: it may be missing."""
    if tablet is None or not tablet.handed_out or not line.active or line.used:
        return None
    told = place.at if place is not None else None
    heard = (line.bound_since, line.radio_at, line.online_at, tablet.contact_at, tablet.told_at, told)
    latest = max((at for at in heard if at is not None), default=None)
    if latest is None or now - latest < UNSEEN_AFTER:
        return None
    return Verdict(Kind.NOT_SEEN, line.sim_id, line.device_id, None, None, latest)


def _foreign_device(line: Line, place: Place, tablet: Tablet | None) -> Verdict | None:
    """A radio that is no tablet's: worth nothing as long as nobody knows the tablet's own."""
    if tablet is None or not tablet.radios:
        return None
    return Verdict(Kind.IN_FOREIGN_DEVICE, line.sim_id, line.device_id, None, None, place.at, place.by)


def _elsewhere(
    line: Line, place: Place, there: int, bound: Mapping[int, Line], places: Mapping[int, Place | None]
) -> Verdict:
    other = bound.get(there)
    others = places[other.sim_id] if other is not None else None
    if other is None or others is None or others.device_id != line.device_id:
        return Verdict(Kind.IN_OTHER_TABLET, line.sim_id, line.device_id, None, there, place.at, place.by)
    first, second = sorted((line, other), key=lambda each: each.device_id or 0)
    later = max(place, others, key=lambda each: (each.at, each.by))
    ids = (first.sim_id, first.device_id, second.sim_id, second.device_id)
    return Verdict(Kind.SWAPPED_PAIR, *ids, at=later.at, by=later.by)


def _foreign(tablets: Iterable[Tablet], known: set[str]) -> Iterator[Verdict]:
    for tablet in tablets:
        if tablet.cores - known:
            yield Verdict(Kind.FOREIGN_SIM, None, tablet.device_id, None, None, tablet.told_at, "device")
