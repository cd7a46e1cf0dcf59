"""Use that cannot be, and use that is not usual, through the job that watches; and the pure part by tables."""

from datetime import UTC, date, datetime, timedelta

import pytest

from mdm import clock
from mdm.cellular.forecast.days import Kind
from mdm.cellular.odd_days import SchoolDay, newest
from workers import usage_watch

MB, GB = 10**6, 10**9
TODAY = date(2026, 6, 12)
"""A Friday; the day before it is the newest that has come in."""


@pytest.fixture
def at(monkeypatch):
    """Set the clock to a day in June at an hour in Japan."""

    def set_(day, hour=12):
        moment = datetime(2026, 6, day, tzinfo=UTC) + timedelta(hours=hour - 9)
        monkeypatch.setattr(clock, "now", lambda: moment)

    set_(TODAY.day)
    return set_


@pytest.fixture
def use(sql):
    """Write what lines used on days of June or before; a pair of dates is a span, both ends included."""

    def write(sim_ids, days, size, roaming=None):
        first, last = days if isinstance(days, tuple) else (days, days)
        sql(
            "INSERT INTO usage_daily (usage_date, sim_id, source, bytes_total, bytes_roaming)"
            " SELECT d::date, s, 'api', :size, :roaming FROM unnest(CAST(:sims AS bigint[])) s,"
            " generate_series(CAST(:first AS date), CAST(:last AS date), interval '1 day') d"
            " ON CONFLICT (usage_date, sim_id, source) DO UPDATE SET bytes_total = excluded.bytes_total",
            sims=list(sim_ids),
            first=first,
            last=last,
            size=size,
            roaming=roaming,
        )

    return write


@pytest.fixture
def old(sims, sql, at):
    """The four lines, three of them in tablets since January; return their ids by number."""
    sql("UPDATE sim SET created_at = '2026-01-01'")
    sql("UPDATE sim_binding SET valid_from = '2026-01-01'")
    sql("UPDATE device SET updated_at = '2026-06-01T00:00+09:00'")
    return sims


def look(at=None, day=None):
    """Let the job do its rounds of a day: one forecasts, the next one looks."""
    if at is not None:
        at(day)
    for _ in range(2):
        usage_watch.look()


def live(sql, kind):
    return sql(
        "SELECT subject, state FROM sim_finding WHERE kind = :kind AND state IN ('suspected', 'open') ORDER BY subject",
        kind=kind,
    )


def test_any_use_abroad(old, use, sql, at) -> None:
    """A byte abroad is a finding at once, by the carrier's figures or a tablet's word, and is gone after two weeks."""
    use([old[1]], date(2026, 6, 10), GB, roaming=1)
    sql(
        "INSERT INTO sim_observation (observed_at, source, sim_id, roaming)"
        " VALUES ('2026-06-11T10:00+09:00', 'device', :sim, true), ('2026-06-11T10:00+09:00', 'device', :other, false)",
        sim=old[2],
        other=old[3],
    )
    look()
    assert live(sql, "roaming") == [(f"sim:{old[1]}", "open"), (f"sim:{old[2]}", "open")]
    look(at, 27)
    assert live(sql, "roaming") == []


def test_use_while_the_tablet_is_not_handed_out(old, use, sql, at) -> None:
    """Use on days that began after it went to repair is suspected, and sure on a second day; a trickle is none."""
    sql("UPDATE device SET state = 'repair', updated_at = '2026-06-10T09:00+09:00' WHERE control_number = 'T1'")
    sql("UPDATE device SET state = 'stock' WHERE control_number = 'T2'")
    use([old[1]], (date(2026, 6, 1), date(2026, 6, 10)), GB)
    use([old[2]], (date(2026, 6, 5), date(2026, 6, 11)), 900_000)
    use([old[3]], (date(2026, 6, 1), date(2026, 6, 11)), GB)
    look()
    assert live(sql, "used_while_idle") == []
    use([old[1]], date(2026, 6, 11), GB)
    at(12, hour=14)
    look()
    assert live(sql, "used_while_idle") == [(f"sim:{old[1]}", "suspected")]
    use([old[1]], date(2026, 6, 12), GB)
    look(at, 13)
    assert live(sql, "used_while_idle") == [(f"sim:{old[1]}", "open")]


