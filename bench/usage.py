"""How close the usage ledger comes to bare SQL: a month taken in, and questions to three years of days. Prints ratios.

`usage_import_vs_copy`: rows/s of taking in a month of 15,000 lines by day (450,000 figures as an adapter hands them
over, in one transaction: lines found by ICCID, bounds, comparison, correction log, best source, cycles) divided by
rows/s of psycopg's COPY of the same rows into a table with the same columns, key and index.
`usage_import_vs_unkeyed_copy` is the same against a table without key, index or checks, where rows are only piled up;
`usage_reimport_vs_copy` takes the same month in again, which compares everything and writes nothing.

With 36 months (16.4 million rows) in place, `usage_pool_mtd_vs_bare`, `usage_top50_vs_bare` and
`usage_line_year_vs_bare` are how many times as long the ledger's own question takes as the best SQL that we could
write for these very tables by hand, on one connection, both warm, taking turns.
"""

import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
from sqlalchemy import text
from sqlmodel import Session

from bench.ledger import database
from mdm import clock, db, months
from mdm.auth import Scope
from mdm.cellular import accounts, retention
from mdm.cellular.carriers.values import By, SimKey, UsageDay
from mdm.cellular.reports import lines as report
from mdm.cellular.usage import intake, reading

LINES = 15_000
MONTHS = 36
DAYS = 30
ROUNDS = 3
_TURNS: Final = 15
_COLUMNS: Final = "usage_date, sim_id, source, bytes_total, bytes_up, bytes_down"


def measure(*, lines: int = LINES, months_kept: int = MONTHS, rounds: int = ROUNDS) -> dict[str, float]:
    """Return all ratios with the figures behind them."""
    with tempfile.TemporaryDirectory() as folder, database(Path(folder)) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            pool = _inventory(connection, lines)
        found = _taking_in(url, lines, rounds)
        _fill(url, lines, months_kept)
        return found | _questions(pool, lines)


def _inventory(connection: psycopg.Connection, lines: int) -> int:
    """Make an account with its lines, all of them in one pool."""
    connection.execute(
        "INSERT INTO carrier_account (name, kind) VALUES ('bench', 'csv');"
        " INSERT INTO plan_pool (account_id, name, overage) SELECT id, 'all', 'none' FROM carrier_account"
    )
    connection.execute(
        "INSERT INTO sim (iccid_core, iccid_full, account_id, source) SELECT '8981' || lpad(n::text, 14, '0'),"
        " '8981' || lpad(n::text, 14, '0'), (SELECT id FROM carrier_account), 'import' FROM generate_series(1, %s) n",
        [lines],
    )
    connection.execute(
        "INSERT INTO pool_membership (pool_id, sim_id, valid_from, set_by) SELECT p.id, s.id,"
        " now() - interval '10 years', 'bench' FROM sim s, plan_pool p"
    )
    connection.execute("VACUUM ANALYZE")
    return int(connection.execute("SELECT id FROM plan_pool").fetchone()[0])  # type: ignore[index]


def _taking_in(url: str, lines: int, rounds: int) -> dict[str, float]:
    first = clock.now().date() - timedelta(days=DAYS)
    usage = [
        UsageDay(
            SimKey(By.ICCID, f"8981{n:014d}"), first + timedelta(days=day), 540, total := n * 7919 + day, total // 9
        )
        for day in range(DAYS)
        for n in range(1, lines + 1)
    ]
    rows = [(each.day, int(each.key.value[4:]), "api", each.total, each.up, None) for each in usage]
    gc.collect()
    gc.freeze()  # it lives as long as this: walking through it again and again is not the work of the ledger
    times: dict[str, list[float]] = {}
    with psycopg.connect(url) as connection:
        for _ in range(rounds):
            for name, made in _TABLES.items():
                times.setdefault(name, []).append(_copy(connection, made, rows))
            connection.execute("TRUNCATE usage_daily, usage_cycle, usage_revision")
            connection.commit()
            for name, new in (("taken", len(usage)), ("again", 0)):
                times.setdefault(name, []).append(_take(usage, new=new))
    rate = {name: len(rows) / statistics.median(taken) for name, taken in times.items()}
    return {
        "usage_import_vs_copy": round(rate["taken"] / rate["keyed"], 3),
        "usage_import_vs_unkeyed_copy": round(rate["taken"] / rate["bare"], 3),
        "usage_reimport_vs_copy": round(rate["again"] / rate["keyed"], 3),
        "usage_import_rows_per_s": round(rate["taken"]),
        "usage_copy_rows_per_s": round(rate["keyed"]),
    }


