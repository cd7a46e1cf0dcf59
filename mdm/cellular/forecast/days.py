"""What kind of day a day is for a school, and how much is used on each kind. Pure: values in, values out.

A shape is relative: 1 is an ordinary school day. How much a line uses on such a day is `outlook`'s part. Calendars come
from `mdm.organization`; nothing here reads a table or a clock (lte-and-usage A3.5).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import IntEnum
from typing import Final

from mdm.organization.hours import Calendar, DayKind

LONG: Final = 9
"""Days off in a row that make a vacation: a week with both its weekends, which Golden Week is not."""
_ROUNDS: Final = 5
_RATIO_DAYS: Final = 3.0
"""An assumption about a kind of day weighs as much as so many days that were seen."""
_WEEKDAY_DAYS: Final = 4.0
_ODD: Final = 2.0
"""A day's use counts as no more than so many times what was to be expected, and no less than that part of it."""


class Kind(IntEnum):
    """What a day is for the lines of a school."""

    SCHOOL = 0
    OFF = 1
    VACATION = 2


@dataclass(frozen=True, slots=True)
class Cell:
    """One day of all lines that had the same kind of day."""

    day: date
    kind: Kind
    lines: int
    total: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How much is used by kind of day and weekday (Monday first), of an ordinary school day."""

    table: tuple[tuple[float, ...], ...]

    def of(self, kind: Kind, day: date) -> float:
        """Return the weight of a day."""
        return self.table[kind][day.weekday()]


ASSUMED: Final = Shape(tuple((ratio,) * 7 for ratio in (1.0, 0.35, 0.35)))
"""Before anything was seen: days off have about a third (A3.5)."""


def kinds(calendar: Calendar, first: date, last: date) -> list[Kind]:
    """Return the kind of each day from the first to the last."""
    days = [first + timedelta(days=n) for n in range(-LONG, (last - first).days + LONG + 1)]
    off = [calendar.kind_of(day) is DayKind.OFF for day in days]
    found = [Kind.OFF if each else Kind.SCHOOL for each in off]
    begin = 0
    for n in range(len(days) + 1):
        if n < len(days) and off[n]:
            continue
        if n - begin >= LONG:
            found[begin:n] = [Kind.VACATION] * (n - begin)
        begin = n + 1
    return found[LONG:-LONG]


def fit(cells: Sequence[Cell], cycle_of: Mapping[date, int], prior: Shape = ASSUMED) -> Shape:
    """Learn a shape from days that are known; what was hardly seen stays near the prior.

    Cycles may lie on different levels (`cycle_of` tells them apart); single odd days are clipped.
    """
    seen = [cell for cell in cells if cell.lines > 0]
    if not seen or not any(cell.total for cell in seen):
        return prior
    usual = sum(cell.lines for cell in seen) / len({cell.day for cell in seen})
    ratios = [sum(row) / 7 for row in prior.table]
    factors = [[weight / ratio for weight in row] for row, ratio in zip(prior.table, ratios, strict=True)]
    assumed = [list(row) for row in factors]
    start = list(ratios)
    for _ in range(_ROUNDS):
        # A vacation that was not seen yet is taken to be to days off as it was assumed to be.
        start[Kind.VACATION] = ratios[Kind.OFF] * sum(prior.table[Kind.VACATION]) / sum(prior.table[Kind.OFF])
        expected = [cell.lines * ratios[cell.kind] * factors[cell.kind][cell.day.weekday()] for cell in seen]
        levels = _levels(seen, expected, cycle_of)
        shares = []
        for cell, weight in zip(seen, expected, strict=True):
            hoped = weight * levels[cycle_of[cell.day]]
            shares.append(min(max(cell.total / hoped, 1 / _ODD), _ODD) if hoped > 0 else 1.0)
        ratios = [_pulled(ratios[kind], start[kind], _RATIO_DAYS, usual, _of(seen, shares, kind=kind)) for kind in Kind]
        factors = [
            [
                _pulled(factors[kind][day], assumed[kind][day], _WEEKDAY_DAYS, usual, _of(seen, shares, kind, day))
                for day in range(7)
            ]
            for kind in Kind
        ]
    return Shape(
        tuple(tuple(ratio * each for each in row) for ratio, row in zip(ratios, factors, strict=True)),
    )


def _levels(seen: Sequence[Cell], expected: Sequence[float], cycle_of: Mapping[date, int]) -> Mapping[int, float]:
    totals: dict[int, float] = defaultdict(float)
    weights: dict[int, float] = defaultdict(float)
    for cell, weight in zip(seen, expected, strict=True):
        totals[cycle_of[cell.day]] += cell.total
        weights[cycle_of[cell.day]] += weight
    return {cycle: totals[cycle] / weight for cycle, weight in weights.items()}


def _of(
    seen: Sequence[Cell], shares: Sequence[float], kind: Kind, weekday: int | None = None
) -> Iterable[tuple[int, float]]:
    return (
        (cell.lines, share)
        for cell, share in zip(seen, shares, strict=True)
        if cell.kind is kind and weekday in (None, cell.day.weekday())
    )


def _pulled(now: float, assumed: float, days: float, usual: float, seen: Iterable[tuple[int, float]]) -> float:
    """Return `now` corrected by what was seen, between the two by how many line-days that was."""
    lines, share = 0.0, 0.0
    for each, of in seen:
        lines += each
        share += each * of
    weight = days * usual
    return (now * share + assumed * weight) / (lines + weight)
