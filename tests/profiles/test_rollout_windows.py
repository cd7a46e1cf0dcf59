"""Slots of tablets: in open time only, off the marks, spread evenly, and the same for the same question."""

import itertools
import time
from datetime import date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mdm.organization.hours import JST, Calendar, Closed, DayKind, read_span
from profiles.rollouts.windows import Days, Never, Schedule, Slot, Why, open_time, slot, slots

ROLLOUT = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
LESSONS = (read_span("08:15-12:00"), read_span("13:00-15:45"))
HOLIDAY = Closed(date(2026, 6, 10), date(2026, 6, 11), "anniversary")
SCHOOL = Calendar(lessons=(LESSONS,) * 5 + ((), ()), closed=(HOLIDAY,))


ON_MARKS = {"avoid_marks": False}


def jst(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=JST)


def first(schedule: Schedule, after: str, calendar: Calendar = SCHOOL) -> tuple[str, str | None]:
    """The slot of one tablet, in Japan's time."""
    found = slot(schedule, calendar, after=jst(after), device_id=1, rollout_id=ROLLOUT)
    assert isinstance(found, Slot)
    return shown(found.due_at), None if found.closes_at is None else shown(found.closes_at)


def shown(moment: datetime) -> str:
    return f"{moment.astimezone(JST):%m-%d %H:%M:%S}"


# 2026-06-08 is a Monday; the 10th and 11th are closed.
@pytest.mark.parametrize(
    ("schedule", "after", "due", "closes"),
    [
        ({}, "06-08 17:20", "06-08 17:20:00", "06-08 17:29:55"),
        ({}, "06-08 17:30", "06-08 17:31:00", "06-08 17:44:55"),
        ({}, "06-08 17:29:40", "06-08 17:31:00", "06-08 17:44:55"),  # too little is left of the slice
        ({}, "06-08 09:00", "06-08 12:01:00", "06-08 12:14:55"),
        ({}, "06-08 14:00", "06-08 15:46:00", "06-08 15:59:55"),
        ({}, "06-09 05:59:30", "06-09 08:01:00", "06-09 08:14:55"),  # the way to school is closed too
        ({}, "06-10 09:20", "06-10 09:20:00", "06-10 09:29:55"),  # no lessons on a closed day
        ({}, "06-13 06:20", "06-13 06:20:00", "06-13 06:29:55"),  # Saturday
        ({"obey_class_hours": False}, "06-08 09:20", "06-08 09:20:00", "06-08 09:29:55"),
        ({"windows": ["16:05-18:00"]}, "06-08 09:00", "06-08 16:05:00", "06-08 16:14:55"),
        ({"windows": ["16:05-18:00"]}, "06-08 18:00", "06-09 16:05:00", "06-09 16:14:55"),
        ({"windows": ["22:20-05:00"]}, "06-08 03:20", "06-08 03:20:00", "06-08 03:29:55"),
        ({"windows": ["20:00-16:00"]}, "06-08 13:10", "06-08 15:46:00", "06-08 15:59:55"),
        ({"windows": ["20:00-24:00"], **ON_MARKS}, "06-08 10:00", "06-08 20:00:00", "06-09 00:00:00"),
        ({"windows": ["20:00-24:00", "00:00-02:00"], **ON_MARKS}, "06-08 21:00", "06-08 21:00:00", "06-09 02:00:00"),
        ({**ON_MARKS}, "06-08 09:00", "06-08 12:00:00", "06-08 13:00:00"),
        ({**ON_MARKS}, "06-09 18:00", "06-09 18:00:00", "06-12 06:00:00"),
        ({"days": "days_off", **ON_MARKS}, "06-08 09:00", "06-10 00:00:00", "06-12 00:00:00"),
        (
            {"days": "days_off", "windows": ["22:00-05:00"], **ON_MARKS},
            "06-12 02:00",
            "06-12 02:00:00",
            "06-12 05:00:00",
        ),
        (
            {"days": "school_days", "windows": ["16:00-17:00"], **ON_MARKS},
            "06-09 18:00",
            "06-12 16:00:00",
            "06-12 17:00:00",
        ),
        ({"not_before": jst("06-09 20:03")}, "06-08 09:00", "06-09 20:03:00", "06-09 20:14:55"),
        ({"not_after": jst("06-08 17:25")}, "06-08 17:20", "06-08 17:20:00", "06-08 17:25:00"),
        ({**ON_MARKS, "obey_class_hours": False}, "06-08 09:00", "06-08 09:00:00", None),
        (
            {**ON_MARKS, "obey_class_hours": False, "not_after": jst("07-01 00:00")},
            "06-08 09:00",
            "06-08 09:00:00",
            "07-01 00:00:00",
        ),
    ],
)
def test_the_first_slot(schedule, after, due, closes):
    """A tablet is due as soon as its school is open, and its slot closes with the slice it lies in."""
    assert first(Schedule(**schedule), after) == (due, closes)


