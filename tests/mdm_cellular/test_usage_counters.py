"""Counters that run through a cycle, and hours: days are what lies between readings, and what hours add up to."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlmodel import Session

from mdm import db
from mdm.cellular import accounts, cycles
from mdm.cellular.carriers.values import CycleToDate, UsageDay, UsageHour
from mdm.cellular.models import UsageSource
from mdm.cellular.usage import bills, intake
from mdm.cellular.usage.bills import Billed
from mdm.cellular.usage.ledger import Telling
from tests.mdm_cellular.usage_model import FIRST, TODAY, at, day, key, told

CYCLE = cycles.before(cycles.of_day(TODAY, 1), 1)
BEGINS = cycles.begins(CYCLE.start, "Asia/Tokyo")
HOURS = CYCLE.days * 24


def reading(hours: float, total: int, *, final: bool = False, number: int = 1) -> CycleToDate:
    """Return what the counter stood at so many hours after the cycle's beginning."""
    return CycleToDate(key(number), CYCLE.start, BEGINS + timedelta(hours=hours), total, final=final)


@pytest.fixture
def take(sims):
    def record(*usage, minute=0, account="files-1"):
        with db.transaction() as session:
            return intake.take(session, accounts.find(session, account), usage, as_of=at(minute))

    return record


def days(sql):
    """Return what line 1 is shown to have used, by day of the cycle."""
    rows = sql("SELECT usage_date, bytes_total FROM usage_shown WHERE bytes_total > 0 ORDER BY usage_date")
    return {(on - CYCLE.start).days: total for on, total in rows}


def cycle_total(sql):
    return sql("SELECT bytes_total FROM usage_cycle WHERE cycle_start = :start", start=CYCLE.start)


def test_days_are_the_differences_of_readings(take, sql) -> None:
    """A reading after midnight tells of the day before; a correction downwards is no negative use."""
    take(reading(25, 100), reading(49, 300))
    assert days(sql) == {0: 100, 1: 200}
    take(reading(73, 250), reading(97, 280))
    assert days(sql) == {0: 100, 1: 150, 3: 30}
    assert cycle_total(sql) == [(280,)]
    assert sql("SELECT count(*) FROM usage_snapshot") == [(4,)]


def test_a_counter_that_begins_anew_early_ends_the_cycle(take, sql) -> None:
    """What falls within the last two days is of the next cycle; the final reading says how much the former came to."""
    take(reading(24, 5000), reading(HOURS - 30, 9000), reading(HOURS - 6, 40))
    assert cycle_total(sql) == [(9000,)]
    take(reading(HOURS + 40, 9500, final=True))
    assert cycle_total(sql) == [(9500,)]
    take(reading(HOURS + 41, 9400, final=True))
    assert cycle_total(sql) == [(9400,)]


def test_a_final_reading_after_the_bill_is_an_adjustment(take, sql, sims) -> None:
    """The cycle stays as it was billed, and what the carrier says later stands beside it."""
    take(reading(24, 5000))
    with db.transaction() as session:
        account = accounts.find(session, "files-1")
        bills.close(session, account, Telling(UsageSource.BILL, at(0)), [Billed(sims[1], CYCLE.start, 5100, None)])
    take(reading(HOURS + 40, 5300, final=True))
    take(reading(HOURS + 41, 5300, final=True))
    assert cycle_total(sql) == [(5100,)]
    assert sql("SELECT sum(delta_bytes) FROM usage_adjustment") == [(300,)]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    readings=st.dictionaries(st.integers(0, HOURS - 49), st.integers(0, 10**12), min_size=1, max_size=8), data=st.data()
)
def test_readings_in_any_order_add_up_to_the_last_one(sims, readings, data) -> None:
    """However they come in, and however often, no day is negative and the cycle is what the counter last said."""
    order = data.draw(st.permutations(list(readings) * 2))
    with Session(db.engine()) as session:
        account = accounts.find(session, "files-1")
        for place, hours in enumerate(order):
            intake.take(session, account, [reading(hours, readings[hours])], as_of=at(place))
        rows = session.execute(text("SELECT bytes_total FROM usage_daily")).scalars().all()
        assert sum(rows) == readings[max(readings)]
        assert all(total >= 0 for total in rows)
        total = session.execute(text("SELECT coalesce(sum(bytes_total), 0) FROM usage_cycle")).scalar_one()
        assert total == readings[max(readings)]
        session.rollback()


@pytest.fixture
def in_utc(boss):
    """The account's own days are UTC's."""
    assert boss.patch("carriers/accounts/files-1", json={"usage_tz": "UTC"}).status_code == 200


def test_hours_make_days_in_japan_where_the_carriers_are_utcs(take, sql, in_utc) -> None:
    """A use at 03:00 in Japan is of that day and no longer of the carrier's day before, and is there once."""
    first = (TODAY - timedelta(days=5) - FIRST).days
    take(told(1, first, 700, utc_offset=0), told(1, first + 1, 50, utc_offset=0))
    at_three = datetime.combine(day(first + 1), datetime.min.time(), ZoneInfo("Asia/Tokyo")) + timedelta(hours=3)
    take(UsageHour(key(1), at_three, 700), UsageHour(key(1), at_three + timedelta(hours=9), 50))
    rows = sql("SELECT usage_date, source, bytes_total, utc_offset FROM usage_shown ORDER BY 1")
    assert rows == [(day(first), "hours", 0, 540), (day(first + 1), "hours", 750, 540)]
    take(told(1, first, 701, utc_offset=0), minute=9)
    assert sql("SELECT sum(bytes_total) FROM usage_shown") == [(750,)]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hours=st.dictionaries(st.tuples(st.integers(1, 2), st.integers(0, 24 * 6)), st.integers(0, 10**11), max_size=20),
    data=st.data(),
)
def test_hours_and_days_of_utc_are_never_added_twice(sims, in_utc, hours, data) -> None:
    """In any order and however often, shown days are the hours of Japan's days, whatever days the carrier tells."""
    start = datetime.combine(TODAY - timedelta(days=8), datetime.min.time(), UTC)
    told_hours = [
        UsageHour(key(number), start + timedelta(hours=hour), total) for (number, hour), total in hours.items()
    ]
    by_utc, by_jst = defaultdict(int), defaultdict(int)
    for (number, hour), total in hours.items():
        moment = start + timedelta(hours=hour)
        by_utc[number, moment.date()] += total
        by_jst[sims[number], moment.astimezone(ZoneInfo("Asia/Tokyo")).date()] += total
    told_days = [UsageDay(key(number), on, 0, total) for (number, on), total in by_utc.items()]
    order = data.draw(st.permutations([*told_hours, *told_days] * 2))
    with Session(db.engine()) as session:
        account = accounts.find(session, "files-1")
        for place in range(0, len(order), 5):
            kinds = {type(each).__name__.encode() for each in order[place : place + 5]}
            intake.take(session, account, order[place : place + 5], payloads=sorted(kinds), as_of=at(place))
        rows = session.execute(text("SELECT sim_id, usage_date, bytes_total FROM usage_shown WHERE bytes_total > 0"))
        assert {(sim_id, on): total for sim_id, on, total in rows} == {k: v for k, v in by_jst.items() if v}
        session.rollback()
