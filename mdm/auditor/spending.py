"""Count what left against the thresholds that held at that time: pure arithmetic, with no budget entry believed."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
LIMITS: Final = (
    ("a.operator.hour", _HOUR, "people"),
    ("a.operator.day", _DAY, "people"),
    ("a.school.hour", _HOUR, "school"),
    ("a.fleet.hour", _HOUR, "fleet"),
    ("a.fleet.day", _DAY, "fleet"),
)
"""The thresholds of class A (operations.md §2.3), and what each counts together."""


@dataclass(frozen=True, slots=True)
class Departure:
    """A command of class A that left, outside of any campaign."""

    command_id: UUID
    at: datetime
    school_id: int
    people: frozenset[int]
    """Who asked and who signed."""


class Thresholds:
    """What held when."""

    def __init__(self, first: Mapping[str, int], history: Iterable[tuple[str, datetime, int]]) -> None:
        """Take the first values, and what was set since: name, moment, value, in the order of setting."""
        self._first = first
        self._set: dict[str, list[tuple[datetime, int]]] = defaultdict(list)
        for name, at, value in history:
            self._set[name].append((at, value))

    def at(self, name: str, moment: datetime) -> int:
        """Return the value that held at a moment."""
        lines = self._set.get(name, [])
        place = bisect_right(lines, moment, key=lambda line: line[0])
        return lines[place - 1][1] if place else self._first[name]


def over_budget(departures: Sequence[Departure], thresholds: Thresholds) -> set[UUID]:
    """Return the commands that left although their hour or day was full for an operator, a school, or the fleet."""
    found: set[UUID] = set()
    ordered = sorted(departures, key=lambda each: each.at)
    for name, window, together in LIMITS:
        groups: dict[int, list[Departure]] = defaultdict(list)
        for each in ordered:
            for group in _groups(each, together):
                groups[group].append(each)
        for members in groups.values():
            moments = [each.at for each in members]
            for index, each in enumerate(members):
                counted = index + 1 - bisect_right(moments, each.at - window)
                if counted > thresholds.at(name, each.at):
                    found.add(each.command_id)
    return found


def _groups(departure: Departure, together: str) -> Iterable[int]:
    match together:
        case "people":
            return departure.people
        case "school":
            return (departure.school_id,)
        case _:
            return (0,)
