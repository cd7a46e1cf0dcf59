"""What a limit may be, and what time of day it is in a school."""

import math
from datetime import timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.errors import Invalid
from mdm.limits import bands, values
from mdm.limits.values import ByteRate, Name
from mdm.settings import ThrottleSettings

JST = timezone(timedelta(hours=9))
RATE = {"per_s": 10, "burst": 30}


def refused(name, value, present=None):
    with pytest.raises(Invalid) as refusal:
        values.read(name, value, present or {})
    return {error["pointer"] for error in refusal.value.errors}


@given(moment=st.datetimes(timezones=st.just(JST)))
def test_the_minute_of_the_week_is_that_of_a_clock_in_japan(moment):
    """Whatever the moment, weekday and time are those of Japan."""
    minute = bands.minute_of_week(moment.timestamp())
    assert divmod(minute, 1440) == (moment.weekday(), moment.hour * 60 + moment.minute)


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("08:15-15:45", ["mon 08:15", "sun 15:44"], ["mon 08:14", "mon 15:45"]),
        ("mon-fri 08:15-15:45", ["fri 12:00"], ["sat 12:00"]),
        ("sat,sun 00:00-24:00", ["sat 00:00", "sun 23:59"], ["mon 00:00", "fri 23:59"]),
        ("fri-mon 12:00-13:00", ["fri 12:30", "sun 12:30", "mon 12:30"], ["tue 12:30", "thu 12:30"]),
        ("22:00-06:00", ["mon 05:59", "sun 22:00", "mon 00:00"], ["mon 06:00", "sun 21:59"]),
        ("sun 22:00-06:00", ["sun 23:00", "mon 05:59"], ["mon 22:00", "sun 05:00"]),
    ],
)
def test_bands_hold_the_times_they_name(name, inside, outside):
    """With or without weekdays, over midnight and over the end of the week."""
    band = bands.parse(name)

    def minute(text):
        day, time = text.split()
        hour, rest = time.split(":")
        return bands.DAYS.index(day) * 1440 + int(hour) * 60 + int(rest)

    assert [band.holds(minute(each)) for each in inside] == [True] * len(inside)
    assert [band.holds(minute(each)) for each in outside] == [False] * len(outside)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "8:15-15:45",
        "08:15",
        "08:60-09:00",
        "24:00-25:00",
        "24:00-01:00",
        "08:00-08:00",
        "moo 08:00-09:00",
        "MON 08:00-09:00",
        "mon- 08:00-09:00",
        "mon-fri,tue 08:00-09:00",
        "08:15-15:45 ",
        "else ",
    ],
)
def test_what_is_no_time_of_day_is_refused_by_its_name(name):
    """The error points at the band."""
    [pointer] = refused(Name.SCHOOL_BYTES, {"bands": {name: 1}})
    assert pointer == f"/value/bands/{name}"


def test_bands_that_overlap_are_refused():
    """Two values for one minute would be a riddle; touching ones are fine, night shifts are looked through."""
    assert refused(Name.SCHOOL_BYTES, {"bands": {"08:00-12:00": 1, "mon 11:59-12:30": 2}}) == {"/value/bands"}
    assert refused(Name.SCHOOL_BYTES, {"bands": {"22:00-06:00": 1, "mon 05:00-07:00": 2}}) == {"/value/bands"}
    assert refused(Name.SCHOOL_BYTES, {"bands": {"sun 23:00-01:00": 1, "mon 00:00-02:00": 2}}) == {"/value/bands"}
    values.read(Name.SCHOOL_BYTES, {"bands": {"08:00-12:00": 1, "12:00-24:00": 2, "00:00-08:00": 3}}, {})


@pytest.mark.parametrize("number", [-1, math.nan, math.inf, -math.inf, "10", True, None, 10**30, [1]])
def test_what_is_no_rate_is_refused(number):
    """Finite numbers from zero up, and no texts or truth values in their place."""
    assert refused(Name.FLEET, {**RATE, "per_s": number}) == {"/value/per_s"}
    assert refused(Name.SCHOOL_BYTES, {"bands": {"else": number}}) == {"/value/bands/else"}


@pytest.mark.parametrize("number", [0, -1, 1.5, "3", True, None, 10**30])
def test_what_is_no_burst_is_refused(number):
    """A burst is a whole number of wake-ups, one at least."""
    assert refused(Name.SCHOOL, {**RATE, "burst": number}) == {"/value/burst"}


def test_unknown_and_missing_parts_are_named():
    """A value has its own parts and no others; what is left out comes from the present value."""
    assert refused(Name.FLEET, {"per_s": 1, "brust": 2}) == {"/value/brust", "/value/burst"}
    assert refused(Name.GATE, {}) == {"/value/gb"}
    assert refused(Name.SCHOOL_DOWNLOADS, {"at_once": 1}) == {"/value/big_from_bytes"}
    assert values.read(Name.FLEET, {"per_s": 1}, {"per_s": 5, "burst": 7}) == {"per_s": 1.0, "burst": 7}
    assert values.read(Name.POOL, {"gb": None}, {"gb": 3.0}) == {}


def test_bytes_by_time_of_day():
    """The band that holds the minute counts, else the rest; a time without a value has no limit."""
    value = ByteRate(bands={"mon-fri 08:15-15:45": 500_000, "else": 2_500_000})
    assert value.at(12 * 60) == (500_000, 5_000_000)
    assert value.at(20 * 60) == (2_500_000, 25_000_000)
    assert ByteRate(bands={"08:15-15:45": 500_000}, burst=9).at(0) == (0, 9)


def test_first_values_are_values():
    """What the settings say can be read as every limit."""
    for settings in (ThrottleSettings(), ThrottleSettings(school_downloads=3, pool_gb=100, school_bytes_per_s=5)):
        for name, value in values.first_values(settings).items():
            assert values.stored(name, value).model_dump(exclude_none=True) == value
