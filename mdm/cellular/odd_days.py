"""How far a school's day is off what its days usually are. Pure: values in, values out.

Medians and their deviations, in logarithms: use is spread over orders of magnitude, and a few heavy lines must not
decide what is usual (lte-and-usage A3.6).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from math import exp, log
from statistics import median
from typing import Final

from mdm.cellular.forecast.days import Kind

NUDGE: Final = 10_000_000
"""Bytes that are added before logarithms are taken: below some megabytes nothing is unusual."""
FEWEST_DAYS: Final = 8
FEWEST_LINES: Final = 10
STEP_Z: Final = 4.0
STEP_RATIO: Final = 1.5
STEP_FLOOR: Final = 50_000_000
"""Bytes of the median line in a day."""
_LEAST_SPREAD: Final = 0.1
_WHOLE: Final = 0.5


@dataclass(frozen=True, slots=True)
class SchoolDay:
    """One day of a school: how many lines reported, and what the one in the middle used."""

    day: date
    kind: Kind
    lines: int
    median: int


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest day of a school that has come in, against the days of its kind before it."""

    day: date
    kind: Kind
    lines: int
    median: int
    usual: int | None
    """What the line in the middle usually uses on such a day; None while too few are known."""
    z: float

    @property
    def shift(self) -> float:
        """How much higher the whole school is than usual, as a logarithm; never below zero, and zero of few lines."""
        return (
            0.0 if self.usual is None or self.lines < FEWEST_LINES else max(_log(self.median) - _log(self.usual), 0.0)
        )

    @property
    def is_step(self) -> bool:
        """Whether the school as a whole uses far more than it usually does."""
        return (
            self.usual is not None and self.median >= STEP_FLOOR and self.z >= STEP_Z and self.shift >= log(STEP_RATIO)
        )


def newest(days: Sequence[SchoolDay]) -> Newest | None:
    """Judge the newest day on which at least half as many lines reported as at most; None without any day."""
    if not days:
        return None
    most = max(day.lines for day in days)
    whole = sorted((day for day in days if day.lines >= _WHOLE * most), key=lambda day: day.day)
    last = whole[-1]
    before = [_log(day.median) for day in whole[:-1] if day.kind is last.kind]
    if len(before) < FEWEST_DAYS:
        return Newest(last.day, last.kind, last.lines, last.median, None, 0.0)
    middle = median(before)
    return Newest(
        last.day,
        last.kind,
        last.lines,
        last.median,
        max(round(exp(middle)) - NUDGE, 0),
        robust_z(_log(last.median), middle, median(abs(each - middle) for each in before), least=_LEAST_SPREAD),
    )


def robust_z(value: float, middle: float, deviation: float, *, least: float) -> float:
    """Return by how many usual deviations a value lies above the median; `deviation` is the median one (MAD)."""
    return (value - middle) / max(1.4826 * deviation, least)


def _log(size: int) -> float:
    return log(size + NUDGE)