def test_use_after_a_suspension(old, use, sql) -> None:
    """Use on a day after the carrier said suspended, or a day after we asked for it; not before, and not in between."""
    sql(
        "UPDATE sim SET effective_status = 'suspended', status_changed_at = '2026-06-10T15:00+09:00' WHERE id = :sim",
        sim=old[1],
    )
    sql(
        "UPDATE sim SET effective_status = 'active', intended_status = 'suspended',"
        " intended_at = '2026-06-10T15:00+09:00' WHERE id = ANY(CAST(:sims AS bigint[]))",
        sims=[old[2], old[3]],
    )
    use([old[1]], (date(2026, 6, 1), date(2026, 6, 11)), 1)
    use([old[2]], (date(2026, 6, 1), date(2026, 6, 11)), 1)
    use([old[3]], (date(2026, 6, 1), date(2026, 6, 12)), 1)
    look()
    assert live(sql, "used_after_suspension") == [(f"sim:{old[1]}", "open"), (f"sim:{old[3]}", "open")]


def test_silent_lines(old, use, sql) -> None:
    """An active line without a byte since the last cycle began; not where its whole account has no figures."""
    sql("UPDATE sim SET effective_status = 'active'")
    look()
    assert live(sql, "silent_line") == []
    use([old[1]], (date(2026, 5, 1), date(2026, 6, 11)), GB)
    use([old[2]], (date(2026, 5, 1), date(2026, 6, 11)), 0)
    use([old[3]], date(2026, 5, 2), 1)
    sql(
        "INSERT INTO usage_cycle (sim_id, cycle_start, cycle_end, account_id, bytes_total)"
        " SELECT id, '2026-05-01', '2026-06-01', account_id, 1 FROM sim WHERE id = :sim",
        sim=old[1],
    )
    sql("UPDATE sim_round SET finished_at = NULL")
    look()
    assert live(sql, "silent_line") == [(f"sim:{old[2]}", "open"), (f"sim:{old[4]}", "open")]


def test_a_line_far_above_its_own_days(old, use, sql, at) -> None:
    """Above 500 MB and far from its own school days: suspected, sure on a second day or above 5 GB, for a week."""
    use(old.values(), (date(2026, 4, 20), TODAY - timedelta(days=1)), 50 * MB)
    use([old[1]], TODAY - timedelta(days=1), 3 * GB)
    use([old[2]], TODAY - timedelta(days=1), 400 * MB)
    use([old[3]], TODAY - timedelta(days=1), 6 * GB)
    look()
    assert live(sql, "unusual_use") == [(f"sim:{old[1]}", "suspected"), (f"sim:{old[3]}", "open")]
    use(old.values(), TODAY, 50 * MB)
    use([old[1]], TODAY, 3 * GB)
    look(at, 13)
    assert live(sql, "unusual_use") == [(f"sim:{old[1]}", "open"), (f"sim:{old[3]}", "open")]
    use(old.values(), (date(2026, 6, 13), date(2026, 6, 20)), 50 * MB)
    look(at, 21)
    assert live(sql, "unusual_use") == []


