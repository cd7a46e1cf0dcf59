"""How good the forecast is in pretended districts that it was not designed on (`bench/usage_worlds.py`). No clock.

For every seed (half of them with cycles from the 1st, half from the 20th) and seven months of a year, a pool of 240
lines in six schools is forecast on days 5, 10 and 20 of its cycle by `mdm.cellular.forecast.weighing`, the code of the
nightly job, and compared with what the cycle truly comes to. Beside it two simple ways, with the same figures at hand:
going on straight at the mean of the days that have come in, and saying that it will be as in the last cycle. Which
method was frozen before which district was written stands in docs/forecast.md.

`forecast_error_<world>` is the median error of the forecast on day 10 (the bar is 0.10). `forecast_vs_run_rate_…` and
`forecast_vs_last_cycle_…` are that error over theirs (the bar is 1). `forecast_inside_…`: how many cycles ended between
p10 and p90; 0.8 would be right. `forecast_lost_…`: in how many of the months one of the simple ways had the smaller
median. `forecast_sim_error_…`: the median over single lines.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from statistics import median
from typing import Final

from bench.usage_worlds import SCHOOLS, VACATIONS, WORLDS, World
from mdm.cellular import cycles
from mdm.cellular.forecast.days import kinds
from mdm.cellular.forecast.series import BACK, frame_of
from mdm.cellular.forecast.weighing import Frame, Part, known_days, many, one
from mdm.organization.hours import Calendar, Closed

SEEDS: Final = 60
MONTHS: Final = (5, 6, 7, 9, 10, 11, 12)
DAYS: Final = (5, 10, 20)
BAR_DAY: Final = 10
_LINES: Final = 20
"""Single lines that are looked at in each case."""
_CALENDAR: Final = Calendar(closed=tuple(Closed(*each) for each in VACATIONS))


class Errors:
    """The errors of many cases of one world, by day and month."""

    def __init__(self) -> None:
        self.found: dict[tuple[int, int], list[tuple[float, float, float]]] = defaultdict(list)
        """Of the forecast, of going on straight, and of the last cycle."""
        self.inside: dict[int, list[bool]] = defaultdict(list)
        self.sims: list[float] = []

    def of_day(self, day: int, which: int) -> float:
        """Return the median error of one way on a day of the cycle."""
        return median(case[which] for (on, _), cases in self.found.items() if on == day for case in cases)

    def lost(self, day: int) -> list[int]:
        """Return the months in which a simple way had the smaller median."""
        medians = {
            month: [median(case[which] for case in cases) for which in range(3)]
            for (on, month), cases in self.found.items()
            if on == day
        }
        return sorted(month for month, (own, straight, last) in medians.items() if own > min(straight, last))


def measure(*, seeds: int = SEEDS) -> dict[str, float]:
    """Return errors, ratios and coverage of each world."""
    figures: dict[str, float] = {}
    for name in WORLDS:
        errors = look(name, seeds=seeds)
        for day in DAYS:
            own, straight, last = (errors.of_day(day, which) for which in range(3))
            suffix = name if day == BAR_DAY else f"{name}_day{day}"
            figures[f"forecast_error_{suffix}"] = round(own, 4)
            figures[f"forecast_vs_run_rate_{suffix}"] = round(own / straight, 3)
            figures[f"forecast_vs_last_cycle_{suffix}"] = round(own / last, 3)
            figures[f"forecast_inside_{suffix}"] = round(sum(errors.inside[day]) / len(errors.inside[day]), 3)
        figures[f"forecast_lost_{name}"] = round(len(errors.lost(BAR_DAY)) / len(MONTHS), 3)
        figures[f"forecast_sim_error_{name}"] = round(median(errors.sims), 4)
    return figures


def look(name: str, *, seeds: int, days: Sequence[int] = DAYS) -> Errors:
    """Forecast every case of a world."""
    errors = Errors()
    for seed in range(seeds):
        for month in MONTHS:
            anchor = 20 if seed % 2 else 1
            cycle = cycles.of_day(date(2026, month, anchor), anchor)
            for day in days:
                made = cycle.start + timedelta(days=day)
                world = WORLDS[name](seed * 100 + month, made - timedelta(days=BACK), cycle.end, made)
                _case(errors, world, cycle, frame_of(made, anchor), month)
    return errors


def _case(errors: Errors, world: World, cycle: cycles.Cycle, frame: Frame, month: int) -> None:
    day = frame.made - frame.start
    parts = [_part(world, frame, school) for school in range(SCHOOLS)]
    found = many(frame, parts, seed=f"{month} {day}").forecast
    actual = sum(sum(world.days[each].values()) for each in _span(cycle.start, cycle.end))
    seen = [sum(part.totals[number] for part in parts) for number in range(frame.made)]
    now, before = seen[frame.start :], seen[frame.last_start : frame.start]
    straight = sum(now) / max(sum(map(bool, now)), 1) * cycle.days
    last = sum(before) / max(sum(map(bool, before)), 1) * len(before)
    error = abs(found.p50 / actual - 1), abs(straight / actual - 1), abs(last / actual - 1)
    errors.found[day, month].append(error)
    errors.inside[day].append(found.p10 <= actual <= found.p90)
    if day == BAR_DAY:
        errors.sims += _sims(world, frame, parts[0], cycle)


def _part(world: World, frame: Frame, school: int) -> Part:
    begins: dict[tuple[int, int], int] = {}
    rows, totals = [0] * frame.made, [0] * frame.made
    for number in range(frame.made):
        day = frame.day(number)
        if (day, school) in world.absent:
            continue
        for key, size in world.days[day].items():
            if key[0] == school:
                begins.setdefault(key, number)
                rows[number] += 1
                totals[number] += size
    lines = [sum(begin <= number for begin in begins.values()) for number in range(frame.end)]
    return Part(kinds(_CALENDAR, frame.first, frame.day(frame.end - 1)), lines, rows, totals)


def _sims(world: World, frame: Frame, part: Part, cycle: cycles.Cycle) -> list[float]:
    shape = many(frame, [part], seed="").shape
    weights = [shape.of(kind, frame.day(number)) for number, kind in enumerate(part.kinds)]
    known = known_days(part.rows, part.lines, part.kinds)
    errors = []
    for line in range(_LINES):
        key = (0, line)
        totals = {
            number: world.days[frame.day(number)][key]
            for number in range(frame.last_start, frame.made)
            if (frame.day(number), 0) not in world.absent and key in world.days[frame.day(number)]
        }
        actual = sum(_of(world.days[day], key) for day in _span(cycle.start, cycle.end))
        _, found = one(frame, weights, totals, known=known, others=0.0, seed=line)
        if actual:
            errors.append(abs(found.p50 / actual - 1))
    return errors


def _of(day: Mapping[tuple[int, int], int], key: tuple[int, int]) -> int:
    return day.get(key, 0)


def _span(first: date, end: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((end - first).days)]


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
