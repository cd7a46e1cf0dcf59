"""From counts by day to a forecast: which days are known, what they weigh, what the shape is. Pure.

Days are numbered from the first day of a frame. Nothing here reads a table or a clock.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median
from typing import Final

from mdm.cellular.forecast import outlook
from mdm.cellular.forecast.days import ASSUMED, Cell, Kind, Shape, fit
from mdm.cellular.forecast.outlook import Forecast, Known, Missing, Past

WHOLE: Final = 0.75
"""A day is known when at least this part of the lines reported that usually do on such a day."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The days that are looked at: from `first` on, in cycles that begin at `starts`; the last of them is forecast."""

    first: date
    starts: tuple[int, ...]
    made: int
    """The day of the forecast; days before it are over."""
    end: int
    """The first day after the cycle."""

    @property
    def start(self) -> int:
        """Where the cycle begins that is forecast."""
        return self.starts[-1]

    @property
    def last_start(self) -> int:
        """Where the cycle before begins; equal to `start` when the frame has none."""
        return self.starts[-2] if len(self.starts) > 1 else self.start

    def day(self, number: int) -> date:
        """Return the date of a day."""
        return self.first + timedelta(days=number)

    def cycle_of(self) -> Mapping[date, int]:
        """Return which cycle each day is in."""
        return {self.day(number): bisect_right(self.starts, number) for number in range(self.end)}


@dataclass(frozen=True, slots=True)
class Part:
    """The lines of one school in a scope, by day: how many there were, how many reported, what they used."""

    kinds: Sequence[Kind]
    """Of every day of the frame."""
    lines: Sequence[int]
    """The same; for days to come, as many as there are now."""
    rows: Sequence[int]
    """Of the days that are over."""
    totals: Sequence[int]


@dataclass(frozen=True, slots=True)
class Outlook:
    """A forecast with what was used so far, and the shape and level (bytes on a school day) that it rests on."""

    used: int
    forecast: Forecast
    shape: Shape
    level: float


def known_days(rows: Sequence[int], lines: Sequence[int], kinds: Sequence[Kind]) -> list[bool]:
    """Say of each day that is over whether as many lines reported as usually do on such a day.

    A carrier may leave out lines that used nothing, so that fewer report on days off.
    """
    shares = [each / count if count else 0.0 for each, count in zip(rows, lines, strict=False)]
    usual = {
        kind: median(of)
        if (of := [share for share, own in zip(shares, kinds, strict=False) if own is kind and share])
        else 0.0
        for kind in Kind
    }
    return [share > 0 and share >= WHOLE * usual[kind] for share, kind in zip(shares, kinds, strict=False)]


def many(frame: Frame, parts: Sequence[Part], *, prior: Shape = ASSUMED, seed: str) -> Outlook:
    """Forecast for all lines of a scope together."""
    over = range(frame.made)
    rows = [sum(part.rows[day] for part in parts) for day in over]
    totals = [sum(part.totals[day] for part in parts) for day in over]
    lines = [sum(part.lines[day] for part in parts) for day in range(frame.end)]
    known = known_days(rows, lines, [_most(parts, day) for day in over])
    shape = fit(_cells(frame, parts, known), frame.cycle_of(), prior)
    weights = [
        sum(part.lines[day] * shape.of(part.kinds[day], frame.day(day)) for part in parts) for day in range(frame.end)
    ]

    def between(begin: int, end: int) -> list[Known]:
        return [Known(weights[day], totals[day]) for day in range(begin, end) if known[day]]

    past = Past(between(frame.start, frame.made), between(frame.last_start, frame.start))
    used = sum(totals[frame.start : frame.made])
    missing = [Missing(weights[day], totals[day]) for day in range(frame.start, frame.made) if not known[day]]
    now = lines[frame.made] if frame.made < frame.end else 0
    found = outlook.pool(used, past, missing, weights[frame.made :], lines=now, seed=seed)
    days = [*past.last, *past.current]
    weight = sum(day.weight for day in days)
    return Outlook(used, found, shape, sum(day.total for day in days) / weight if weight > 0 else 0.0)


def one(
    frame: Frame,
    weights: Sequence[float],
    totals: Mapping[int, int],
    *,
    known: Sequence[bool],
    others: float,
    seed: int,
) -> tuple[int, Forecast]:
    """Forecast for one line; return what it used and the forecast. `weights` are those of every day of the frame.

    `totals` holds the days on which it reported, `known` those on which its carrier did: not to report then is to use
    nothing. A line begins with its first report. `others` is the level of lines like it.
    """
    if not totals:
        return 0, Forecast(0, 0, 0)
    first = min(totals)

    def between(begin: int, end: int) -> list[Known]:
        return [
            Known(weights[day], totals.get(day, 0))
            for day in range(max(begin, first), end)
            if known[day] or day in totals
        ]

    past = Past(between(frame.start, frame.made), between(frame.last_start, frame.start))
    used = sum(total for day, total in totals.items() if day >= frame.start)
    begin = max(frame.start, first)
    missing = [Missing(weights[day]) for day in range(begin, frame.made) if not known[day] and day not in totals]
    return used, outlook.sim(used, past, missing, weights[frame.made :], others=others, seed=seed)


def _most(parts: Sequence[Part], day: int) -> Kind:
    counts = [0, 0, 0]
    for part in parts:
        counts[part.kinds[day]] += part.lines[day]
    return Kind(counts.index(max(counts)))


def _cells(frame: Frame, parts: Sequence[Part], known: Sequence[bool]) -> list[Cell]:
    lines: dict[tuple[int, Kind], int] = defaultdict(int)
    totals: dict[tuple[int, Kind], int] = defaultdict(int)
    for part in parts:
        for day, fine in enumerate(known):
            if fine:
                lines[day, part.kinds[day]] += part.lines[day]
                totals[day, part.kinds[day]] += part.totals[day]
    return [Cell(frame.day(day), kind, count, totals[day, kind]) for (day, kind), count in lines.items()]
