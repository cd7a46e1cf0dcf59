"""A school's hours as values: parts of a day, days off, the fiscal year."""

from datetime import date

import pytest

from mdm.organization.hours import LEAVING_HOME, Calendar, Closed, DayKind, Span, fiscal_year, read_span

MORNING, AFTERNOON = read_span("08:15-12:00"), read_span("13:00-15:45")
SUMMER = Closed(date(2026, 7, 21), date(2026, 8, 31), "summer vacation")
SCHOOL = Calendar(lessons=((MORNING, AFTERNOON),) * 5 + ((), ()), closed=(SUMMER,))


@pytest.mark.parametrize(
    ("written", "start", "end"), [("08:15-15:45", 495, 945), ("00:00-24:00", 0, 1440), ("21:00-24:00", 1260, 1440)]
)
def test_parts_of_a_day_are_read_in_minutes_and_written_the_same(written, start, end):
    """What is read is written back, midnight at the end as 24:00."""
    assert read_span(written) == Span(start, end)
    assert str(read_span(written)) == written


def test_only_where_it_is_asked_for_a_part_may_cross_midnight():
    """Then it ends on the day after."""
    assert read_span("22:00-05:00", over_midnight=True) == Span(1320, 1740)
    assert str(Span(1320, 1740)) == "22:00-05:00"
    with pytest.raises(ValueError, match="ends before it begins"):
        read_span("22:00-05:00")


@pytest.mark.parametrize("written", ["8:15-9:00", "24:00-25:00", "08:15", "08:15-08:60", "08:15-24:01", "a" * 99, ""])
def test_what_is_no_part_of_a_day_is_refused_with_the_right_form(written):
    """The error shows how it is written."""
    with pytest.raises(ValueError, match="HH:MM-HH:MM"):
        read_span(written)


def test_a_part_of_no_length_is_refused():
    """It could mean nothing or all of the day."""
    with pytest.raises(ValueError, match="same time"):
        read_span("08:00-08:00")


@pytest.mark.parametrize(
    ("day", "kind", "label"),
    [
        (date(2026, 7, 20), DayKind.SCHOOL, None),
        (date(2026, 7, 21), DayKind.OFF, "summer vacation"),
        (date(2026, 8, 31), DayKind.OFF, "summer vacation"),
        (date(2026, 9, 1), DayKind.SCHOOL, None),
        (date(2026, 9, 5), DayKind.OFF, None),
    ],
)
def test_a_day_is_a_school_day_or_a_day_off(day, kind, label):
    """By its weekday and by what the school is closed for, both ends of a vacation included."""
    assert (SCHOOL.kind_of(day), SCHOOL.label_of(day)) == (kind, label)
    assert SCHOOL.busy_on(day) == ((LEAVING_HOME, MORNING, AFTERNOON) if kind is DayKind.SCHOOL else ())


def test_an_empty_calendar_closes_nothing_and_takes_working_days_for_school_days():
    """Nothing is busy on any day; a forecast still tells Sunday from Monday."""
    days = [date(2026, 6, number) for number in range(1, 8)]  # Monday to Sunday
    assert [Calendar().busy_on(day) for day in days] == [()] * 7
    assert [Calendar().kind_of(day) for day in days] == [DayKind.SCHOOL] * 5 + [DayKind.OFF] * 2


@pytest.mark.parametrize(
    ("day", "year"), [(date(2026, 3, 31), 2025), (date(2026, 4, 1), 2026), (date(2027, 1, 1), 2026)]
)
def test_the_fiscal_year_begins_in_april(day, year):
    """And is named by the year in which it begins."""
    assert fiscal_year(day) == year
