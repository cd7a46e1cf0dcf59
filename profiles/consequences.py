"""What a change means for tablets: from the groups before and after to keys, schools, bytes, losses and harms.

Values in, values out, but for the schools of the tablets; it stores nothing and refuses nothing.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from mdm.commands import artifacts
from mdm.platform import Platform
from profiles import contents
from profiles.lint import Code, Harm, harms, harms_of_change
from profiles.sections import Sections
from profiles.targets import Group

_BASE64 = (4, 3)
"""An iPad gets a profile as base64 in a property list; the handshake and the check-in around it are not counted."""


class Severity(StrEnum):
    """What a finding stops."""

    STOP = "stop"
    """Storing it, and rolling it out."""
    ROLLOUT = "rollout"
    """Only rolling it out to a whole layer at once."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One harm, and how many tablets it would newly be done to."""

    severity: Severity
    code: Code
    pointer: str
    detail: str
    tablets: int


@dataclass(frozen=True, slots=True)
class KeyChange:
    """One key of what a platform's tablets get; None is absence, passwords are dots.

    Of a list that was and stays there, `before` holds the entries that go and `after` those that come: layers give
    every class a list of its own, and the difference is one for all.
    """

    platform: Platform
    artifact: str
    key: str
    before: Any
    after: Any
    risky: bool
    tablets: int


@dataclass(frozen=True, slots=True)
class Gap:
    """A wish that tablets of a platform cannot fulfil."""

    platform: Platform
    pointer: str
    reason: str
    tablets: int


@dataclass(frozen=True, slots=True)
class Deletion:
    """Something that tablets lose: an artifact as a whole, or an application."""

    what: str
    tablets: int


@dataclass(frozen=True, slots=True)
class SchoolLoad:
    """The tablets of one school that get something else, and what they fetch, over LTE in the worst case."""

    school: str
    tablets: int
    bytes_each: int
    """The most that one of them fetches."""
    bytes_in_all: int


@dataclass(frozen=True, slots=True)
class Weighed:
    """Everything a change means."""

    cannot: list[Gap]
    keys: list[KeyChange]
    schools: list[SchoolLoad]
    lints: list[Finding]
    deletions: list[Deletion]
    deletes: int


@dataclass(frozen=True, slots=True)
class _Move:
    """Tablets that go from one group to another."""

    before: Group
    after: Group
    device_ids: tuple[int, ...]

    @property
    def differs(self) -> bool:
        return self.before.wanted.sha256 != self.after.wanted.sha256


def weigh(session: Session, before: Sequence[Group], after: Sequence[Group], own_host: str) -> Weighed:
    """Compare what the same tablets should hold before and after."""
    moves = list(_moves(before, after))
    lost = _losses(moves)
    return Weighed(
        cannot=_gaps(after),
        keys=_keys(moves),
        schools=_schools(session, moves),
        lints=findings(moves, own_host),
        deletions=[Deletion(what, len(devices)) for what, devices in sorted(lost.items())],
        deletes=len({device for devices in lost.values() for device in devices}),
    )


def harm_done(before: Sequence[Group], after: Sequence[Group], own_host: str) -> list[Finding]:
    """Only the harms of a change (see `weigh`)."""
    return findings(list(_moves(before, after)), own_host)


def fetches(before: Sequence[Group], after: Sequence[Group]) -> dict[int, int]:
    """Only how many bytes each tablet fetches that is to hold something else, by its id."""
    moves = [move for move in _moves(before, after) if move.after.changes]
    return {device: _fetched(move) for move in moves for device in move.device_ids}


def findings(moves: Sequence[_Move], own_host: str) -> list[Finding]:
    """The harms that a change newly does; what was so before is nobody's surprise."""
    hit: dict[Harm, int] = defaultdict(int)
    judged: dict[tuple[Any, ...], list[Harm]] = {}
    known: dict[str, frozenset[Harm]] = {}
    for move in moves:
        if move.before.names == move.after.names:
            continue
        pair = (move.before.names, move.after.names, move.after.platform)
        if pair not in judged:
            sections = (move.before.policy.sections, move.after.policy.sections)
            was, now = (_standing(known, each, own_host) for each in sections)
            judged[pair] = [*(now - was), *harms_of_change(*sections, move.after.platform)]
        for harm in judged[pair]:
            hit[harm] += len(move.device_ids)
    return [
        Finding(
            Severity.ROLLOUT if harm.code is Code.NO_CANARY else Severity.STOP,
            harm.code,
            harm.pointer,
            harm.detail,
            tablets,
        )
        for harm, tablets in sorted(hit.items(), key=lambda item: (item[0].code, item[0].pointer, item[0].detail))
    ]


