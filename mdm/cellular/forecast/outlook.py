"""The forecast itself: from days that are known and days that are to come, to three figures. Pure.

What a line uses on an ordinary school day (the level) is taken from this cycle's days, drawn towards the last cycle's
while there are few; days to come and days that are missing are that level by their weight. The band comes from
resampling how far known days were off: of the whole pool for a pool, because a day's shock hits all lines at once.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from operator import mul
from statistics import median
from typing import Final

PULL: Final = 3.0
"""The last cycle weighs as much as so many school days of all lines of a pool, a school, the fleet."""
PULL_SIM: Final = 6.0
"""The same for a single line (A3.5)."""
_DRAWS: Final = 200
_DRAWS_SIM: Final = 60
_BLOCK: Final = 5
"""Days that are resampled together: a shock lasts some days."""
_FEWEST: Final = 8
_NOTHING: Final = 1e-6
"""A weight below this is none."""
_MOST_DOUBT: Final = 0.5
_CLIP: Final = 3.0
_LEAST_CLIP: Final = 0.3
"""Days are clipped at three times the usual distance in logarithms, but never nearer than this."""
_ASSUMED_POOL: Final = tuple(exp(0.15 * z) for z in (-1.5, -1.0, -0.6, -0.3, 0.0, 0.3, 0.6, 1.0, 1.5))
_ASSUMED_SIM: Final = tuple(exp(0.9 * z) / 1.35 for z in (-1.5, -1.0, -0.6, -0.3, 0.0, 0.3, 0.6, 1.0, 1.5))
"""How far days are off, while too few are known."""


@dataclass(frozen=True, slots=True)
class Known:
    """A day that is over and known: what was used, and what it weighs (lines by the weight of the day)."""

    weight: float
    total: int


@dataclass(frozen=True, slots=True)
class Past:
    """What is known: this cycle's days, the last cycle's, the oldest first; and what a missing day has so far."""

    current: Sequence[Known]
    last: Sequence[Known]


@dataclass(frozen=True, slots=True)
class Forecast:
    """Bytes at the end of the cycle: the middle, and what one in ten is below or above."""

    p10: int
    p50: int
    p90: int


@dataclass(frozen=True, slots=True)
class Missing:
    """A day of this cycle that is not, or not wholly, known yet; its part counts as used already."""

    weight: float
    seen: int = 0


def pool(
    used: int, past: Past, missing: Sequence[Missing], coming: Sequence[float], *, lines: int, seed: str
) -> Forecast:
    """Forecast for many lines. `coming` are the weights of days to come, `lines` how many lines there are now."""
    level, doubt = _pool_level(past, lines)
    off = _residuals(past)
    ahead = [*(max(day.weight - day.seen / level, 0.0) if level else 0.0 for day in missing), *coming]
    off = off if len(off) >= _FEWEST else list(_ASSUMED_POOL)
    return _resampled(used, level, ahead, off, seen=len(past.current), doubt=doubt, seed=seed)


def _pool_level(past: Past, lines: int) -> tuple[float, float]:
    """Return bytes per line on an ordinary school day, and (as a logarithm) how far the last cycle may mislead."""
    current, last = _clipped(past.current), _clipped(past.last)
    total, weight = sum(day[1] for day in current), sum(day[0] for day in current)
    before, weight_before = sum(day[1] for day in last), sum(day[0] for day in last)
    if weight_before > _NOTHING and weight + PULL * lines > _NOTHING:
        pull = PULL * lines
        apart = (
            abs(log(total * weight_before / (before * weight)))
            if total > 0 and before > 0 and weight > _NOTHING
            else 0.0
        )
        return (total + pull * before / weight_before) / (weight + pull), min(
            pull / (weight + pull) * apart, _MOST_DOUBT
        )
    return (total / weight if weight > _NOTHING else 0.0), 0.0


def _clipped(days: Sequence[Known]) -> list[tuple[float, float]]:
    """Return weights and totals, single odd days brought back to the edge of what is usual."""
    rates = [day.total / day.weight for day in days if day.weight > _NOTHING]
    above = [log(rate) for rate in rates if rate > 0]
    if len(above) < 4:
        return [(day.weight, float(day.total)) for day in days if day.weight > _NOTHING]
    middle = median(above)
    reach = max(_CLIP * 1.4826 * median(abs(each - middle) for each in above), _LEAST_CLIP)
    low, high = exp(middle - reach), exp(middle + reach)
    return [
        (day.weight, min(max(day.total / day.weight, low), high) * day.weight) for day in days if day.weight > _NOTHING
    ]


def _residuals(past: Past) -> list[float]:
    """Return by which factor each known day was off its own cycle's level, in the order of time."""
    found: list[float] = []
    for days in (past.last, past.current):
        weight = sum(day.weight for day in days)
        level = sum(day.total for day in days) / weight if weight > _NOTHING else 0.0
        if level > 0:
            found += [day.total / (day.weight * level) for day in days if day.weight > _NOTHING]
    return found


