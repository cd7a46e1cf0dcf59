"""The daily forecasts through their job, API and command line, with use in the ledger's table."""

import json
from datetime import UTC, date, datetime, timedelta

import pytest
from typer.testing import CliRunner

from mdm import clock
from mdm.app import operator_app
from mdm.auth import Role
from mdm.cli import build
from tests.serving import serving
from workers import usage_watch

GB = 10**9
MADE = date(2026, 6, 11)
FIRST = date(2026, 4, 1)


@pytest.fixture
def at(monkeypatch):
    """Set the clock to a day, 06:00 in Japan unless said otherwise; None: to what it is."""
    real = clock.now

    def set_(day, hour=6):
        if day is None:
            monkeypatch.setattr(clock, "now", real)
            return
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour - 9)
        monkeypatch.setattr(clock, "now", lambda: moment)

    set_(MADE)
    return set_


@pytest.fixture
def use(sql):
    """Write a line's days from one day to before another, `size` on weekdays and half of it on weekends."""

    def write(sim, first, end, size, source="api"):
        sql(
            "INSERT INTO usage_daily (usage_date, sim_id, source, bytes_total) SELECT d::date, :sim, :source,"
            " CASE WHEN extract(isodow FROM d) < 6 THEN :size ELSE :size / 2 END FROM"
            " generate_series(CAST(:first AS date), CAST(:end AS date) - 1, interval '1 day') d"
            " ON CONFLICT (usage_date, sim_id, source) DO UPDATE SET bytes_total = excluded.bytes_total",
            sim=sim,
            source=source,
            size=size,
            first=first,
            end=end,
        )

    return write


@pytest.fixture
def fleet(boss, sims, sql, use, at):
    """Three lines in a pool, of 1, 2 and 3 GB on school days since April, and a spare that never was used."""
    pool = boss.post("pools", json={"account": "files-1", "name": "share-1"}).json()["id"]
    sql(
        "INSERT INTO pool_membership (pool_id, sim_id, valid_from, set_by)"
        " SELECT :pool, id, '2026-01-01', 'test' FROM sim",
        pool=pool,
    )
    for number in (1, 2, 3):
        use(sims[number], FIRST, MADE, number * GB)
    return pool