def test_an_empty_calendar_closes_nothing_but_the_marks():
    """Schools without hours are reached at any time; without marks their slots never close."""
    assert first(Schedule(), "06-08 09:20", Calendar()) == ("06-08 09:20:00", "06-08 09:29:55")
    assert first(Schedule(avoid_marks=False), "06-08 09:20", Calendar()) == ("06-08 09:20:00", None)


VACATION = Calendar(closed=(Closed(date(2026, 7, 1), date(2026, 8, 31), "vacation"),))


@pytest.mark.parametrize(
    ("schedule", "calendar", "why"),
    [
        ({"not_after": jst("06-01 00:00")}, SCHOOL, Why.OVER),
        ({"not_after": jst("07-02 12:00"), "windows": ["16:00-18:00"]}, SCHOOL, Why.OVER),
        ({"not_after": jst("06-01 00:00"), **ON_MARKS}, Calendar(), Why.OVER),
        ({"days": "school_days"}, VACATION, Why.SHUT),
        ({"days": "school_days", "not_after": jst("09-01 00:00")}, VACATION, Why.SHUT),
        ({"windows": ["09:00-10:00"]}, Calendar(lessons=(LESSONS,) * 7), Why.SHUT),
    ],
)
def test_where_there_is_no_slot_it_says_why(schedule, calendar, why):
    """Either the rollout's time is over first, or nothing opens within two weeks."""
    assert slot(Schedule(**schedule), calendar, after=jst("07-02 09:00"), device_id=1, rollout_id=ROLLOUT) == Never(why)


def test_who_missed_a_slice_gets_a_fresh_place_in_the_next_and_asking_again_changes_nothing():
    """Places are kept within a slice and drawn anew for the next one."""
    schedule = Schedule(windows=["16:00-20:00"], spread_s=700)

    def offsets(after: str, opened: str) -> list[float]:
        found = slots(schedule, SCHOOL, after=jst(after), device_ids=range(1, 200), rollout_id=ROLLOUT)
        return [(each.due_at - jst(opened)).total_seconds() for each in found.values()]

    assert offsets("06-08 10:00", "06-08 16:01") == offsets("06-08 15:00", "06-08 16:01")
    again = offsets("06-08 16:14:59", "06-08 16:16")
    assert offsets("06-08 10:00", "06-08 16:01") != again
    assert max(again) < 700