def test_a_whole_school_is_one_finding(old, use, sql, at, district) -> None:
    """A step of a whole school is one finding of the school, on its second day, and none of its lines."""
    sql(
        "INSERT INTO device (control_number, serial, platform, model, school_id, lease_contract, state)"
        " SELECT 'X' || n, 'XSERIAL' || n, 'apple', '', (SELECT id FROM school WHERE code = 'E1'), '', 'issued'"
        " FROM generate_series(1, 12) n"
    )
    sql(
        "INSERT INTO sim (iccid_core, iccid_full, account_id, source)"
        " SELECT 'x' || n, 'x' || n, (SELECT id FROM carrier_account), 'import' FROM generate_series(1, 12) n"
    )
    sql(
        "INSERT INTO sim_binding (sim_id, device_id, valid_from, source, bound_by)"
        " SELECT s.id, d.id, '2026-01-01', 'import', 'test' FROM sim s JOIN device d"
        " ON d.control_number = upper(s.iccid_core) WHERE s.iccid_core LIKE 'x%'"
    )
    lines = [row[0] for row in sql("SELECT sim_id FROM sim_binding")]
    use(lines, (date(2026, 4, 20), date(2026, 6, 10)), 60 * MB)
    use(lines, date(2026, 6, 11), 900 * MB)
    look()
    [(school,)] = sql("SELECT id FROM school WHERE code = 'E1'")
    assert live(sql, "school_step") == [(f"school:{school}", "suspected")]
    use(lines, date(2026, 6, 12), 900 * MB)
    look(at, 13)
    assert live(sql, "school_step") == [(f"school:{school}", "open")]
    assert live(sql, "unusual_use") == []
    [(subject,)] = sql("SELECT subject FROM notice WHERE what = 'sim_finding.open'")
    assert subject == "a whole school uses far more than before (1)"


def test_use_at_night(old, sql, at) -> None:
    """More than 500 MB between 22:00 and 06:00, where hours are known: suspected, and sure on a second night."""
    for day in (11, 12):
        sql(
            "INSERT INTO usage_hourly (hour_start, sim_id, source, bytes_total)"
            " SELECT CAST(:evening AS timestamptz) + n * interval '1 hour', :sim, 'api', 100000000"
            " FROM generate_series(0, 7) n",
            evening=f"2026-06-{day}T22:00+09:00",
            sim=old[1],
        )
    look()
    assert live(sql, "night_use") == [(f"sim:{old[1]}", "suspected")]
    look(at, 13)
    assert live(sql, "night_use") == [(f"sim:{old[1]}", "open")]


def test_looks_have_their_time(old, use, sql, at) -> None:
    """What cannot be is looked for once an hour, what is unusual once a day and not before half past five."""
    at(12, hour=4)
    look()
    rounds = "SELECT name, finished_at IS NOT NULL FROM sim_round WHERE name IN ('unusual_use', 'use_that_cannot_be')"
    assert sql(rounds) == [("use_that_cannot_be", True)]
    use([old[1]], date(2026, 6, 11), GB, roaming=1)
    look()
    assert live(sql, "roaming") == []
    at(12, hour=6)
    look()
    assert len(live(sql, "roaming")) == 1
    assert len(sql(rounds)) == 2


def school_days(medians, *, lines=30, first=date(2026, 5, 11)):
    return [SchoolDay(first + timedelta(days=n), Kind.SCHOOL, lines, each) for n, each in enumerate(medians)]


@pytest.mark.parametrize(
    ("days", "step"),
    [
        ([], None),
        (school_days([100 * MB] * 5 + [900 * MB]), False),
        (school_days([100 * MB] * 12 + [900 * MB]), True),
        (school_days([100 * MB] * 12 + [130 * MB]), False),
        (school_days([100 * MB] * 12 + [900 * MB], lines=9), False),
        (school_days([5 * MB] * 12 + [45 * MB]), False),
        (school_days([100 * MB, 300 * MB, 900 * MB] * 4 + [900 * MB]), False),
    ],
)
def test_what_is_a_step(days, step) -> None:
    """Few days, few lines, little use, a small change or a restless school make no step."""
    found = newest(days)
    assert (found and found.is_step) == step


def test_a_day_that_came_in_half_is_not_judged() -> None:
    """The newest day counts once at least half of the lines have reported."""
    days = [*school_days([100 * MB] * 12), SchoolDay(date(2026, 6, 1), Kind.SCHOOL, 14, 900 * MB)]
    assert newest(days).median == 100 * MB