def expected(first, end, size):
    return sum(size if (first + timedelta(days=n)).weekday() < 5 else size // 2 for n in range((end - first).days))


def snapshots(sql, scope):
    rows = sql(
        "SELECT scope_id, used_bytes, p10, p50, p90, actual_bytes FROM forecast_snapshot WHERE scope = :scope"
        " ORDER BY made_on, scope_id",
        scope=scope,
    )
    return {row[0]: row[1:] for row in rows}


def test_a_day_is_forecast_once(fleet, sims, sql, at, use) -> None:
    """Pools, schools, the fleet and every line, to what a regular life comes to; a second hint adds nothing."""
    assert usage_watch.look()["sims"] == 4
    month = expected(date(2026, 6, 1), date(2026, 7, 1), 6 * GB)
    for scope, scope_id in (("fleet", 0), ("pool", fleet)):
        used, p10, p50, p90, actual = snapshots(sql, scope)[scope_id]
        assert used == expected(date(2026, 6, 1), MADE, 6 * GB)
        assert p50 == pytest.approx(month, rel=0.02)
        assert p10 <= p50 <= p90
        assert actual is None
    lines = snapshots(sql, "sim")
    assert lines[sims[2]][2] == pytest.approx(month / 3, rel=0.02)
    assert lines[sims[4]] == (0, 0, 0, 0, None)
    [school] = snapshots(sql, "school").values()
    assert school[2] == pytest.approx(month, rel=0.02)
    use(sims[1], date(2026, 6, 10), MADE, 50 * GB)
    before = sql("SELECT * FROM forecast_snapshot ORDER BY scope, scope_id")
    assert not usage_watch.look()["sims"]
    assert sql("SELECT * FROM forecast_snapshot ORDER BY scope, scope_id") == before


def test_before_the_morning(fleet, sql, at) -> None:
    """A new house forecasts at once; from then on it waits for the day's figures until half past five."""
    at(MADE, hour=3)
    assert usage_watch.look()["sims"] == 4
    at(MADE + timedelta(days=1), hour=3)
    assert not usage_watch.look()["sims"]
    at(MADE + timedelta(days=1), hour=6)
    assert usage_watch.look()["sims"] == 4


def test_one_round_may_end_early(fleet, sql) -> None:
    """What a round without time has left over, the next one makes."""
    assert not usage_watch.look(budget_s=0)["sims"]
    assert snapshots(sql, "fleet")
    assert usage_watch.look()["sims"] == 4


def test_days_that_did_not_come(fleet, sims, sql, use) -> None:
    """Three days without a report of anybody, and one of a single line, do not pull the forecast down."""
    sql("DELETE FROM usage_daily WHERE usage_date BETWEEN '2026-06-08' AND '2026-06-09'")
    sql("DELETE FROM usage_daily WHERE usage_date = '2026-06-10' AND sim_id <> :sim", sim=sims[1])
    usage_watch.look()
    month = expected(date(2026, 6, 1), date(2026, 7, 1), 6 * GB)
    assert snapshots(sql, "pool")[fleet][2] == pytest.approx(month, rel=0.02)
    assert snapshots(sql, "sim")[sims[2]][2] == pytest.approx(month / 3, rel=0.1)


def test_the_shown_figure_counts(fleet, sims, sql, use) -> None:
    """Of two sources only the one that is shown is counted."""
    use(sims[1], FIRST, MADE, 40 * GB, source="device")
    sql("UPDATE usage_daily SET superseded = true WHERE source = 'device'")
    usage_watch.look()
    month = expected(date(2026, 6, 1), date(2026, 7, 1), 6 * GB)
    assert snapshots(sql, "fleet")[0][2] == pytest.approx(month, rel=0.02)


def test_what_it_came_to(fleet, sims, sql, use, at, boss) -> None:
    """Two days into the next cycle forecasts learn what it came to; corrections follow; of lines four days are kept."""
    for day in (date(2026, 6, 6), date(2026, 6, 7), MADE):
        at(day)
        usage_watch.look()
    for number in (1, 2, 3):
        use(sims[number], MADE, date(2026, 7, 3), number * GB)
    at(date(2026, 7, 2))
    usage_watch.look()
    assert {row[-1] for row in snapshots(sql, "pool").values()} == {None}
    at(date(2026, 7, 3))
    usage_watch.look()
    month = expected(date(2026, 6, 1), date(2026, 7, 1), 6 * GB)
    june = "SELECT DISTINCT actual_bytes FROM forecast_snapshot WHERE scope = :scope AND cycle_start = '2026-06-01'"
    for scope in ("pool", "fleet", "school"):
        assert sql(june, scope=scope) == [(month,)]
    days = sql(
        "SELECT DISTINCT made_on FROM forecast_snapshot WHERE scope = 'sim' AND made_on < '2026-07-01' ORDER BY 1"
    )
    assert days == [(date(2026, 6, 6),), (MADE,)]
    use(sims[1], date(2026, 6, 30), date(2026, 7, 1), 2 * GB)
    at(date(2026, 7, 4))
    usage_watch.look()
    assert sql(june, scope="fleet") == [(month + GB,)]
    scores = {(each["scope"], each["day"]): each for each in boss.get("usage/forecasts/scores").json()}
    assert scores["pool", 10]["error"] < 0.03
    assert scores["sim", 5]["forecasts"] == 3


def test_old_forecasts_of_lines_go(fleet, sql) -> None:
    """Forecasts of single lines are kept for 400 days, those of pools for ever."""
    sql(
        "INSERT INTO forecast_snapshot (made_on, scope, scope_id, method, cycle_start, used_bytes, p10, p50, p90)"
        " SELECT d::date, scope, 1, 'calendar-2', d::date, 0, 0, 0, 0 FROM unnest(ARRAY['sim', 'pool']) scope,"
        " unnest(ARRAY['2025-05-01', '2025-05-30']) d"
    )
    usage_watch.look()
    kept = sql("SELECT scope, made_on::text FROM forecast_snapshot WHERE made_on < '2026-01-01' ORDER BY 1, 2")
    assert kept == [("pool", "2025-05-01"), ("pool", "2025-05-30"), ("sim", "2025-05-30")]


def test_a_look_back(fleet, boss) -> None:
    """A regular life is forecast well in a past cycle that has one before it, and better than by going straight on."""
    found = boss.get("usage/forecasts/backtest", params={"cycles": 2, "day": [10]}).json()
    assert [(each["scope"], each["forecasts"]) for each in found] == [("fleet", 1), ("pool", 1), ("school", 1)]
    for each in found:
        assert each["error"] < 0.01 < each["run_rate"]


def test_who_sees_forecasts(fleet, sims, boss, sign_in, at) -> None:
    """People of a school see its forecast and its lines'; pools, the fleet and scores are the whole district's."""
    usage_watch.look()
    at(None)
    assert [(each["scope"], each["name"]) for each in boss.get("usage/forecasts").json()] == [
        ("fleet", None),
        ("pool", "files-1/share-1"),
        ("school", "E1"),
    ]
    hana = sign_in("hana", Role.SUPPORT, "E1")
    assert [each["name"] for each in hana.get("usage/forecasts").json()] == ["E1"]
    assert hana.get(f"usage/forecasts/sims/{sims[1]}").json()["name"] == "T1"
    assert hana.get("usage/forecasts/scores").status_code == 403
    jiro = sign_in("jiro", Role.SUPPORT, "E2")
    assert jiro.get("usage/forecasts").json() == []
    assert jiro.get(f"usage/forecasts/sims/{sims[1]}").status_code == 404


def test_from_the_command_line(fleet, boss, monkeypatch) -> None:
    """Forecasts with their share of the allowance, one line's, scores, and a look back."""
    usage_watch.look()
    with serving(operator_app()) as url:
        monkeypatch.setenv("TABANE_URL", url)
        monkeypatch.setenv("TABANE_TOKEN", boss.headers["Authorization"].removeprefix("Bearer "))

        def tabane(*words):
            done = CliRunner().invoke(build("usage"), ["usage", *words], prog_name="tabane")
            assert done.exit_code == 0, done.output
            return done.stdout

        assert "files-1/share-1" in tabane("forecast")
        assert json.loads(tabane("forecast", "T2", "--json"))[0]["name"] == "T2"
        assert "inside" in tabane("scores")
        assert "pool      10" in tabane("backtest", "--cycles", "1", "--day", "10")
