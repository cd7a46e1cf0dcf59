"""Who may be in a campaign, how many leave when, and in which hours: the pure part, by tables and by chance."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mdm.auditor.campaigns import over_wave
from mdm.auditor.spending import Thresholds
from mdm.campaigns.fitness import Facts, Signed, Why, fallen_out, unfit
from mdm.campaigns.terms import Filter, Window
from mdm.campaigns.waves import HOUR, Results, Verdict, judge, room

NOW = datetime(2027, 4, 5, 3, 0, tzinfo=UTC)  # Monday, noon in Japan
SIZES = (2, 5, 9)
WELL = Facts(
    device_id=1,
    serial="S",
    control_number="C",
    school_id=7,
    school="E1",
    state="returned",
    holder_id=None,
    status="active",
    epoch=3,
    sought=False,
    scan_id=50,
    scanned_at=NOW - timedelta(days=2),
    scanned_in=None,
    place_id=None,
    place=None,
    campaign=False,
    wipe=False,
)
SIGNED = Signed(1, "S", "C", 3, 50, None, None)
MISFITS = {
    Why.NOT_RETURNED: {"state": "issued"},
    Why.CASE: {"sought": True},
    Why.NOT_ENROLLED: {"status": "ended"},
    Why.NO_SCAN: {"scan_id": None, "scanned_at": None},
    Why.OLD_SCAN: {"scanned_at": NOW - timedelta(days=30, seconds=1)},
    Why.OTHER_WIPE: {"wipe": True},
    Why.ELSEWHERE: {"place_id": 51, "place": 8},
}


@pytest.mark.parametrize("why", MISFITS)
def test_whoever_does_not_fit_comes_in_never_and_falls_out(why):
    """One thing amiss is enough, when the list is made and later on."""
    facts = replace(WELL, **MISFITS[why])
    assert unfit(facts, now=NOW, days=30) is why
    assert fallen_out(facts, SIGNED, now=NOW, days=30) is why


def test_whoever_fits():
    """A scan is good for exactly so many days; a place counts only when it is another and later than the scan."""
    for facts in (
        WELL,
        replace(WELL, scanned_at=NOW - timedelta(days=30)),
        replace(WELL, place_id=49, place=8),
        replace(WELL, place_id=51, place=7),
        replace(WELL, scanned_in=8, place_id=51, place=8),
    ):
        assert unfit(facts, now=NOW, days=30) is None
    assert fallen_out(WELL, SIGNED, now=NOW, days=30) is None
    assert unfit(replace(WELL, campaign=True), now=NOW, days=30) is Why.OTHER_CAMPAIGN


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (None, Why.CHANGED),
        (replace(WELL, serial="T"), Why.CHANGED),
        (replace(WELL, control_number="D"), Why.CHANGED),
        (replace(WELL, epoch=4), Why.ENROLLED_AGAIN),
        (replace(WELL, holder_id=9), Why.NEW_HOLDER),
    ],
)
def test_whoever_is_not_what_was_signed_falls_out(facts, why):
    """Another number, another enrolment, another holder: another tablet."""
    assert fallen_out(facts, SIGNED, now=NOW, days=30) is why


WINDOW = Window(first_day=date(2027, 4, 5), last_day=date(2027, 4, 16), closed=[date(2027, 4, 7)])


@pytest.mark.parametrize(
    ("local", "is_open"),
    [
        ("2027-04-05 09:00", True),
        ("2027-04-05 08:59", False),
        ("2027-04-05 16:59", True),
        ("2027-04-05 17:00", False),
        ("2027-04-07 12:00", False),  # closed
        ("2027-04-10 12:00", False),  # Saturday
        ("2027-04-16 12:00", True),
        ("2027-04-19 12:00", False),  # over
        ("2027-04-02 12:00", False),
    ],
)
def test_the_window_is_open_in_its_hours(local, is_open):
    """Working days, hours of Japan's time, the end excluded."""
    moment = datetime.fromisoformat(f"{local}:00+09:00")
    assert WINDOW.is_open(moment) is is_open
    following = WINDOW.opens_at(moment)
    assert following is None or WINDOW.is_open(following)
    assert WINDOW.is_over(moment) is (moment > datetime.fromisoformat("2027-04-16T17:00:00+09:00"))


@given(st.integers(-10 * 24 * 60, 25 * 24 * 60))
def test_the_window_opens_next_at_the_first_open_moment(minutes):
    """Nothing is open between a moment and the next opening that is told of it."""
    moment = NOW + timedelta(minutes=minutes)
    following = WINDOW.opens_at(moment)
    until = following or datetime(2027, 5, 1, tzinfo=UTC)
    step = timedelta(minutes=30)
    while moment < until:
        assert not WINDOW.is_open(moment)
        moment += step


