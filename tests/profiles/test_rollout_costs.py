"""Estimates of what a rollout costs, against numbers worked out by hand."""

import dataclasses
import math
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.limits.limits import Limits
from mdm.limits.values import ByteRate, Downloads, Gate, Gigabytes, Name, Rate
from mdm.organization.hours import JST, Calendar, read_span
from mdm.platform import Platform
from profiles.rollouts.costs import Busiest, Chain, Load, estimate
from profiles.rollouts.windows import Schedule

LESSONS = Calendar(lessons=((read_span("08:00-16:00"),),) * 5 + ((), ()))
AT_ONCE = Schedule(avoid_marks=False)
MONDAY = datetime(2026, 6, 8, 16, 0, tzinfo=JST)
MB = 10**6


def limits(
    *, fleet=0.0, apple=0.0, android=0.0, school=0.0, bands=None, at_once=0, minutes=15, gate=20.0, pool=None, own=None
) -> Limits:
    """Limits that limit nothing but what is named."""
    return Limits(
        {
            Name.FLEET: Rate(per_s=fleet, burst=1),
            Name.PROVIDER_APPLE: Rate(per_s=apple, burst=1),
            Name.PROVIDER_ANDROID: Rate(per_s=android, burst=1),
            Name.SCHOOL: Rate(per_s=school, burst=1),
            Name.SCHOOL_BYTES: ByteRate(bands=bands or {"else": 0.0}),
            Name.SCHOOL_DOWNLOADS: Downloads(at_once=at_once, big_from_bytes=5 * MB, minutes=minutes),
            Name.GATE: Gate(gb=gate),
            Name.POOL: Gigabytes(gb=pool),
        },
        own or {},
    )


def load(tablets=375, each=50_000, *, school=1, platform=Platform.APPLE) -> Load:
    return Load(school, f"E{school:03}", platform, tablets, each)


def cost(loads, given_limits, schedule=AT_ONCE, calendar=LESSONS, after=MONDAY):
    return estimate(loads, given_limits, schedule, {each.school_id: calendar for each in loads}, after=after)


def done(found) -> str | None:
    return None if found.finishes_at is None else f"{found.finishes_at.astimezone(JST):%m-%d %H:%M:%S}"


FLEET = [load(school=number) for number in range(1, 41)]  # 40 schools of 375 tablets: 15,000


