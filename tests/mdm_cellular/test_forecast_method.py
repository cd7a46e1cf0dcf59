"""The forecast's pure parts: kinds of days, shapes, three figures; against a world made for it, and odd input."""

import random
from datetime import date, timedelta
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.forecast import look
from bench.usage_worlds import WORLDS
from mdm.cellular.forecast import outlook
from mdm.cellular.forecast.days import ASSUMED, Cell, Kind, fit, kinds
from mdm.cellular.forecast.outlook import Known, Missing, Past
from mdm.organization.hours import Calendar, Closed

CLOSED = [
    ("2026-04-29", "2026-04-29"),
    ("2026-05-03", "2026-05-06"),
    ("2026-07-20", "2026-08-31"),
    ("2026-12-24", "2027-01-07"),
]
DISTRICT = Calendar(closed=tuple(Closed(date.fromisoformat(a), date.fromisoformat(b), "") for a, b in CLOSED))


def days(first, count):
    return [first + timedelta(days=n) for n in range(count)]


@pytest.mark.parametrize(
    ("day", "kind"),
    [
        ("2026-05-01", Kind.SCHOOL),
        ("2026-05-02", Kind.OFF),
        ("2026-05-06", Kind.OFF),
        ("2026-05-07", Kind.SCHOOL),
        ("2026-07-17", Kind.SCHOOL),
        ("2026-07-18", Kind.VACATION),
        ("2026-08-31", Kind.VACATION),
        ("2026-09-01", Kind.SCHOOL),
        ("2027-01-07", Kind.VACATION),
    ],
)
def test_kinds_of_days(day, kind) -> None:
    """A weekend at the edge of a vacation belongs to it; Golden Week is days off; the window does not matter."""
    day = date.fromisoformat(day)
    assert kinds(DISTRICT, day, day) == [kind]
    assert kinds(DISTRICT, day - timedelta(days=40), day + timedelta(days=40))[40] is kind


def test_a_shape_is_learned_across_levels() -> None:
    """Ratios and weekdays are found although the second cycle lies twice as high and one day is ten times too big."""
    span = days(date(2026, 5, 1), 61)
    true = {Kind.SCHOOL: 1.0, Kind.OFF: 0.2, Kind.VACATION: 0.2}
    cells = []
    for day, kind in zip(span, kinds(DISTRICT, span[0], span[-1]), strict=True):
        weight = true[kind] * (1.5 if day.weekday() == 2 and kind is Kind.SCHOOL else 1.0) * day.month
        cells.append(Cell(day, kind, 100, round(1e9 * weight * (10 if day == date(2026, 6, 9) else 1))))
    shape = fit(cells, {day: day.month for day in span})
    of = shape.of
    assert of(Kind.OFF, date(2026, 6, 7)) / of(Kind.SCHOOL, date(2026, 6, 5)) == pytest.approx(0.2, rel=0.25)
    assert of(Kind.SCHOOL, date(2026, 6, 10)) / of(Kind.SCHOOL, date(2026, 6, 5)) == pytest.approx(1.5, rel=0.2)


def test_nothing_seen_is_what_is_assumed() -> None:
    """Without a line, and without a byte, the assumption stands."""
    assert fit([], {}) is ASSUMED
    assert fit([Cell(date(2026, 6, 1), Kind.SCHOOL, 9, 0)], {date(2026, 6, 1): 0}) is ASSUMED


def world(seed, first, end, lines=60):
    """Return each line's bytes by day in a world such as A3.5 describes: log-normal lines, days and months."""
    chance = random.Random(seed)
    usual = [140e6 * chance.lognormvariate(0, 0.8) for _ in range(lines)]
    levels: dict[int, float] = {}
    made = {}
    span = days(first, (end - first).days)
    for day, kind in zip(span, kinds(DISTRICT, span[0], span[-1]), strict=True):
        level = levels.setdefault(day.month, chance.lognormvariate(0, 0.1)) * chance.lognormvariate(0, 0.15)
        level *= 1.0 if kind is Kind.SCHOOL else 0.35
        made[day] = (kind, [round(each * level * chance.lognormvariate(0, 0.9)) for each in usual])
    return made


