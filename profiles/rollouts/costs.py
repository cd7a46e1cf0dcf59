"""What a rollout will cost, said before it starts: bytes, the busiest school, the share of the pool, when it is done.

Pure: loads, limits and hours in, an estimate out. It reads no table and no clock, and decides nothing: who may start
what is for the gate. What it leaves out stands at `estimate`.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from mdm.limits import bands
from mdm.limits.limits import Limits
from mdm.limits.values import ByteRate, Name
from mdm.organization.hours import Calendar
from mdm.platform import Platform
from profiles.rollouts.windows import Open, Schedule, open_time

HORIZON: Final = timedelta(days=60)
"""What is not done by then has no finishing time."""
TABLET_BYTES_PER_S: Final = 1_000_000
"""How fast one tablet is taken to fetch something big, 8 Mbit/s: it decides how long it holds a place to download."""
GB: Final = 10**9
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_WEEK_MINUTES: Final = 7 * 24 * 60
_MINUTE_S: Final = 60


@dataclass(frozen=True, slots=True)
class Load:
    """Tablets of one school and platform that fetch the same: how many, and bytes for each."""

    school_id: int
    school: str
    """Its code."""
    platform: Platform
    tablets: int
    bytes_each: int


class Chain(StrEnum):
    """What a rollout waits for longest."""

    SCHEDULE = "the schedule and class hours"
    SPREAD = "the spread"
    FLEET = "the fleet's wake-ups"
    PROVIDER = "the push service's wake-ups"
    SCHOOL = "a school's wake-ups"
    BYTES = "a school's bytes"
    DOWNLOADS = "a school's big downloads"


@dataclass(frozen=True, slots=True)
class Busiest:
    """The school that fetches most."""

    school: str
    tablets: int
    bytes: int
    hours: float | None
    """Hours of open time until its own limits have let everything through; None: not within 60 days."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The estimate."""

    tablets: int
    bytes: int
    gb: float
    """GB are 10^9 bytes, as carriers sell them."""
    busiest: Busiest | None
    pool_share: float | None
    """Of the month's pool, 1.0 for all of it; None where no pool is set."""
    finishes_at: datetime | None
    """None: not within 60 days, or not before the schedule's end."""
    limited_by: Chain | None
    """What the last school waits for longest; None without any tablet."""
    gate: tuple[str, ...]
    """Why a second operator must approve, in sentences; empty: nobody must."""


def estimate(
    loads: Iterable[Load],
    limits: Limits,
    schedule: Schedule,
    calendars: Mapping[int, Calendar],
    *,
    after: datetime,
) -> Cost:
    """Estimate what these loads cost under these limits, from `after` (aware) on; `calendars` by school id.

    Each link of the chain (fleet, provider, school in wake-ups, bytes and big downloads, spread) is taken alone over
    the open time of each school, and the slowest counts. The fleet's and the provider's wake-ups are taken to be spent
    on all tablets while that school is open: exact where schools have the same hours, cautious where not.

    It ignores tablets that are off (they come when they come, and their slots are planned anew), bursts, retries, other
    rollouts and urgent work, waits between waves, what tablets hold already, and how long the last tablet installs.
    """
    given = [load for load in loads if load.tablets > 0]
    total = sum(load.tablets * load.bytes_each for load in given)
    schools = [_School(group, limits) for group in _by_school(given)]
    opens = _opens(schedule, calendars, {school.id for school in schools}, after)
    ends = [_last(school, given, limits, schedule, opens[school.id]) for school in schools]
    last = max(ends, key=lambda end: end[0], default=None)
    return Cost(
        tablets=sum(load.tablets for load in given),
        bytes=total,
        gb=total / GB,
        busiest=_busiest(schools, opens),
        pool_share=total / (limits.pool_gb * GB) if limits.pool_gb else None,
        finishes_at=after if last is None else _moment(last[0]),
        limited_by=None if last is None else last[1],
        gate=_gate(total, limits),
    )


class _School:
    """One school's loads and its own limits, as open time that each link of its chain needs."""

    def __init__(self, loads: Sequence[Load], limits: Limits) -> None:
        self.id, self.code = loads[0].school_id, loads[0].school
        self.platforms = {load.platform for load in loads}
        self.tablets = sum(load.tablets for load in loads)
        self.bytes = sum(load.tablets * load.bytes_each for load in loads)
        self.byte_rate = limits.school_bytes(self.id)
        self.wake_up_s = _over(self.tablets, limits.school(self.id).per_s)
        self.download_s = self._download_s(loads, limits)

    def _download_s(self, loads: Sequence[Load], limits: Limits) -> float:
        """Seconds in which all big downloads have had a place; one that is never heard of gives its place back."""
        rule = limits.school_downloads(self.id)
        if not rule.at_once:
            return 0.0
        longest = rule.minutes * _MINUTE_S
        held = (
            load.tablets * min(longest, load.bytes_each / TABLET_BYTES_PER_S)
            for load in loads
            if load.bytes_each >= rule.big_from_bytes
        )
        return sum(held) / rule.at_once

    def own_links(self, opens: Sequence[Open]) -> Iterator[tuple[float, Chain]]:
        """When each of its own limits has let everything through, in seconds since 1970; infinite: never."""
        yield _after(opens, self.wake_up_s), Chain.SCHOOL
        yield _after_bytes(opens, self.byte_rate, self.bytes), Chain.BYTES
        yield _after(opens, self.download_s), Chain.DOWNLOADS


