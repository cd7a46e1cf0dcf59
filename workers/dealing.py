"""Deals what has room to the schools that wait, so that none waits for another. Asks nobody and claims nothing."""

import time
from collections.abc import Collection, Sequence
from typing import Final

from mdm.devices.models import Lane
from mdm.devices.turns import Turn
from workers.throttle import Room, Rooms

_LONGEST_S: Final = 1.0
"""No school is left out for longer: limits may have changed."""
_RACE_S: Final = 0.1
"""How long a school is left out whose tablets another worker has just taken."""

_heavy: dict[tuple[Lane, int], float] = {}
_barren: dict[tuple[Lane, int], float] = {}
"""Until when (monotonic) only what weighs nothing is claimed of a school, and nothing at all."""


def deal(lane: Lane, schools: Sequence[int], rooms: Rooms, limit: int) -> list[Turn]:
    """Deal at most `limit` wake-ups to schools in equal shares, as far as each has room; the first come first."""
    now = time.monotonic()
    left = min(limit, rooms.total)
    open_ = {
        school: rooms.schools[school].count
        for school in schools
        if left and rooms.schools[school].count > 0 and _barren.get((lane, school), 0.0) <= now
    }
    counts = dict.fromkeys(open_, 0)
    while left > 0 and (able := [school for school in open_ if counts[school] < open_[school]]):
        share = max(1, left // len(able))
        for school in able:
            more = min(share, open_[school] - counts[school], left)
            counts[school] += more
            left -= more
    return [_turn(lane, school, count, rooms.schools[school]) for school, count in counts.items() if count]


def note_heavy(lane: Lane, school: int, wait: float) -> None:
    """The next payload of this school must wait so many seconds; until then only what weighs nothing is claimed."""
    _heavy[lane, school] = time.monotonic() + min(wait, _LONGEST_S)


def note_barren(lane: Lane, dealt: Sequence[Turn], gave: Collection[int]) -> None:
    """Leave schools out for a moment that gave nothing: what waits there is too heavy now, or another worker has it.

    Else they would be dealt, again and again, what others could use.
    """
    now = time.monotonic()
    for turn in dealt:
        if turn.school_id not in gave:
            until = now + (_RACE_S if turn.below is None else _LONGEST_S)
            heavy_until = _heavy.get((lane, turn.school_id), 0.0)
            _barren[lane, turn.school_id] = heavy_until if heavy_until > now else until


def forget() -> None:
    """Forget all that was noted."""
    _heavy.clear()
    _barren.clear()


def _turn(lane: Lane, school: int, count: int, room: Room) -> Turn:
    heavy_waits = _heavy.get((lane, school), 0.0) > time.monotonic()
    return Turn(school, count, room.bytes, 1 if heavy_waits else room.below)