@pytest.mark.parametrize(
    "change",
    [
        {"last_day": date(2027, 4, 1)},
        {"last_day": date(2027, 12, 1)},
        {"hours": "17:00-09:00"},
        {"hours": "noon"},
        {"weekdays": ["sun"], "last_day": date(2027, 4, 6)},
        {"weekdays": []},
    ],
)
def test_a_window_that_never_opens_is_refused(change):
    """Backwards, too long, over midnight, or without a working day."""
    with pytest.raises(ValidationError):
        Window(**{"first_day": date(2027, 4, 5), "last_day": date(2027, 4, 16)} | change)


def test_everything_is_no_filter():
    """Something must be named."""
    with pytest.raises(ValidationError, match="a bulk wipe of everything"):
        Filter()


def _at(*minutes: float) -> list[datetime]:
    return [NOW + timedelta(minutes=each) for each in minutes]


@pytest.mark.parametrize(
    ("left", "after", "found"),
    [
        ([], 0, (1, 2, 2, True)),
        ([0], 10, (1, 2, 1, False)),
        ([0, 1], 10, (1, 2, 0, False)),
        ([0, 1], 60.9, (1, 2, 0, False)),  # the hour counts from the last
        ([0, 1], 61, (2, 5, 5, True)),
        ([0], 61, (2, 2, 2, True)),  # a wave that was not full does not make the next one larger
        ([0, 1, 70, 71, 72], 80, (2, 5, 2, False)),
        ([0, 1, 70, 71, 72, 73, 74], 140, (3, 9, 9, True)),
    ],
)
def test_room(left, after, found):
    """Waves by hand."""
    told = room(_at(*left), NOW + timedelta(minutes=after), SIZES)
    assert (told.wave, told.size, told.free, told.fresh) == found


def test_what_others_sent_takes_from_the_room():
    """Several campaigns share an hour."""
    assert room([], NOW, SIZES, others=2).free == 0
    assert room(_at(0), NOW, SIZES, others=5).free == 0


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(1, 12)), max_size=40))
def test_whoever_keeps_to_the_room_is_never_over_a_wave(steps):
    """However greedily and whenever it is asked, no hour sees more than a wave, and the auditor finds nothing."""
    now, left = NOW, []
    for minutes, wanted in steps:
        now += timedelta(minutes=minutes)
        left += [now] * min(wanted, room(left, now, SIZES).free)
    for moment in left:
        assert sum(moment - HOUR < each <= moment for each in left) <= SIZES[2]
    first = {f"campaign.wave.{number}": size for number, size in enumerate(SIZES, start=1)}
    on_record = {UUID(int=number): (UUID(int=0), moment) for number, moment in enumerate(left)}
    assert over_wave(on_record, Thresholds(first, [])) == set()


@given(st.integers(0, 30), st.integers(1, 9))
def test_one_too_many_is_found(before, more):
    """A wipe that leaves within the hour of a full wave is over it, by the auditor's own count."""
    first = {f"campaign.wave.{number}": size for number, size in enumerate(SIZES, start=1)}
    left = {UUID(int=number): (UUID(int=0), NOW) for number in range(2)}
    left |= {UUID(int=10 + number): (UUID(int=0), NOW + timedelta(minutes=before)) for number in range(more)}
    assert over_wave(left, Thresholds(first, [])) == {UUID(int=10 + number) for number in range(more)}


@pytest.mark.parametrize(
    ("results", "tolerated", "verdict"),
    [
        ((0, 0, 0), 0, Verdict.GO_ON),
        ((10, 0, 0), 0, Verdict.GO_ON),
        ((9, 0, 1), 0, Verdict.GO_ON),
        ((8, 0, 2), 0, Verdict.WAIT),
        ((8, 2, 0), 0, Verdict.GO_ON),  # fewer than three stop nothing
        ((7, 3, 0), 0, Verdict.STOP),
        ((0, 3, 7), 0, Verdict.STOP),
        ((147, 3, 0), 0, Verdict.GO_ON),  # two percent
        ((146, 3, 0), 0, Verdict.STOP),
        ((7, 3, 0), 3, Verdict.GO_ON),
        ((7, 6, 0), 3, Verdict.STOP),
    ],
)
def test_results(results, tolerated, verdict):
    """Failures beyond the limit stop it, silence lets it wait."""
    assert judge(Results(*results), percent=2, tolerated=tolerated) is verdict