def _last(
    school: _School, loads: Sequence[Load], limits: Limits, schedule: Schedule, opens: Sequence[Open]
) -> tuple[float, Chain]:
    """When the last tablet of a school is reached, and by which link; on a tie the one that comes first is named."""
    links = [
        (_after(opens, 0.0), Chain.SCHEDULE),
        (_after_spread(opens, schedule.spread_s), Chain.SPREAD),
        (_after(opens, _over(sum(load.tablets for load in loads), limits.rate(Name.FLEET).per_s)), Chain.FLEET),
    ]
    for platform in sorted(school.platforms):
        tablets = sum(load.tablets for load in loads if load.platform is platform)
        links.append((_after(opens, _over(tablets, limits.provider(platform).per_s)), Chain.PROVIDER))
    links += school.own_links(opens)
    return max(links, key=lambda link: link[0])


def _by_school(loads: Iterable[Load]) -> Iterator[Sequence[Load]]:
    groups: dict[int, list[Load]] = {}
    for load in loads:
        groups.setdefault(load.school_id, []).append(load)
    yield from groups.values()


def _opens(
    schedule: Schedule, calendars: Mapping[int, Calendar], school_ids: Iterable[int], after: datetime
) -> dict[int, tuple[Open, ...]]:
    """The open time of each school; schools of one calendar share it."""
    found: dict[Calendar, tuple[Open, ...]] = {}
    opens: dict[int, tuple[Open, ...]] = {}
    for school_id in school_ids:
        calendar = calendars.get(school_id, Calendar())
        if calendar not in found:
            every = open_time(schedule, calendar, after, horizon=HORIZON)
            found[calendar] = tuple(_ended(each) for each in every if each.usable != 0)
        opens[school_id] = found[calendar]
    return opens


def _ended(each: Open) -> Open:
    """An interval without end, ended at the horizon: nothing walks on for ever."""
    return each if each.end is not None else replace(each, end=each.start + HORIZON // timedelta(milliseconds=1))


def _over(tablets: int, per_s: float) -> float:
    return tablets / per_s if per_s > 0 else 0.0


def _after(opens: Sequence[Open], need_s: float) -> float:
    """The moment at which so many seconds of open time are over."""
    for each in opens:
        start, end = _span(each)
        if need_s <= end - start:
            return start + need_s
        need_s -= end - start
    return math.inf


def _after_spread(opens: Sequence[Open], spread_s: float) -> float:
    """The moment by which the last tablet is due: the spread counts the time in which tablets are made due."""
    moment = math.inf
    for each in opens:
        usable = (each.usable or 0) / 1000
        moment = each.start / 1000 + min(spread_s, usable)
        if spread_s <= usable:
            return moment
        spread_s -= usable
    return moment  # a spread longer than the open time is planned over what there is


def _after_bytes(opens: Sequence[Open], rate: ByteRate, need: float) -> float:
    """The moment at which a school's bands have let so many bytes through."""
    borders = sorted(
        {minute for name in rate.bands if name != "else" for span in bands.parse(name).spans for minute in span}
    )
    for each in opens:
        start, end = _span(each)
        while start < end:
            minute = bands.minute_of_week(start)
            per_s, until = rate.at(minute)[0], min(end, _next_border(start, minute, borders))
            if per_s <= 0 or need <= per_s * (until - start):
                return start if per_s <= 0 else min(until, start + need / per_s)
            need -= per_s * (until - start)
            start = until
    return math.inf


def _next_border(moment: float, minute: int, borders: Sequence[int]) -> float:
    """The next moment at which another band may begin; `minute` is the moment's minute of the week."""
    if not borders:
        return math.inf
    following = next((border for border in borders if border > minute), borders[0] + _WEEK_MINUTES)
    return (moment // _MINUTE_S + following - minute) * _MINUTE_S


def _span(each: Open) -> tuple[float, float]:
    assert each.end is not None
    return each.start / 1000, each.end / 1000


def _busiest(schools: Iterable[_School], opens: Mapping[int, Sequence[Open]]) -> Busiest | None:
    school = max(schools, key=lambda each: (each.bytes, each.tablets), default=None)
    if school is None:
        return None
    done = max(moment for moment, _ in school.own_links(opens[school.id]))
    passed = sum(max(0.0, min(end, done) - start) for start, end in map(_span, opens[school.id]))
    return Busiest(school.code, school.tablets, school.bytes, None if done == math.inf else passed / 3600)


def _gate(total: int, limits: Limits) -> tuple[str, ...]:
    reasons = []
    if total > limits.gate_gb * GB:
        reasons.append(f"it is {total / GB:,.2f} GB, and more than {limits.gate_gb:,g} GB need a second operator")
    if limits.pool_gb is not None and total > limits.pool_gb * GB:
        reasons.append(f"it is {total / GB:,.2f} GB, and the pool has {limits.pool_gb:,g} GB")
    return tuple(reasons)


def _moment(seconds: float) -> datetime | None:
    return None if seconds == math.inf else _EPOCH + timedelta(milliseconds=math.ceil(seconds * 1000))