def _resampled(
    used: int, level: float, ahead: Sequence[float], off: Sequence[float], *, seen: int, doubt: float, seed: str
) -> Forecast:
    """Draw the days to come and, because the level was estimated from as few days, the level too."""
    if not ahead or level <= 0:
        return Forecast(used, used, used)
    chance = random.Random(seed)  # noqa: S311 - statistics; the same figures give the same forecast
    rest = level * sum(ahead)
    sums: list[float] = []
    for _ in range(_DRAWS):
        days = _blocks(chance, off, len(ahead))
        sample = _blocks(chance, off, max(seen, _FEWEST // 2))
        sums.append(sum(map(mul, ahead, days)) * sum(sample) / len(sample) * exp(chance.gauss(0.0, doubt)))
    sums.sort()
    # The draws tell how wide the band is; its middle is the estimate.
    middle = sums[len(sums) // 2] or 1.0
    low, high = (min(sums[_DRAWS // 10] / middle, 1.0), max(sums[_DRAWS * 9 // 10] / middle, 1.0))
    return Forecast(used + round(rest * low), used + round(rest), used + round(rest * high))


def _blocks(chance: random.Random, off: Sequence[float], count: int) -> list[float]:
    found: list[float] = []
    doubled = [*off, *off[: _BLOCK - 1]]
    while len(found) < count:
        begin = chance.randrange(len(off))
        found += doubled[begin : begin + _BLOCK]
    return found[:count]


def sim(
    used: int, past: Past, missing: Sequence[Missing], coming: Sequence[float], *, others: float, seed: int
) -> Forecast:
    """Forecast for one line; weights are those of the days. `others`: the level of lines like it, for new ones."""
    level = _sim_level(past, others)
    if level <= 0:
        return Forecast(used, used, used)
    ahead = [*(max(day.weight - day.seen / level, 0.0) for day in missing), *coming]
    if not ahead:
        return Forecast(used, used, used)
    known = [day for day in (*past.last, *past.current) if day.weight > _NOTHING]
    rates = [day.total / day.weight for day in known]
    mean = sum(rates) / len(rates) if rates else 0.0
    off: Sequence[float] = [rate / mean for rate in rates] if mean > 0 and len(rates) >= _FEWEST else _ASSUMED_SIM
    chance = random.Random(seed)  # noqa: S311 - statistics; the same figures give the same forecast
    seen = max(round(len(past.current) + PULL_SIM), 2)
    drawn = sorted(
        sum(map(mul, ahead, chance.choices(off, k=len(ahead)))) * sum(chance.choices(off, k=seen)) / seen
        for _ in range(_DRAWS_SIM)
    )
    rest = sum(ahead)
    low, high = min(drawn[_DRAWS_SIM // 10], rest), max(drawn[_DRAWS_SIM * 9 // 10], rest)
    return Forecast(used + round(level * low), used + round(level * rest), used + round(level * high))


def _sim_level(past: Past, others: float) -> float:
    before, weight_before = float(sum(day.total for day in past.last)), sum(day.weight for day in past.last)
    # A line that is new borrows what it lacks from lines like it.
    lacking = max(5.0 - weight_before, 0.0)
    before, weight_before = before + lacking * others, weight_before + lacking
    total, weight = sum(day.total for day in past.current), sum(day.weight for day in past.current)
    return (total + PULL_SIM * before / weight_before) / (weight + PULL_SIM)