def test_a_pool_in_the_world_it_was_made_for() -> None:
    """On day 10 half of the forecasts are within 5 %, better than both simple ways, and the band holds most."""
    own, straight, again, inside = [], [], [], []
    for seed, month in ((seed, month) for seed in range(4) for month in (5, 6, 7, 9, 12)):
        before, start, end = date(2026, month - 1, 1), date(2026, month, 1), date(2026 + month // 12, month % 12 + 1, 1)
        made, now = world(seed * 100 + month, before, end), start + timedelta(days=10)
        cells = [Cell(day, kind, 60, sum(each)) for day, (kind, each) in made.items() if day < now]
        shape = fit(cells, {day: day.month for day in made})
        weights = {day: 60 * shape.of(kind, day) for day, (kind, _) in made.items()}
        known = {cell.day: Known(weights[cell.day], cell.total) for cell in cells}
        past = Past([each for day, each in known.items() if day >= start], [known[day] for day in made if day < start])
        used = sum(each.total for each in past.current)
        coming = [weight for day, weight in weights.items() if day >= now]
        actual = sum(sum(each) for day, (_, each) in made.items() if day >= start)
        found = outlook.pool(used, past, [], coming, lines=60, seed=f"{seed}")
        own.append(abs(found.p50 / actual - 1))
        straight.append(abs(used / 10 * (end - start).days / actual - 1))
        again.append(abs(sum(each.total for each in past.last) / actual - 1))
        inside.append(found.p10 <= actual <= found.p90)
    assert median(own) < 0.05
    assert median(own) < min(median(straight), median(again))
    assert sum(inside) >= 12


def test_missing_days_are_filled_in() -> None:
    """A day that is not known counts by its weight, and what is known of it is not counted twice."""
    past = Past([Known(10.0, 1000)] * 10, [Known(10.0, 1000)] * 20)
    whole = outlook.pool(10_000, past, [], [10.0] * 10, lines=10, seed="")
    assert whole.p50 == 20_000
    assert outlook.pool(10_000, past, [Missing(10.0)], [10.0] * 9, lines=10, seed="").p50 == 20_000
    assert outlook.pool(10_400, past, [Missing(10.0, 400)], [10.0] * 9, lines=10, seed="").p50 == 20_000
    assert outlook.sim(400, Past([Known(1.0, 100)] * 9, []), [Missing(1.0)] * 2, [], others=100.0, seed=1).p50 == 600


def test_new_lines_borrow_and_silent_lines_do_not() -> None:
    """A line without a past is taken to be like the others; one that was silent for a month stays silent."""
    assert outlook.sim(0, Past([], []), [], [1.0] * 10, others=100.0, seed=1).p50 == 1000
    assert (
        outlook.sim(0, Past([Known(1.0, 0)] * 5, [Known(1.0, 0)] * 20), [], [1.0] * 10, others=100.0, seed=1).p90 == 0
    )


KNOWN = st.lists(st.builds(Known, st.floats(0, 100), st.integers(0, 10**12)), max_size=31)


@given(KNOWN, KNOWN, st.lists(st.floats(0, 100), max_size=31), st.integers(0, 10**12), st.integers(0, 10**13))
def test_the_figures_are_in_order_whatever_comes(current, last, coming, seen, used) -> None:
    """No line, no day, no byte, odd days: the three figures are in order, not below what is used, and same again."""
    past, missing = Past(current, last), [Missing(1.0, seen)]
    for found, again in (
        [outlook.pool(used, past, missing, coming, lines=3, seed="x") for _ in range(2)],
        [outlook.sim(used, past, missing, coming, others=5.0, seed=7) for _ in range(2)],
    ):
        assert used <= found.p10 <= found.p50 <= found.p90
        assert found == again


@pytest.mark.parametrize("name", WORLDS)
def test_districts_it_was_not_made_for(name) -> None:
    """On day 10 the median error is within a tenth, and smaller than that of both simple ways."""
    own, straight, last = (look(name, seeds=2, days=(10,)).of_day(10, which) for which in range(3))
    assert own <= 0.10
    assert own < min(straight, last)