def _standing(known: dict[str, frozenset[Harm]], sections: Sections, own_host: str) -> frozenset[Harm]:
    """The harms of a policy; chains that agree in what lint reads are judged once, for lists are long."""
    key = sections.model_dump_json(include={"apps", "web_filter", "sns_mail", "exam"}, exclude_none=True)
    if key not in known:
        known[key] = frozenset(harms(sections, own_host))
    return known[key]


def _moves(before: Sequence[Group], after: Sequence[Group]) -> Iterator[_Move]:
    was = {device: number for number, group in enumerate(before) for device in group.device_ids}
    for group in after:
        together: dict[int, list[int]] = defaultdict(list)
        for device in group.device_ids:
            together[was[device]].append(device)
        for number, devices in together.items():
            yield _Move(before[number], group, tuple(devices))


def _losses(moves: Sequence[_Move]) -> dict[str, set[int]]:
    lost: dict[str, set[int]] = defaultdict(set)
    for move in moves:
        left = {parcel.identifier for parcel in move.after.wanted.parcels}
        for parcel in move.before.wanted.parcels:
            if parcel.identifier not in left:
                lost[parcel.identifier].update(move.device_ids)
        if move.before.names != move.after.names:
            sections = (move.before.policy.sections, move.after.policy.sections)
            for harm in harms_of_change(*sections, move.after.platform):
                if harm.code is Code.UNINSTALLS:
                    lost[harm.detail].update(move.device_ids)
    return lost


def _keys(moves: Sequence[_Move]) -> list[KeyChange]:
    counts: dict[tuple[Platform, str, str], list[tuple[Any, Any, int]]] = defaultdict(list)
    for move in moves:
        if not move.differs:
            continue
        for artifact, key, old, new in _between(move.before.wanted, move.after.wanted):
            place = counts[move.after.platform, artifact, key]
            for number, (was, now, tablets) in enumerate(place):
                if (was, now) == (old, new):
                    place[number] = (was, now, tablets + len(move.device_ids))
                    break
            else:
                place.append((old, new, len(move.device_ids)))
    return [
        KeyChange(platform, artifact, key, was, now, contents.is_risky(key), tablets)
        for (platform, artifact, key), variants in sorted(counts.items())
        for was, now, tablets in variants
    ]


def _between(before: artifacts.Draft, after: artifacts.Draft) -> Iterator[tuple[str, str, Any, Any]]:
    old = {parcel.identifier: parcel.body for parcel in before.parcels}
    new = {parcel.identifier: parcel.body for parcel in after.parcels}
    for identifier in sorted(old.keys() | new.keys()):
        if old.get(identifier) == new.get(identifier):
            continue
        was = contents.keys_of(old[identifier]) if identifier in old else {}
        now = contents.keys_of(new[identifier]) if identifier in new else {}
        changed = [key for key in sorted(was.keys() | now.keys()) if was.get(key) != now.get(key)]
        for key in changed:
            yield identifier, key, *_essence(was.get(key), now.get(key))


def _essence(was: Any, now: Any) -> tuple[Any, Any]:
    if isinstance(was, list) and isinstance(now, list):
        gone = [entry for entry in was if entry not in now]
        come = [entry for entry in now if entry not in was]
        if gone or come:
            return gone, come
    return was, now


def _schools(session: Session, moves: Sequence[_Move]) -> list[SchoolLoad]:
    fetched = {device: _fetched(move) for move in moves if move.after.changes for device in move.device_ids}
    rows = session.execute(
        text(
            "SELECT s.code, array_agg(d.id) FROM device d JOIN school s ON s.id = d.school_id"
            " WHERE d.id = ANY(:ids) GROUP BY 1 ORDER BY 1"
        ),
        {"ids": sorted(fetched)},
    )
    found = []
    for code, ids in rows:
        loads = [fetched[device] for device in ids]
        found.append(SchoolLoad(code, len(loads), max(loads), sum(loads)))
    return found


def _fetched(move: _Move) -> int:
    """Bytes of the artifacts that a tablet does not hold yet."""
    held = {parcel.sha256 for parcel in move.before.wanted.parcels} if move.before.held else set()
    size = sum(len(parcel.body) for parcel in move.after.wanted.parcels if parcel.sha256 not in held)
    numerator, denominator = _BASE64 if move.after.platform.value == "apple" else (1, 1)
    return -(-size * numerator // denominator)


def _gaps(after: Sequence[Group]) -> list[Gap]:
    counts: dict[tuple[Platform, str, str], int] = defaultdict(int)
    for group in after:
        for place, reason in group.wanted.cannot:
            counts[group.platform, place, reason] += len(group.device_ids)
    return [Gap(*wish, tablets) for wish, tablets in sorted(counts.items())]
