"""Ended commands leave the hot table for months, nothing is lost on the way, and nobody can tell from outside."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from alembic import command as alembic
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from mdm import db
from mdm.auth import Role
from mdm.commands import history
from workers import history as job

ROOT = Path(__file__).resolve().parent.parent.parent


def ended(sql, device_id: int, kind: str = "restart", *, state: str = "done", days: float = 3, epoch: int = 1) -> str:
    """Put a command that ended `days` ago in the hot table, with its steps."""
    [(command_id,)] = sql(
        "INSERT INTO command (device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at, ended_at,"
        f" delivered_at, result) VALUES ({device_id}, {epoch}, '{kind}', '{{}}', '{uuid4()}', 1, '{state}', now(),"
        f" now() - interval '{days} days', now() - interval '9 days', NULL) RETURNING id"
    )
    for step in ("queued", "delivered", state):
        sql(f"INSERT INTO command_event (command_id, state, note) VALUES ('{command_id}', '{step}', 'x')")
    return str(command_id)


def where(sql) -> dict[str, str]:
    """Say of each command in which table it is; one that is in both fails."""
    rows = sql("SELECT id::text, 'hot' FROM command UNION ALL SELECT id::text, 'past' FROM command_past")
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def everything_shown(api, device_id: int) -> list:
    """Every listing that an operator can ask for, page by page, and every detail."""
    seen = []
    for wanted in ({}, {"device_id": device_id}, {"serial": "seriala"}, {"state": "failed"}, {"kind": "locate"}):
        cursor = {}
        for _ in range(20):
            page = api.get("/commands", limit=2, **wanted, **cursor).json()
            seen.append(page["items"])
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        else:
            pytest.fail("the listing does not end")
    ids = sorted({line["id"] for page in seen for line in page})
    return [seen, [api.get(f"/commands/{each}").json() for each in ids]]


def test_moved_commands_are_shown_exactly_as_before(district, sign_in, sql) -> None:
    """Lists, filters, pages, details and timelines are the same before and after, and scope holds."""
    hana = sign_in("hana")
    device_id = district.tablets["a"]
    for number in range(5):
        ended(sql, device_id, ("restart", "locate")[number % 2], state=("done", "failed")[number // 3])
        ended(sql, district.tablets["far"], "locate", days=(0, 3)[number % 2])
    live = hana.ask(device_id, "restart").json()["command"]
    before = everything_shown(hana, device_id)
    assert job.keep()["moved"] == 7
    assert sorted(where(sql).values()) == ["hot"] * 4 + ["past"] * 7
    assert everything_shown(hana, device_id) == before
    assert where(sql)[live["id"]] == "hot"
    there = sign_in("elsewhere", schools=["E2"])
    past = {each for each, table in where(sql).items() if table == "past"}
    seen = {line["id"] for line in there.get("/commands", limit=50).json()["items"]}
    assert len(seen) == 5
    assert len(seen & past) == 2
    assert all(there.get(f"/commands/{each}").status_code == 404 for each in past - seen)
    viewer = sign_in("viewer", Role.VIEWER)
    assert viewer.get(f"/commands/{min(past)}").json()["timeline"][-1]["state"] in {"done", "failed"}


def test_a_command_of_the_past_cannot_be_cancelled(district, sign_in, sql) -> None:
    """It is over, as it was before it moved; to the cancelled, cancelling again is harmless."""
    hana = sign_in("hana")
    done, cancelled = (ended(sql, district.tablets["a"], state=state) for state in ("done", "cancelled"))
    job.keep()
    answer = hana.post(f"/commands/{done}/cancel")
    assert (answer.status_code, answer.json()["detail"]) == (409, "this command is over: done")
    assert hana.post(f"/commands/{cancelled}/cancel").json()["state"] == "cancelled"


def test_what_still_decides_something_stays(district, sign_in, sql) -> None:
    """Live and recent ones, and three kinds of ended ones that are still looked for; once they are not, they go."""
    hana, a, b = sign_in("hana"), district.tablets["a"], district.tablets["b"]
    recent = ended(sql, a, days=1.9)
    asked = hana.wipe(b)["command"]["id"]
    sql(f"UPDATE command SET state = 'expired', ended_at = now() - interval '3 days' WHERE id = '{asked}'")
    older = hana.ask(a, "lost_mode_off").json()["command"]["id"]
    sql(f"UPDATE command SET state = 'not_now' WHERE id = '{older}'")
    overtaking = ended(sql, a, "lost_mode_on")
    refused = ended(sql, a, "inventory_profiles", state="failed")
    sql(f"INSERT INTO verification (device_id, manifest, status, installed_at) VALUES ({a}, '', 'asked', now())")
    gone = ended(sql, a)
    assert job.keep()["moved"] == 1
    assert {each for each, table in where(sql).items() if table == "hot"} == {
        recent,
        asked,
        older,
        overtaking,
        refused,
    }
    sql("UPDATE approval SET state = 'cancelled'")
    sql(f"UPDATE command SET state = 'superseded', ended_at = now() WHERE id = '{older}'")
    sql("UPDATE verification SET status = 'verified'")
    assert job.keep()["moved"] == 3
    assert {each for each, table in where(sql).items() if table == "past"} == {gone, asked, overtaking, refused}


def test_a_job_killed_in_the_middle_loses_nothing(district, sql) -> None:
    """A SIGKILL between and inside of batches: each command is in one table, and the next round moves the rest."""
    sql(
        "INSERT INTO command (device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at, ended_at)"
        f" SELECT {district.tablets['a']}, 1, 'restart', '{{}}', 'x', 1, 'done', now(), now() - interval '3 days'"
        " FROM generate_series(1, 2000)"
    )
    script = "from workers import history\nwhile True: print(history.keep(batch=1, budget_s=1), flush=True)"
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=os.environ, stdout=subprocess.DEVNULL)
        before = len([table for table in where(sql).values() if table == "past"])
        try:
            deadline = time.monotonic() + 60
            while len([table for table in where(sql).values() if table == "past"]) <= before + 5:
                assert time.monotonic() < deadline
                assert process.poll() is None
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert len(where(sql)) == 2000
    job.keep()
    assert set(where(sql).values()) == {"past"}


def parts(sql) -> set[str]:
    rows = sql("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")
    return {name for (name,) in rows if name.startswith("command_")}


def test_months_are_made_ahead_once_and_strayed_rows_come_along(database, sql) -> None:
    """However many make them at once; what had to go to the default part meanwhile is moved into its month."""
    whole = parts(sql)
    assert len(whole) == 8
    [(last,)] = sql("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '2 months', '\"p\"YYYY_MM')")
    sql(f"DROP TABLE command_event_{last}, command_past_{last}")
    sql(f"INSERT INTO command_event (command_id, state, at) VALUES ('{uuid4()}', 'done', now() + interval '2 months')")
    assert sql("SELECT count(*) FROM command_event_default") == [(1,)]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: job.keep()["made"], range(4)))
    assert sorted(made) == [0, 0, 0, 2]
    assert parts(sql) == whole
    assert sql("SELECT tableoid::regclass::text FROM command_event") == [(f"command_event_{last}",)]


def test_old_months_go(database, sql, monkeypatch) -> None:
    """What is of more than `history_months` whole months before this one is dropped, wherever it stands."""
    names = sql(
        "SELECT to_char(m, 'YYYY_MM'), to_char(m, 'YYYY-MM-01'), to_char(m + interval '1 month', 'YYYY-MM-01')"
        " FROM generate_series(3, 2, -1) n, LATERAL (SELECT now() AT TIME ZONE 'UTC' - n * interval '1 month') x(m)"
    )
    sql("DROP TABLE " + ", ".join(name for name in parts(sql) if not name.endswith("default")))
    for name, start, end in names:
        sql(f"CREATE TABLE command_event_p{name} PARTITION OF command_event FOR VALUES FROM ('{start}') TO ('{end}')")
    for age in (5, 3, 2, 0):
        sql(
            f"INSERT INTO command_event (command_id, state, at, note) VALUES ('{uuid4()}', 'done',"
            f" date_trunc('month', now()) - interval '{age} months' + interval '1 day', '{age}')"
        )
    monkeypatch.setenv("TABANE_HISTORY_MONTHS", "2")
    db.get_settings.cache_clear()
    assert job.keep()["dropped"] == 1
    assert sql("SELECT note FROM command_event ORDER BY note") == [("0",), ("2",)]


@pytest.mark.parametrize(
    "call",
    [
        "month_part_make('command', '2026-01-01')",
        "month_part_make('command_past_default', '2026-01-01')",
        "month_part_make('command_event (id int); --', '2026-01-01')",
        "month_part_make('pg_catalog.pg_class', '2026-01-01')",
        "month_part_make('command_event', '1999-12-01')",
        "month_part_make('command_event', 'infinity')",
        "month_part_make('command_event', NULL)",
        "month_part_make(NULL, '2026-01-01')",
        "month_parts_drop('audit_event', '2026-01-01')",
        "month_parts_drop('command_event', (now() + interval '1 month')::date)",
        "month_parts_drop('command_event', 'infinity')",
        "month_parts_drop('command_event', NULL)",
    ],
)
def test_the_owners_functions_take_nothing_else(database, sql, call) -> None:
    """Other tables than those of months, months out of bounds, and the months that stay are refused."""
    with pytest.raises(DBAPIError, match=r"kept|such a month"):
        sql(f"SELECT {call}")


def test_a_month_that_is_missing_stops_nobody(district, sign_in, sql) -> None:
    """Without any part but the default one, commands are asked for, moved and shown."""
    sql("DROP TABLE " + ", ".join(name for name in parts(sql) if not name.endswith("default")))
    hana = sign_in("hana")
    old = ended(sql, district.tablets["a"])
    assert hana.ask(district.tablets["b"], "restart").status_code == 202
    with db.transaction() as session:
        assert history.move_ended(session, limit=9).count == 1
    assert len(hana.get(f"/commands/{old}").json()["timeline"]) == 3


def test_the_first_part_is_the_table_as_it_was(empty_database) -> None:
    """The migration keeps every step with its number, goes on counting, and the former code's statement still works."""
    engine = create_engine(db.dsn(empty_database))
    config = db._alembic_config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.upgrade(config, "0008")
        connection.execute(
            text(
                "INSERT INTO school (code, name) VALUES ('S', 'S');"
                "INSERT INTO device (control_number, serial, platform, model, school_id, lease_contract, state)"
                " VALUES ('C', 'S', 'apple', '', 1, '', 'issued');"
                "INSERT INTO command (device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at)"
                " VALUES (1, 1, 'restart', '{}', 'r', 1, 'queued', now());"
                "INSERT INTO command_event (command_id, state, note) SELECT id, 'queued', n::text"
                " FROM command, generate_series(1, 7) n"
            )
        )
        [(filenode,)] = connection.execute(text("SELECT pg_relation_filenode('command_event')")).all()
        alembic.upgrade(config, "head")
        connection.execute(
            text(
                "WITH t AS (UPDATE command SET state = 'sent' RETURNING id)"
                " INSERT INTO command_event (command_id, state) SELECT id, 'sent' FROM t RETURNING id"
            )
        )
        rows = connection.execute(text("SELECT id, note, pg_relation_filenode(tableoid) FROM command_event")).all()
    engine.dispose()
    assert sorted(rows) == [*((n, str(n), filenode) for n in range(1, 8)), (8, "", filenode)]


def test_models_and_migrations_agree(empty_database) -> None:
    """Nothing is left for a migration to do once all have run, and the parts of a month are no difference."""
    db.migrate(empty_database)
    engine = create_engine(db.dsn(empty_database))
    config = db._alembic_config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        alembic.check(config)
    engine.dispose()
