"""Figures are kept in months that come and go by themselves, for as long as the settings say."""

import pytest

from mdm import settings
from workers import history as job

TABLES = {
    "usage_daily": "(usage_date, sim_id, source, bytes_total) VALUES (CAST(:at AS date), 1, 'api', 5)",
    "usage_hourly": "(hour_start, sim_id, source, bytes_total) VALUES (:at, 1, 'api', 5)",
    "usage_snapshot": "(taken_at, sim_id, cycle_start, bytes_total) VALUES (:at, 1, CAST(:at AS date), 5)",
    "sim_observation": "(observed_at, source) VALUES (:at, 'carrier')",
    "usage_revision": "(replaced_at, sim_id, usage_date, source, revision, bytes_total)"
    " VALUES (:at, 1, CAST(:at AS date), 'api', 1, 5)",
}


def parts(sql) -> set[str]:
    rows = sql("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")
    return {name for (name,) in rows if name.startswith(("usage_", "sim_observation"))}


def put(sql, table: str, at: str) -> None:
    """Put a row `at` months or days from now."""
    [(moment,)] = sql(f"SELECT date_trunc('month', now()) + interval '12 days' + interval '{at}'")
    sql(f"INSERT INTO {table} {TABLES[table]}", at=moment)


def places(sql, table: str) -> list[str]:
    return [place for (place,) in sql(f"SELECT tableoid::regclass::text FROM {table} ORDER BY 1")]


def month(sql, table: str, further: int) -> str:
    [(name,)] = sql(f"SELECT to_char(now() AT TIME ZONE 'UTC' + interval '{further} months', '\"_p\"YYYY_MM')")
    return f"{table}{name}"


@pytest.mark.parametrize("table", TABLES)
def test_months_are_made_ahead_and_for_figures_that_came_late(database, sql, table) -> None:
    """A month to come is there before it begins; rows of a month that had no part are moved into one of their own."""
    sql(f"DROP TABLE {month(sql, table, 2)}")
    put(sql, table, "2 months")
    put(sql, table, "-1 month")
    assert places(sql, table) == [f"{table}_default"] * 2
    done = job.keep()
    assert (done["made"], done["dropped"]) == (2, 0)
    assert places(sql, table) == [month(sql, table, -1), month(sql, table, 2)]
    assert job.keep().total() == 0


def test_each_kind_of_figure_is_kept_for_its_own_time(database, sql, monkeypatch) -> None:
    """Hours and readings go after days, daily figures after months; what is younger stays, and so does a stray."""
    monkeypatch.setenv("TABANE_USAGE__HOURLY_DAYS", "35")
    monkeypatch.setenv("TABANE_USAGE__SNAPSHOT_DAYS", "70")
    monkeypatch.setenv("TABANE_USAGE__OBSERVATION_DAYS", "40")
    monkeypatch.setenv("TABANE_USAGE__DAILY_MONTHS", "13")
    settings.get_settings.cache_clear()
    for table in TABLES:
        for at in ("0 months", "-1 month", "-4 months", "-13 months", "-14 months"):
            put(sql, table, at)
    job.keep()
    kept = {table: [(month(sql, table, -n) in parts(sql)) for n in (0, 1, 4, 13, 14)] for table in TABLES}
    assert kept["usage_daily"] == kept["usage_revision"] == [True, True, True, True, False]
    for table in ("usage_hourly", "usage_snapshot", "sim_observation"):
        assert kept[table] == [True, True, False, False, False]
        assert len(places(sql, table)) == 2
    job.keep()
    assert len(places(sql, "usage_daily")) == 4


def test_what_came_in_is_forgotten_but_not_that_it_came(boss, sql) -> None:
    """After the time of disputes the bytes go and their digest stays, and in the end that goes too."""
    [(account,)] = sql("SELECT id FROM carrier_account")
    for number, days in enumerate((1, 89, 91, 3000)):
        sql(
            "INSERT INTO usage_raw (account_id, source, payload_hash, size, body, received_at)"
            f" VALUES ({account}, 'api', :hash, 3, 'abc', now() - interval '{days} days')",
            hash=bytes([number]) * 32,
        )
    assert job.keep()["emptied"] == 2
    assert sql("SELECT body IS NULL FROM usage_raw ORDER BY received_at DESC") == [(False,), (False,), (True,)]