_TABLES: Final = {
    "keyed": "CREATE TABLE copied (LIKE usage_daily INCLUDING ALL)",
    "bare": "CREATE TABLE copied (LIKE usage_daily INCLUDING DEFAULTS)",
}


def _copy(connection: psycopg.Connection, made: str, rows: list[tuple[Any, ...]]) -> float:
    connection.execute("DROP TABLE IF EXISTS copied")
    connection.execute(made.encode())
    connection.commit()
    started = time.perf_counter()
    with connection.cursor() as cursor, cursor.copy(f"COPY copied ({_COLUMNS}) FROM STDIN".encode()) as copy:
        for row in rows:
            copy.write_row(row)
    connection.commit()
    return time.perf_counter() - started


def _take(usage: list[UsageDay], *, new: int) -> float:
    started = time.perf_counter()
    with db.transaction() as session:
        done = intake.take(session, accounts.find(session, "bench"), usage, payloads=(b"bench",), as_of=clock.now())
    took = time.perf_counter() - started
    if (done.new, done.new + done.same) != (new, len(usage)):
        raise RuntimeError(f"the ledger did something else than was measured: {done}")
    return took


def _fill(url: str, lines: int, months_kept: int) -> None:
    """Have so many months of days in the ledger, the last one up to yesterday."""
    yesterday = clock.now().date() - timedelta(days=1)
    first = (yesterday - timedelta(days=round(30.44 * months_kept))).replace(day=1)
    with db.transaction() as session:
        session.execute(text("TRUNCATE usage_daily, usage_cycle, usage_revision"))
        months.make(session, {"usage_daily": retention.TABLES["usage_daily"]}, first, yesterday)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO usage_daily (usage_date, sim_id, source, bytes_total) SELECT d::date, n, 'api',"
            " 140000000 + (n * 7919 + extract(doy FROM d)::int * 104729) %% 100000007"
            " FROM generate_series(%s::timestamp, %s::timestamp, '1 day') d, generate_series(1, %s) n",
            [first, yesterday, lines],
        )
        connection.execute("VACUUM ANALYZE usage_daily")


def _questions(pool: int, lines: int) -> dict[str, float]:
    last = clock.now().date() - timedelta(days=1)
    month, year = last.replace(day=1), last - timedelta(days=365)
    line, whole = lines // 2, Scope(all_schools=True)
    found: dict[str, float] = {}
    with Session(db.engine()) as session:
        for name, ours, bare, parameters in (
            ("pool_mtd", lambda: reading.of_pool(session, pool, month, last), _BARE_POOL, (month, last, pool)),
            (
                "top50",
                lambda: report.top(session, whole, month, last, school=None, limit=50),
                _BARE_TOP,
                (month, last),
            ),
            ("line_year", lambda: reading.of_line(session, line, year, last), _BARE_LINE, (year, last, line)),
        ):
            took, best = _side_by_side(session, ours, bare, parameters)
            found |= {f"usage_{name}_vs_bare": round(took / best, 2), f"usage_{name}_ms": round(took * 1000, 1)}
        rows: int = session.execute(text("SELECT count(*) FROM usage_daily")).scalar_one()
    return found | {"usage_rows_in_place": rows}


def _side_by_side(
    session: Session, ours: Callable[[], object], bare: str, parameters: tuple[date | int, ...]
) -> tuple[float, float]:
    connection: Any = session.connection().connection.driver_connection
    times: tuple[list[float], list[float]] = ([], [])
    questions: tuple[Callable[[], object], ...] = (ours, lambda: connection.execute(bare, parameters).fetchall())
    for _ in range(_TURNS):
        for taken, question in zip(times, questions, strict=True):
            started = time.perf_counter()
            question()
            taken.append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1])


_BARE_POOL: Final = (
    "SELECT sum(bytes_total) FROM usage_daily WHERE usage_date BETWEEN %s AND %s"
    " AND sim_id IN (SELECT sim_id FROM pool_membership WHERE pool_id = %s)"
)
_BARE_TOP: Final = (
    "SELECT sim_id, sum(bytes_total) FROM usage_daily WHERE usage_date BETWEEN %s AND %s"
    " GROUP BY sim_id ORDER BY 2 DESC LIMIT 50"
)
_BARE_LINE: Final = (
    "SELECT usage_date, bytes_total FROM usage_daily WHERE usage_date BETWEEN %s AND %s AND sim_id = %s ORDER BY 1"
)


if __name__ == "__main__":
    print(json.dumps(measure()))
