"""Three pretend districts whose use of data is not what the forecast was designed on. They know nothing of it.

`weekdays`: a week of its own (short Wednesdays, heavy Fridays, lessons on some Saturdays that no calendar knows), days
off nearly without use, unplanned closures, a level that wanders, gamma-distributed days of which lines without use
leave no row.
`shocks`: days off with more use than school days, a few lines that use most of it, in half of the cases a step to a new
level, a day on which everybody fetches an update, one to three days that do not come in and one that comes in half, new
lines, and a school that is closed for a week.
`terms`: vacations with much more use than weekends, a week of examinations in each month that no calendar knows, use
that grows by a twelfth in a month, days that are each like the one before, and two days of no service at all.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

SCHOOLS: Final = 6
_LINES: Final = 40

VACATIONS: Final = (
    (date(2026, 3, 25), date(2026, 4, 6), "春季休業"),
    (date(2026, 4, 29), date(2026, 4, 29), "昭和の日"),
    (date(2026, 5, 3), date(2026, 5, 6), "連休"),
    (date(2026, 7, 18), date(2026, 8, 30), "夏季休業"),
    (date(2026, 9, 21), date(2026, 9, 23), "連休"),
    (date(2026, 10, 9), date(2026, 10, 13), "秋季休業"),
    (date(2026, 11, 3), date(2026, 11, 3), "文化の日"),
    (date(2026, 11, 23), date(2026, 11, 23), "勤労感謝の日"),
    (date(2026, 12, 25), date(2027, 1, 7), "冬季休業"),
)
"""What the district has written into its calendar; both ends included."""


@dataclass(frozen=True, slots=True)
class World:
    """Bytes by day, school and line: what was truly used, and which of it had come in when the forecast was made."""

    days: Mapping[date, Mapping[tuple[int, int], int]]
    absent: frozenset[tuple[date, int]]
    """Days that have not come in yet, by school."""


def _closed(day: date) -> bool:
    return any(first <= day <= last for first, last, _ in VACATIONS)


def weekdays(seed: int, first: date, last: date, _made: date) -> World:
    """Return a world in which the week is not what weeks usually are."""
    chance = random.Random(f"weekdays {seed}")  # noqa: S311 - pretend districts
    usual = {
        (school, line): 2.2e8 * chance.gammavariate(1.4, 0.7) for school in range(SCHOOLS) for line in range(_LINES)
    }
    of_week = (0.8, 1.0, 0.55, 1.05, 1.6, 0.08, 0.05)
    closures = {first + timedelta(days=chance.randrange((last - first).days)) for _ in range(4)}
    level = 1.0
    days: dict[date, dict[tuple[int, int], int]] = {}
    for day in (first + timedelta(days=n) for n in range((last - first).days + 1)):
        level *= 1 + chance.gauss(0, 0.015)
        at_school = day.weekday() < 5 and not _closed(day) and day not in closures
        if day.weekday() == 5 and day.day <= 14 and not _closed(day):
            weight = 0.5
        else:
            weight = of_week[day.weekday()] if at_school else 0.1
        weight *= level * chance.gammavariate(40, 1 / 40)
        active = 0.9 if at_school else 0.5
        days[day] = {
            key: round(own * weight * chance.gammavariate(0.9, 1.1))
            for key, own in usual.items()
            if chance.random() < active
        }
    return World(days, frozenset())


def shocks(seed: int, first: date, last: date, made: date) -> World:
    """Return a world in which something happens."""
    chance = random.Random(f"shocks {seed}")  # noqa: S311 - pretend districts
    usual = {(school, line): 6e7 * chance.paretovariate(1.3) for school in range(SCHOOLS) for line in range(_LINES)}
    begins = {key: first if chance.random() < 0.95 else made - timedelta(days=chance.randrange(60)) for key in usual}
    step_on = made - timedelta(days=chance.randrange(45)) if chance.random() < 0.5 else last + timedelta(days=1)
    step, update = chance.uniform(0.7, 1.6), made - timedelta(days=chance.randrange(1, 40))
    ill = chance.randrange(SCHOOLS), made - timedelta(days=chance.randrange(30))
    days: dict[date, dict[tuple[int, int], int]] = {}
    for day in (first + timedelta(days=n) for n in range((last - first).days + 1)):
        off = day.weekday() >= 5 or _closed(day)
        weight = (1.35 if off else 1.0) * (step if day >= step_on else 1.0) * (3.0 if day == update else 1.0)
        weight *= chance.lognormvariate(0, 0.12)
        days[day] = {}
        for key, own in usual.items():
            if day < begins[key]:
                continue
            at_home = key[0] == ill[0] and 0 <= (day - ill[1]).days < 7 and not off
            days[day][key] = round(
                min(own, 4e9) * weight * (1.5 if at_home else 1.0) * chance.lognormvariate(-0.5, 1.0)
            )
    gone = chance.sample(range(1, 10), chance.randint(1, 3))
    absent = {(made - timedelta(days=n), school) for n in gone for school in range(SCHOOLS)}
    half = made - timedelta(days=chance.randrange(1, 10))
    absent |= {(half, school) for school in range(SCHOOLS // 2)}
    return World(days, frozenset(absent))


def terms(seed: int, first: date, last: date, made: date) -> World:
    """Return a world in which vacations are no weekends."""
    chance = random.Random(f"terms {seed}")  # noqa: S311 - pretend districts
    usual = {(school, line): 1e8 * chance.weibullvariate(1, 0.8) for school in range(SCHOOLS) for line in range(_LINES)}
    examination, outage = chance.randrange(1, 22), made - timedelta(days=chance.randrange(1, 60))
    mood = 0.0
    days: dict[date, dict[tuple[int, int], int]] = {}
    for day in (first + timedelta(days=n) for n in range((last - first).days + 1)):
        mood = 0.7 * mood + chance.gauss(0, 0.1)
        vacation = any(begin <= day <= end and (end - begin).days >= 7 for begin, end, _ in VACATIONS)
        if vacation:
            weight = 0.65
        elif day.weekday() >= 5 or _closed(day):
            weight = 0.2
        else:
            weight = 0.7 if examination <= day.day < examination + 7 else 1.0
        weight *= (1 + mood) * 1.083 ** ((day - first).days / 30)
        served = not 0 <= (day - outage).days < 2
        days[day] = {
            key: round(own * max(weight, 0.05) * chance.expovariate(1)) if served else 0 for key, own in usual.items()
        }
    return World(days, frozenset())


WORLDS: Final[Mapping[str, Callable[[int, date, date, date], World]]] = {
    "weekdays": weekdays,
    "shocks": shocks,
    "terms": terms,
}
