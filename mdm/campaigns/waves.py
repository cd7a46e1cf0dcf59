"""How many wipes of a campaign may leave now, and whether the next wave may follow the former. Pure arithmetic.

A wave is what left without an hour's pause between two wipes. It holds no more than its size; after it the campaign
rests for an hour, so that no hour ever sees more than one wave. The size grows only after a wave that was full:
10, then 100, then 500 (operations.md §2.3, point 6).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

HOUR: Final = timedelta(hours=1)
FEWEST: Final = 3
"""Fewer failures than this stop nothing: one of ten is no pattern."""
_ANSWERED: Final = 0.9
"""The share of what left that must have answered before more may follow."""

Sizes = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Room:
    """What a campaign may do now."""

    wave: int
    """From 1."""
    size: int
    free: int
    """How many more may leave now."""
    fresh: bool
    """The next wipe would begin a wave: the former one's results are asked for first."""


def room(left: Sequence[datetime], now: datetime, sizes: Sizes, *, others: int = 0) -> Room:
    """Return what may leave; `left` says when this campaign's wipes left, `others` how many of others left in an hour.

    What leaves of several campaigns at once shares the size.
    """
    waves = _waves(sorted(left))
    full = 0
    for wave in waves[:-1]:
        full += len(wave) >= sizes[min(full, 2)]
    if not waves:
        return Room(1, sizes[0], max(0, sizes[0] - others), fresh=True)
    last = waves[-1]
    size = sizes[min(full, 2)]
    if now - last[-1] < HOUR:
        return Room(len(waves), size, max(0, size - len(last) - others), fresh=False)
    size = sizes[min(full + (len(last) >= size), 2)]
    return Room(len(waves) + 1, size, max(0, size - others), fresh=True)


def _waves(left: Sequence[datetime]) -> list[list[datetime]]:
    """Part moments, in their order, wherever an hour or more lies between two."""
    waves: list[list[datetime]] = []
    for moment in left:
        if waves and moment - waves[-1][-1] < HOUR:
            waves[-1].append(moment)
        else:
            waves.append([moment])
    return waves


@dataclass(frozen=True, slots=True)
class Results:
    """What became of the wipes that left."""

    done: int
    failed: int
    """With those that ran out unanswered."""
    open: int


class Verdict(StrEnum):
    """What the results say."""

    GO_ON = "go_on"
    WAIT = "wait"
    """Too few have answered."""
    STOP = "stop"
    """Too many failed."""


def judge(results: Results, *, percent: int, tolerated: int = 0) -> Verdict:
    """Return what the results say; failures up to `tolerated` have been looked at by somebody."""
    left = results.done + results.failed + results.open
    fresh = results.failed - tolerated
    if fresh >= FEWEST and fresh * 100 > percent * left:
        return Verdict.STOP
    return Verdict.GO_ON if results.done + results.failed >= _ANSWERED * left else Verdict.WAIT