@pytest.mark.parametrize(
    ("loads", "given_limits", "schedule", "finish", "by"),
    [
        # Nothing limits: at once, or when the school opens.
        (FLEET, limits(), AT_ONCE, "06-08 16:00:00", Chain.SCHEDULE),
        (FLEET, limits(), Schedule(windows=["20:00-22:00"]), "06-08 20:01:00", Chain.SCHEDULE),
        # 15,000 at 150/s are 100 s; at 100/s of the push service 150 s.
        (FLEET, limits(fleet=150), AT_ONCE, "06-08 16:01:40", Chain.FLEET),
        (FLEET, limits(fleet=150, apple=100), AT_ONCE, "06-08 16:02:30", Chain.PROVIDER),
        # Half of them Android: 7,500 at 100/s are 75 s, less than the fleet's 100 s.
        (
            [dataclasses.replace(each, platform=Platform.ANDROID) if each.school_id % 2 else each for each in FLEET],
            limits(fleet=150, apple=100),
            AT_ONCE,
            "06-08 16:01:40",
            Chain.FLEET,
        ),
        # 375 at 2.5/s are 150 s in each school, all schools side by side.
        (FLEET, limits(fleet=150, school=2.5), AT_ONCE, "06-08 16:02:30", Chain.SCHOOL),
        # 5 MB for 375 tablets are 1.875 GB; at 2.5 MB/s 750 s.
        ([load(each=5 * MB)], limits(bands={"else": 2.5e6}), AT_ONCE, "06-08 16:12:30", Chain.BYTES),
        # 50 MB are 18.75 GB: at 2.5 MB/s 7,500 s, 2 h 5 min.
        ([load(each=50 * MB)], limits(bands={"else": 2.5e6}), AT_ONCE, "06-08 18:05:00", Chain.BYTES),
        # 16:00-17:00 at 1 MB/s are 3.6 GB; the other 15.15 GB at 5 MB/s take 3,030 s.
        (
            [load(each=50 * MB)],
            limits(bands={"08:00-17:00": 1e6, "else": 5e6}),
            AT_ONCE,
            "06-08 17:50:30",
            Chain.BYTES,
        ),
        # The night's band lets everything through.
        ([load(each=50 * MB)], limits(bands={"08:00-22:00": 1e3}), AT_ONCE, "06-08 22:00:00", Chain.BYTES),
        # 50 MB hold a place for 50 s: 375 of them, 10 at once, take 1,875 s.
        ([load(each=50 * MB)], limits(at_once=10), AT_ONCE, "06-08 16:31:15", Chain.DOWNLOADS),
        # 3 GB would take 3,000 s; a place is given back after 15 min: 375 x 900 s / 100.
        ([load(each=3000 * MB)], limits(at_once=100), AT_ONCE, "06-08 16:56:15", Chain.DOWNLOADS),
        # What is not big holds no place.
        ([load(each=4 * MB)], limits(at_once=1), AT_ONCE, "06-08 16:00:00", Chain.SCHEDULE),
        # 14 h of open time a night, 16:00 to 06:00: 100,800 tablets at 2/s are just that, one more waits for 16:00.
        ([load(100_800)], limits(school=2), AT_ONCE, "06-09 06:00:00", Chain.SCHOOL),
        ([load(100_801)], limits(school=2), AT_ONCE, "06-09 16:00:00", Chain.SCHOOL),
        # One hour a day: 3,600 s are a day's worth, 9,000 tablets at 1/s end at half past on the third day.
        (
            [load(9_000)],
            limits(school=1),
            Schedule(windows=["20:00-21:00"], avoid_marks=False),
            "06-10 20:30:00",
            Chain.SCHOOL,
        ),
        # Slices of 13 min 55 s between the marks: 2,000 s are two of them (1,670 s) and 330 s of the third.
        ([load(2_000)], limits(school=1), Schedule(windows=["20:00-23:00"]), "06-08 20:36:30", Chain.SCHOOL),
        # Spread over an hour: the last is due at its end.
        (FLEET, limits(fleet=150), Schedule(avoid_marks=False, spread_s=3600), "06-08 17:00:00", Chain.SPREAD),
        # Not before the end, and not within 60 days.
        ([load()], limits(school=1), Schedule(not_after=datetime(2026, 6, 8, 16, 5, tzinfo=JST)), None, Chain.SCHOOL),
        ([load()], limits(school=1e-5), AT_ONCE, None, Chain.SCHOOL),
    ],
)
def test_when_it_is_done(loads, given_limits, schedule, finish, by):
    """The slowest link of the chain decides, in open time only."""
    found = cost(loads, given_limits, schedule)
    assert (done(found), found.limited_by) == (finish, by)


def test_what_it_costs():
    """The table of lte-and-usage A4.2: 375 tablets a school and 5 MB each are 1.9 GB there and 75 GB in all."""
    loads = [load(each=5 * MB, school=number) for number in range(1, 41)]
    loads[6] = load(400, each=5 * MB, school=7)
    found = cost(loads, limits(bands={"else": 2.5e6}, pool=1000))
    assert (found.tablets, found.bytes, found.gb) == (15_025, 75_125 * MB, 75.125)
    assert found.busiest == Busiest("E007", 400, 2000 * MB, 800 / 3600)
    assert found.pool_share == 0.075125
    assert found.gate == ("it is 75.12 GB, and more than 20 GB need a second operator",)


def test_a_school_with_limits_of_its_own_is_taken_by_them():
    """The busiest school's hours are its own, and the last school's are the rollout's."""
    own = {(Name.SCHOOL, 2): Rate(per_s=0.1, burst=1)}
    found = cost([load(400), load(375, school=2)], limits(school=10, own=own))
    assert (done(found), found.limited_by) == ("06-08 17:02:30", Chain.SCHOOL)
    assert found.busiest == Busiest("E001", 400, 20 * MB, 40 / 3600)


