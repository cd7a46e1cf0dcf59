"""The suite's real parts: one PostgreSQL and one Valkey per test process, and a fresh database for each test.

Ask for `database` (its URL; settings point at it), `session` (a session on it; commit as you like), `valkey` (its URL,
flushed). Processes started by a test inherit the same settings through the environment.
"""

import itertools
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
import redis
from sqlmodel import Session

from mdm import db, jobs, roles, settings, vault
from mdm.embedded import Postgres, Valkey, host, start_postgres, start_valkey
from tests.roles import taken

# No deadline: two cores are shared with servers. No example database: the work tree stays clean.
hypothesis.settings.register_profile("house", deadline=None, database=None)
hypothesis.settings.load_profile("house")

_numbers = itertools.count(1)


def forget_settings() -> None:
    """Drop what this process has read from the environment or opened because of it; it is read again when needed."""
    if db.engine.cache_info().currsize:
        db.engine().dispose()
    if jobs.publisher.cache_info().currsize:
        jobs.publisher().close()
    for cached in (db.engine, jobs.publisher, settings.get_settings):
        cached.cache_clear()


@contextmanager
def _new_database(server: Postgres, how: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server.url_of("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} {how}")
        try:
            yield server.url_of(name)
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Shelf:
    """One database that goes from test to test, emptied in between: far faster than a new copy each time.

    A test that changed the schema, or anything in a table that a migration fills, costs a new copy.
    """

    def __init__(self, server: Postgres, template: str) -> None:
        self._server = server
        self._template = template
        self._url: str | None = None
        with psycopg.connect(server.url_of(template)) as connection:
            self._schema = _fingerprint(connection)
            self._seeds = _contents(connection, _counts(connection))

    @contextmanager
    def lend(self) -> Iterator[str]:
        """Lend the database, clean."""
        if self._url is None:
            # FILE_COPY is twice as fast as WAL_LOG here, where nothing is synced to disk.
            name = f"shelf_{next(_numbers)}"
            with psycopg.connect(self._server.url_of("postgres"), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name} TEMPLATE {self._template} STRATEGY FILE_COPY")
            self._url = self._server.url_of(name)
        try:
            yield self._url
        finally:
            if not self._cleaned(self._url):
                self._url = None

    def _cleaned(self, url: str) -> bool:
        with psycopg.connect(url) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            counts = _counts(connection)
            used = [table for table, count in counts.items() if count and table not in self._seeds]
            changed = _contents(connection, self._seeds) != self._seeds
            if changed or _fingerprint(connection) != self._schema:
                return False
            # Without triggers and foreign keys: any order will do, append-only tables too. Faster than TRUNCATE.
            connection.execute("SET LOCAL session_replication_role = replica")
            for table in used:
                connection.execute(f"DELETE FROM {table}")
            # What a migration filled keeps its rows, so its numbers go on.
            connection.execute(
                "SELECT setval(format('%%I.%%I', schemaname, sequencename)::regclass, start_value, false)"
                " FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL"
                " AND sequencename <> ALL (%s)",
                ([f"{table}_id_seq" for table in self._seeds],),
            )
            return True


def _fingerprint(connection: psycopg.Connection) -> Any:
    return connection.execute(
        "SELECT count(*), sum(oid::bigint), sum(relnatts), (SELECT count(*) FROM pg_constraint),"
        " (SELECT count(*) FROM pg_trigger) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    ).fetchone()


def _contents(connection: psycopg.Connection, tables: Iterable[str]) -> dict[str, Any]:
    """Return a digest of all that stands in each of these small tables."""
    digest = "SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {} t"
    return {table: connection.execute(digest.format(table)).fetchone() for table in tables}


def _counts(connection: psycopg.Connection) -> dict[str, int]:
    """Count the rows of each table that has any."""
    tables = connection.execute(
        "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
    ).fetchall()
    if not tables:
        return {}
    each = " UNION ALL ".join(f"SELECT '{name}', count(*) FROM {name}" for (name,) in tables)
    return {name: count for name, count in connection.execute(each).fetchall() if count}


def _pointed_at(
    url: str, valkey_server: Valkey, secret_key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    forget_settings()
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("REDIS_URL", valkey_server.url)
    monkeypatch.setenv("TABANE_SECRET_KEY_FILE", str(secret_key_file))
    yield url
    forget_settings()


@pytest.fixture(scope="session")
def engine_folder() -> Iterator[Path]:
    """A folder in which servers may run as another user: pytest's own temporary folders are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="tabane-tests-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server(engine_folder: Path) -> Iterator[Postgres]:
    """The cluster of this test process."""
    server = start_postgres(engine_folder / "postgres", durable=False)
    yield server
    host.stop(server.process, signal.SIGQUIT)  # at once: the data goes with the folder


@pytest.fixture(scope="session")
def valkey_server(engine_folder: Path) -> Iterator[Valkey]:
    """The Valkey of this test process."""
    server = start_valkey(engine_folder / "valkey")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def template(postgres_server: Postgres) -> str:
    """The name of a database that Alembic has brought to the newest schema; tests get copies of it."""
    with psycopg.connect(postgres_server.url_of("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE migrated")
    db.migrate(postgres_server.url_of("migrated"))
    roles.apply(postgres_server.url_of("migrated"))
    return "migrated"


@pytest.fixture(scope="session")
def shelf(postgres_server: Postgres, template: str) -> Iterator[Shelf]:
    """The lender of clean databases, in which each process's code has the rights of its role and no others."""
    with taken():
        yield Shelf(postgres_server, template)


@pytest.fixture(scope="session")
def secret_key_file(engine_folder: Path) -> Path:
    """A secret key file of this test process."""
    file = engine_folder / "secret.key"
    file.write_text(vault.new_key_line())
    file.chmod(0o600)
    return file


@pytest.fixture
def empty_database(
    postgres_server: Postgres, valkey_server: Valkey, secret_key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A database without any table, for tests of migrations; settings point at it."""
    with _new_database(postgres_server, "TEMPLATE template0") as url:
        yield from _pointed_at(url, valkey_server, secret_key_file, monkeypatch)


@pytest.fixture
def database(
    shelf: Shelf, valkey_server: Valkey, secret_key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A fresh database with the newest schema and no rows but those of migrations; settings point at it."""
    with shelf.lend() as url:
        yield from _pointed_at(url, valkey_server, secret_key_file, monkeypatch)


@pytest.fixture
def session(database: str) -> Iterator[Session]:
    """A session on the test's database; it ends with a rollback of what the test did not commit."""
    with Session(db.engine(), expire_on_commit=False) as opened:
        yield opened
        opened.rollback()


@pytest.fixture
def valkey(valkey_server: Valkey) -> str:
    """The address of an empty Valkey."""
    with redis.Redis.from_url(valkey_server.url) as client:
        client.flushall()
    return valkey_server.url


@pytest.fixture(scope="session")
def openssl() -> Callable[..., bytes]:
    """Run the openssl command line with bytes in and bytes out: a witness that shares no code with ours."""
    path = shutil.which("openssl")
    if path is None:
        pytest.skip("the openssl command line is not installed")

    def run(*arguments: object, data: bytes = b"") -> bytes:
        done = subprocess.run([path, *map(str, arguments)], input=data, capture_output=True, check=False, timeout=20)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return run