@pytest.mark.parametrize(
    ("wrong", "pointer", "detail"),
    [
        ({"windows": ["16:00"]}, ("windows", 0), "HH:MM-HH:MM"),
        ({"windows": ["16:00-18:00", "16:00-16:04"]}, ("windows", 1), "shorter than 5 minutes"),
        ({"windows": ["16:00-16:00"]}, ("windows", 0), "same time"),
        ({"days": "monday"}, ("days",), "school_days"),
        ({"not_before": "2026-06-08T09:00:00"}, ("not_before",), "timezone"),
        ({"not_after": "9999-06-08T09:00:00Z"}, ("not_after",), "between 2000 and 2100"),
        ({"not_before": jst("06-08 09:00"), "not_after": jst("06-08 09:00")}, (), "earlier than not_after"),
        ({"spread_s": -1}, ("spread_s",), "greater than or equal to 0"),
        ({"window": []}, ("window",), "not permitted"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused_by_field(wrong, pointer, detail):
    """The error names the field, and says what is wrong in a sentence."""
    with pytest.raises(ValidationError) as refused:
        Schedule(**wrong)
    [error] = refused.value.errors()
    assert error["loc"] == pointer
    assert detail in error["msg"]


def test_a_schedule_comes_back_from_its_own_json():
    """As rollouts store it."""
    schedule = Schedule(windows=["22:00-05:00"], days="days_off", not_after=jst("07-01 00:00"), spread_s=60)
    assert Schedule.model_validate(schedule.model_dump(mode="json")) == schedule


def _is_window(text: str) -> bool:
    try:
        Schedule(windows=[text])
    except ValidationError:
        return False
    return True


MINUTES = st.integers(0, 1439)
CLOCK = MINUTES.map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
WINDOWS = st.tuples(CLOCK, CLOCK).map("-".join).filter(_is_window)
DAYS_OF_JUNE = st.dates(date(2026, 5, 25), date(2026, 7, 5))


@st.composite
def calendars(draw) -> Calendar:
    """Any hours on any weekdays, and some closed days."""
    ends = st.lists(MINUTES, min_size=2, max_size=6, unique=True).map(sorted)
    days = []
    for _ in range(7):
        edges = draw(st.none() | ends)
        pairs = zip(edges[::2], edges[1::2], strict=False) if edges else ()
        days.append(tuple(read_span(f"{a // 60:02}:{a % 60:02}-{b // 60:02}:{b % 60:02}") for a, b in pairs))
    closed = draw(st.lists(st.tuples(DAYS_OF_JUNE, st.integers(0, 5)), max_size=3))
    return Calendar(tuple(days), tuple(Closed(day, day + timedelta(days=more), "closed") for day, more in closed))


MOMENTS = st.integers(0, 19 * 86_400_000).map(lambda ms: jst("06-01 00:00") + timedelta(milliseconds=ms))
SCHEDULES = st.builds(
    Schedule,
    windows=st.lists(WINDOWS, max_size=4),
    days=st.sampled_from(Days),
    not_before=st.none() | MOMENTS,
    not_after=st.none() | MOMENTS.map(lambda moment: moment + timedelta(days=19)),
    spread_s=st.integers(0, 200_000),
    obey_class_hours=st.booleans(),
    avoid_marks=st.booleans(),
)


def allowed(schedule: Schedule, calendar: Calendar, moment: datetime) -> bool:
    """Whether a moment is open, read off the schedule minute by minute and with nothing of the module under test."""
    local = moment.astimezone(JST)
    minute, day = local.hour * 60 + local.minute, local.date()
    if schedule.avoid_marks and minute % 15 == 0:
        return False
    lessons = calendar.lessons[day.weekday()]
    is_closed = any(each.first <= day <= each.last for each in calendar.closed)
    busy = 360 <= minute < 480 or any(span.start <= minute < span.end for span in lessons)
    if schedule.obey_class_hours and lessons and not is_closed and busy:
        return False
    if schedule.not_before is not None and moment < schedule.not_before:
        return False
    if schedule.not_after is not None and moment >= schedule.not_after:
        return False
    return any(
        _counts(schedule, calendar, day - timedelta(days=back))
        and any(span.start <= minute + 1440 * back < span.end for span in _spans(schedule))
        for back in (0, 1)
    )


def _counts(schedule: Schedule, calendar: Calendar, day: date) -> bool:
    at_school = calendar.kind_of(day) is DayKind.SCHOOL
    return schedule.days is Days.ANY or at_school is (schedule.days is Days.SCHOOL_DAYS)


def _spans(schedule: Schedule) -> list:
    return [read_span(window, over_midnight=True) for window in schedule.windows] or [read_span("00:00-24:00")]


@given(SCHEDULES, calendars(), MOMENTS, st.uuids())
def test_every_slot_lies_in_open_time(schedule, calendar, after, rollout):
    """From the moment it is due until it closes nothing forbids reaching the tablet, and it is not yet past."""
    found = slots(schedule, calendar, after=after, device_ids=range(1, 20), rollout_id=rollout)
    if isinstance(found, Never):
        return
    for each in found.values():
        assert each.due_at >= after
        assert allowed(schedule, calendar, each.due_at)
        if each.closes_at is not None:
            assert each.due_at + timedelta(seconds=30) <= each.closes_at
            assert each.closes_at - each.due_at <= timedelta(days=60)
            steps = (each.closes_at - each.due_at) // 7
            assert all(allowed(schedule, calendar, each.due_at + steps * step) for step in range(7))
            assert allowed(schedule, calendar, each.closes_at - timedelta(milliseconds=1))


@given(SCHEDULES, calendars(), MOMENTS)
def test_no_open_time_is_overlooked(schedule, calendar, after):
    """Half minutes at random that are open lie in an interval, and no others do."""
    found = list(open_time(schedule, calendar, after))
    start = max(after, schedule.not_before or after)
    for step in range(40):
        moment = (start + timedelta(hours=7 * step)).replace(second=30, microsecond=0)
        if not start <= moment < start + timedelta(days=14):
            continue
        ms = int(moment.timestamp() * 1000)
        inside = any(each.start <= ms and (each.end is None or ms < each.end) for each in found)
        assert inside is allowed(schedule, calendar, moment), moment
    assert all(a.end is not None and a.end <= b.start for a, b in itertools.pairwise(found))


@given(SCHEDULES, calendars(), MOMENTS, st.permutations(range(1, 12)), st.uuids())
def test_a_slot_depends_on_nothing_but_the_question(schedule, calendar, after, device_ids, rollout):
    """Neither order nor company nor repetition changes a tablet's slot."""
    together = slots(schedule, calendar, after=after, device_ids=device_ids, rollout_id=rollout)
    for device_id in device_ids:
        alone = slot(schedule, calendar, after=after, device_id=device_id, rollout_id=rollout)
        assert alone == (together if isinstance(together, Never) else together[device_id])


def test_slots_do_not_change_with_the_version():
    """Workers of the former and of the new version give a tablet the same slot: these are written down."""
    schedule = Schedule(windows=["16:00-21:00"], spread_s=3600)
    assert first(schedule, "06-08 10:00") == ("06-08 16:07:57", "06-08 16:14:55")


def test_tablets_are_spread_evenly_over_the_open_time():
    """Each minute of the spread gets its share, give or take chance; nothing bunches behind a closed hour."""
    schedule = Schedule(windows=["11:30-13:30"], spread_s=3000)  # around the noon lessons end and begin
    found = slots(schedule, SCHOOL, after=jst("06-08 10:00"), device_ids=range(1, 15_001), rollout_id=ROLLOUT)
    offsets = [found_.due_at.astimezone(JST) for found_ in found.values()]
    assert {each.hour for each in offsets} == {12}
    per_minute = [sum(each.minute == minute for each in offsets) for minute in range(2, 14)]
    # 15,000 over 3,000 s are 300 a minute; 5 standard deviations are 87.
    assert all(213 < count < 387 for count in per_minute), per_minute


def test_two_rollouts_spread_the_same_tablets_differently():
    """Otherwise the same tablets would always be last."""
    schedule = Schedule(spread_s=3600)
    ask = {"after": jst("06-08 17:00"), "device_ids": range(1, 1001)}
    one = slots(schedule, SCHOOL, rollout_id=ROLLOUT, **ask)
    two = slots(schedule, SCHOOL, rollout_id=UUID(int=7), **ask)
    same = sum(abs((one[n].due_at - two[n].due_at).total_seconds()) < 60 for n in range(1, 1001))
    assert same < 100


def test_a_fleet_is_planned_in_a_moment():
    """15,000 tablets of 40 schools, each school asked once; the bound only tells linear from hopeless."""
    schedule = Schedule(windows=["16:00-21:30", "22:00-05:00"], spread_s=7200)
    began = time.process_time()
    for school in range(40):
        ids = range(school * 375 + 1, school * 375 + 376)
        calendar = Calendar(lessons=(LESSONS,) * 5 + ((), ()), closed=(HOLIDAY,) * (school % 3))
        assert len(slots(schedule, calendar, after=jst("06-08 10:00"), device_ids=ids, rollout_id=ROLLOUT)) == 375
    assert time.process_time() - began < 2