def test_the_loads_of_one_school_add_up():
    """Two platforms share the school's wake-ups and bytes."""
    found = cost([load(100), load(200, 100_000, platform=Platform.ANDROID)], limits(school=1))
    assert (done(found), found.busiest) == ("06-08 16:05:00", Busiest("E001", 300, 25 * MB, 300 / 3600))


def test_each_school_is_taken_by_its_own_hours():
    """A school that is closed now begins later, and then is the last."""
    loads, evening = [load(), load(school=2)], Calendar(lessons=((read_span("15:00-20:00"),),) * 7)
    found = estimate(loads, limits(fleet=10), AT_ONCE, {1: LESSONS, 2: evening}, after=MONDAY)
    assert done(found) == "06-08 20:01:15"
    assert done(estimate(loads, limits(fleet=10), AT_ONCE, {}, after=MONDAY)) == "06-08 16:01:15"


@pytest.mark.parametrize(
    ("gate", "pool", "reasons"),
    [
        (0.02, None, []),
        (0.01, None, ["0.01 GB need"]),
        (0.01, 0.01, ["need a second", "the pool has"]),
        (1, 0, ["pool"]),
    ],
)
def test_the_gate_says_why(gate, pool, reasons):
    """375 tablets of 50 kB are 0.019 GB: over the gate, over the pool, both or neither."""
    found = cost([load()], limits(gate=gate, pool=pool))
    assert len(found.gate) == len(reasons)
    assert all(part in said for part, said in zip(reasons, found.gate, strict=True))
    assert found.pool_share == (None if not pool else pytest.approx(1.875))


def test_nothing_costs_nothing():
    """A rollout without tablets is done when it begins."""
    found = cost([load(0)], limits())
    assert (found.tablets, found.bytes, found.busiest, found.limited_by, found.gate) == (0, 0, None, None, ())
    assert found.finishes_at == MONDAY


RATES = st.floats(0.001, 1000)
LIMITS = st.fixed_dictionaries(
    {
        "fleet": RATES,
        "apple": RATES,
        "android": RATES,
        "school": RATES,
        "bands": st.fixed_dictionaries({"mon-fri 06:00-18:30": RATES, "sat 00:00-12:00": RATES, "else": RATES}),
        "at_once": st.integers(1, 50),
    }
)
LOADS = st.lists(
    st.builds(
        load,
        st.integers(0, 500),
        st.integers(0, 10 * MB),
        school=st.integers(1, 3),
        platform=st.sampled_from([Platform.APPLE, Platform.ANDROID]),
    ),
    max_size=5,
)
SCHEDULES = st.builds(
    Schedule,
    windows=st.sampled_from([(), ("16:00-21:00",), ("22:00-05:00", "12:00-12:40")]),
    spread_s=st.sampled_from([0, 600, 7200]),
    avoid_marks=st.booleans(),
)
CALENDARS = {1: LESSONS, 2: Calendar(), 3: Calendar(lessons=((read_span("13:00-20:00"),),) * 7)}


def moment(loads, given_limits, schedule) -> float:
    found = estimate(loads, limits(**given_limits), schedule, CALENDARS, after=MONDAY)
    return math.inf if found.finishes_at is None else found.finishes_at.timestamp()


@given(LOADS, LOADS, LIMITS, SCHEDULES)
def test_more_tablets_never_finish_earlier(loads, more, given_limits, schedule):
    """Whatever else is rolled out with them."""
    assert moment([*loads, *more], given_limits, schedule) >= moment(loads, given_limits, schedule)


@given(LOADS, LIMITS, SCHEDULES, st.sampled_from(["fleet", "apple", "android", "school", "bands", "at_once"]))
def test_a_lower_limit_never_finishes_earlier(loads, given_limits, schedule, lowered):
    """Whichever of the chain it is."""
    value = given_limits[lowered]
    if isinstance(value, dict):
        lower = {name: rate / 3 for name, rate in value.items()}
    else:
        lower = value / 3 if isinstance(value, float) else max(1, value // 3)
    assert moment(loads, given_limits | {lowered: lower}, schedule) >= moment(loads, given_limits, schedule)
