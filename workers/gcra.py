"""The arithmetic of limits: meters that fill by use and run off at a rate. Pure; `throttle_script` is its twin in Lua.

It is GCRA told as a meter: where GCRA keeps the time at which a bucket would be empty, a meter keeps how full it is,
so that a new rate holds from the moment it is set. A grant is *held* until the push service has answered, and only
then begins to run off. So whatever delays a push between here and there, the push service never sees more than
rate * w + burst of one bucket in any window w: of the pushes that it saw in a window, none began to run off before
the window did, hence at the last grant among them they filled the meter but for rate * w, and a meter holds no more
than the burst. What certainly never left is let go as if it had never been asked for.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

_SLACK: Final = 1e-6
"""Levels are kept to six places."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A limit: `rate` units per second on the long run, `burst` at once. A unit is a wake-up, or a byte."""

    name: str
    rate: float
    burst: float


@dataclass(frozen=True, slots=True)
class Meter:
    """How full a bucket is: `level` was used and has not run off yet, `held` is granted and not answered yet."""

    level: float
    held: float
    at_us: float
    rate: float


@dataclass(frozen=True, slots=True)
class Slots:
    """So many places for so long: who has one keeps it until it is given back or `hold_us` have passed."""

    name: str
    places: int
    hold_us: int


@dataclass(frozen=True, slots=True)
class Ask:
    """One tablet: the first of its chains that has room in all its buckets pays, as (bucket, cost) by place."""

    chains: Sequence[Sequence[tuple[int, float]]]
    slots: int | None = None
    holder: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A batch of asks over one set of buckets."""

    buckets: Sequence[Bucket]
    slots: Sequence[Slots]
    asks: Sequence[Ask]


@dataclass(slots=True)
class Books:
    """All meters by bucket, and who holds which place until when (microseconds)."""

    meters: dict[str, Meter] = field(default_factory=dict)
    slots: dict[str, dict[str, float]] = field(default_factory=dict)


def run_off(meter: Meter | None, bucket: Bucket, now_us: float) -> Meter:
    """Return the meter as it stands now, from here on running off at the bucket's rate."""
    if meter is None:
        return Meter(0.0, 0.0, now_us, bucket.rate)
    passed = max(0.0, now_us - meter.at_us) / 1e6
    return Meter(max(0.0, meter.level - passed * meter.rate), meter.held, now_us, bucket.rate)


def room(meter: Meter, bucket: Bucket) -> float:
    """Return how many units fit now."""
    return max(0.0, bucket.burst - meter.level - meter.held)


def fits(meter: Meter, bucket: Bucket, cost: float) -> bool:
    """Say whether a cost fits now. One that is larger than the burst goes when the bucket is idle."""
    used = meter.level + meter.held
    return used + cost <= bucket.burst + _SLACK or used <= _SLACK


def wait_s(meter: Meter, bucket: Bucket, cost: float) -> float:
    """Return the seconds until a cost fits, if what is held were answered now and nothing else came."""
    return max(0.0, meter.level + meter.held - max(0.0, bucket.burst - cost)) / bucket.rate


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one ask: the chain that pays (from 1; 0 for none), or seconds to wait and the bucket to wait for, by place."""

    chain: int
    wait: float = 0.0
    bucket: int | None = None


_NO_PLACE: Final = Verdict(0, 1.0)


def decide(books: Books, asked: Asked, now_us: float) -> list[Verdict]:
    """Grant what fits, in order, all or none over a chain.

    A bucket that refused one refuses the rest of the batch, so that the small do not
    overtake the large for ever.
    """
    meters = [run_off(books.meters.get(bucket.name), bucket, now_us) for bucket in asked.buckets]
    closed: set[int] = set()
    verdicts: list[Verdict] = []
    for ask in asked.asks:
        place = _place(books, asked, ask, now_us)
        verdict = _NO_PLACE if place is None else _choose(meters, asked.buckets, ask, closed)
        if verdict.chain:
            for index, cost in ask.chains[verdict.chain - 1]:
                meters[index] = replace(meters[index], held=meters[index].held + cost)
            if place is not None and ask.slots is not None:
                place[ask.holder] = now_us + asked.slots[ask.slots].hold_us
        verdicts.append(verdict)
    books.meters.update({bucket.name: meter for bucket, meter in zip(asked.buckets, meters, strict=True)})
    return verdicts


def answered(books: Books, sent: Mapping[str, float], unsent: Mapping[str, float], now_us: float) -> None:
    """Let what was sent run off from now on, and let go of what was not, by bucket."""
    for name, meter in books.meters.items():
        passed = max(0.0, now_us - meter.at_us) / 1e6
        level = max(0.0, meter.level - passed * meter.rate) + sent.get(name, 0.0)
        held = max(0.0, meter.held - sent.get(name, 0.0) - unsent.get(name, 0.0))
        books.meters[name] = Meter(level, held, now_us, meter.rate)


def _place(books: Books, asked: Asked, ask: Ask, now_us: float) -> dict[str, float] | None:
    """Return the holders of the places this ask needs, if there is one for it; None if there is none."""
    if ask.slots is None:
        return {}
    slots = asked.slots[ask.slots]
    holders = {who: until for who, until in books.slots.get(slots.name, {}).items() if until > now_us}
    books.slots[slots.name] = holders
    return holders if ask.holder in holders or len(holders) < slots.places else None


def _choose(meters: Sequence[Meter], buckets: Sequence[Bucket], ask: Ask, closed: set[int]) -> Verdict:
    best = Verdict(0, math.inf)
    for number, chain in enumerate(ask.chains, 1):
        worst = Verdict(number)
        for index, cost in chain:
            if index in closed or not fits(meters[index], buckets[index], cost):
                wait = max(wait_s(meters[index], buckets[index], cost), 0.001)
                closed.add(index)
                if wait > worst.wait:
                    worst = Verdict(0, wait, index)
        if worst.chain:
            return worst
        if worst.wait < best.wait:
            best = worst
    return best
