"""The database's roles: every table has its line, each role has that and no more, and how processes connect."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from mdm import db, roles
from mdm.cli import build
from mdm.grants import FUNCTIONS, PROCESSES
from tests.conftest import forget_settings

SQL = Callable[[str], list[Any]]
RELATIONS = "relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')"


@pytest.fixture
def sql(database: str) -> Iterator[SQL]:
    """Run SQL as the owner."""
    with psycopg.connect(database, autocommit=True) as connection:
        yield lambda statement: ((found := connection.execute(statement)).description and found.fetchall()) or []


@pytest.fixture
def addresses(database: str) -> dict[str, str]:
    return roles.house(database)


def test_every_table_has_a_line(sql: SQL) -> None:
    """A table or view that a migration adds must say who may do what to it, and one that is gone says nothing more."""
    whole = {name for (name,) in sql(f"SELECT relname FROM pg_class WHERE {RELATIONS} AND NOT relispartition")}
    rest = {name for (name,) in sql("SELECT relname FROM pg_class WHERE relispartition AND relname LIKE '%\\_default'")}
    named = set(roles.granted())
    assert whole - named == set(), "say in mdm/grants.py which process may do what to these"
    assert named - whole - rest == set()


def test_every_function_that_is_called_has_a_line(sql: SQL) -> None:
    """But for those of triggers, which need no right, and those of extensions."""
    found = sql(
        "SELECT oid::regprocedure::text FROM pg_proc p WHERE pronamespace = 'public'::regnamespace"
        " AND prorettype <> 'trigger'::regtype"
        " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')"
    )
    named = {re.sub(r"\s", "", line.partition(")")[0] + ")") for line in FUNCTIONS.strip().splitlines()}
    assert {name.replace(" ", "") for (name,) in found} == named


def rights(sql: SQL) -> list[Any]:
    return sql(
        "SELECT relname, attname, relacl::text, attacl::text FROM pg_class c LEFT JOIN pg_attribute a"
        f" ON a.attrelid = c.oid AND a.attacl IS NOT NULL WHERE {RELATIONS} ORDER BY 1, 2"
    )


def test_twice_is_harmless_and_what_was_given_besides_is_taken_back(sql: SQL, database: str) -> None:
    """The file states all that the roles may: running it again mends what somebody gave them by hand."""
    roles.apply(database)
    before = rights(sql)
    sql("GRANT ALL ON command, budget_entry TO tabane_web; GRANT SELECT ON device TO PUBLIC")
    sql("GRANT UPDATE (pinned_at) ON approver_key TO tabane_web")
    assert rights(sql) != before
    roles.apply(database)
    assert rights(sql) == before


def test_nobody_else_has_a_right(sql: SQL, database: str) -> None:
    """Not on the schema, nor on a table or a function of ours."""
    roles.apply(database)
    for of in (
        "pg_namespace, aclexplode(nspacl) WHERE nspname = 'public'",
        "pg_class, aclexplode(relacl) WHERE relnamespace = 'public'::regnamespace",
        "pg_database, aclexplode(datacl) WHERE datname = current_database()",
    ):
        assert sql(f"SELECT 1 FROM {of} AND grantee = 0") == []
    open_to_all = sql(
        "SELECT p.oid::regprocedure FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner)))"
        " WHERE pronamespace = 'public'::regnamespace AND grantee = 0"
        " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')"
    )
    assert open_to_all == []


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_comes_in_with_its_password_and_owns_nothing(addresses: dict[str, str], process: str) -> None:
    """It makes no table, takes no other role, and leaves the guards alone."""
    with psycopg.connect(addresses[process], autocommit=True) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (f"tabane_{process}",)
        for statement in (
            "CREATE TABLE mine (id int)",
            "ALTER TABLE command DISABLE TRIGGER ALL",
            "SET ROLE tabane",
            f"SET ROLE tabane_{'web' if process == 'sender' else 'sender'}",
            "SET session_replication_role = replica",
            "TRUNCATE audit_event",
            "SELECT * FROM pg_authid",
            "UPDATE approver_key SET pinned_at = now()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(addresses[process], password="another one").close()


def test_only_the_worker_makes_and_drops_months(addresses: dict[str, str]) -> None:
    """By the owner's functions, which nobody else may call."""
    for process in PROCESSES:
        with psycopg.connect(addresses[process]) as connection:
            call = "SELECT month_part_make('command_event', (now() + interval '4 months')::date)"
            if process == "worker":
                assert connection.execute(call).fetchone() is not None
            else:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(call)
            connection.rollback()


def test_a_role_with_power_of_its_own_stops_it(sql: SQL, database: str) -> None:
    """Somebody who made the web process's role a member of the sender's would have taken the safeguard away."""
    sql("GRANT tabane_sender TO tabane_web")
    try:
        with pytest.raises(psycopg.errors.RaiseException, match="no power of its own"):
            roles.apply(database)
    finally:
        sql("REVOKE tabane_sender FROM tabane_web")


def test_the_file_holds_no_password(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_server: Any
) -> None:
    """`tabane roles` writes what a password is verified with; the owner runs the file, and the process comes in."""
    monkeypatch.setenv("TABANE_ROLE_PASSWORDS__WEB", "an invented pass/word 9")
    forget_settings()
    file = tmp_path / "roles.sql"
    done = CliRunner().invoke(build("roles"), ["roles", "--out", str(file)])
    assert done.exit_code == 0, done.output
    assert file.stat().st_mode & 0o777 == 0o600
    assert "invented" not in file.read_text()
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(file.read_bytes())
    address = roles._address(db.get_settings().database_url, "tabane_web", "an invented pass/word 9")
    with psycopg.connect(address) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("tabane_web",)
