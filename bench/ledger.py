"""How close a ledger import comes to the bare copying of its rows. Prints ratios; no server imports anything of this.

`ledger_import_vs_raw_copy` = rows/s of a whole import (decode, read, check, compare, seal names, write, commit) divided
by rows/s of psycopg's COPY of the same cells as text into one table without index or key, committed the same. Both run
in this process on the same durable server; they take turns on emptied tables, and medians are compared.
`ledger_reimport_vs_raw_copy` is the same for a second import, which compares everything and writes nothing.
"""

import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlmodel import Session

from mdm import db, settings, vault
from mdm.auth import Scope
from mdm.devices import csvfile, ledger, sample
from mdm.devices.ledger_columns import Column
from mdm.embedded import start_postgres

TABLETS = 15_000
ROUNDS = 5


def measure(*, tablets: int = TABLETS, rounds: int = ROUNDS) -> dict[str, float]:
    """Return both ratios with the figures behind them."""
    content = "".join(sample.lines(tablets)).encode()
    cells = [tuple(row[column] for column in Column) for row in sample.rows(tablets)]
    with tempfile.TemporaryDirectory() as folder, database(Path(folder)) as url, psycopg.connect(url) as connection:
        first, second, bare = [], [], []
        for _ in range(rounds):
            _empty(connection)
            bare.append(_copy(connection, cells))
            first.append(_import(content, new=tablets))
            second.append(_import(content, new=0))
    copied, imported, again = (tablets / statistics.median(times) for times in (bare, first, second))
    return {
        "ledger_import_vs_raw_copy": round(imported / copied, 3),
        "ledger_reimport_vs_raw_copy": round(again / copied, 3),
        "ledger_import_rows_per_s": round(imported),
        "ledger_reimport_rows_per_s": round(again),
        "ledger_raw_copy_rows_per_s": round(copied),
    }


def _import(content: bytes, *, new: int) -> float:
    started = time.perf_counter()
    with Session(db.engine()) as session:
        rows = csvfile.read_rows(io.BytesIO(content))
        plan = ledger.plan(session, rows, Scope(all_schools=True), lock=True)
        written = ledger.apply(session, plan)
        session.commit()
    took = time.perf_counter() - started
    if written.new != new or written.changed:
        raise RuntimeError(f"the import did something else than was measured: {written}")
    return took


def _copy(connection: psycopg.Connection, rows: list[tuple[str, ...]]) -> float:
    started = time.perf_counter()
    with connection.cursor() as cursor, cursor.copy("COPY bare FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    connection.commit()
    return time.perf_counter() - started


def _empty(connection: psycopg.Connection) -> None:
    columns = ", ".join(f'"{column.value}" text' for column in Column)
    connection.execute("DROP TABLE IF EXISTS bare")
    connection.execute(f"CREATE TABLE bare ({columns})")
    connection.execute("TRUNCATE school, school_class, holder, device, enrollment CASCADE")
    connection.commit()


@contextmanager
def database(folder: Path) -> Iterator[str]:
    """Start a database of its own, durable like a real one, with the newest schema; settings point at it."""
    folder.chmod(0o711)
    key_file = folder / "secret.key"
    key_file.write_text(vault.new_key_line())
    server = start_postgres(folder / "postgres")
    before = dict(os.environ)
    try:
        url = server.url_of("postgres")
        os.environ |= {
            "DATABASE_URL": url,
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "TABANE_SECRET_KEY_FILE": str(key_file),
        }
        settings.get_settings.cache_clear()
        db.engine.cache_clear()
        db.migrate(url)
        yield url
    finally:
        db.engine().dispose()
        db.engine.cache_clear()
        settings.get_settings.cache_clear()
        os.environ.clear()
        os.environ.update(before)
        server.stop()


if __name__ == "__main__":
    print(json.dumps(measure()))
