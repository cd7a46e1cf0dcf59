"""The suite's own fixtures keep their promises."""

import psycopg
import pytest
import redis
from sqlmodel import Session, text

from mdm.settings import get_settings


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_has_its_own_database(session: Session, turn: int) -> None:
    """What one test commits, the next does not see."""
    session.execute(text("CREATE TABLE trace (turn int)"))
    session.commit()
    assert session.execute(text("SELECT count(*) FROM trace")).scalar_one() == 0


@pytest.mark.parametrize("turn", [1, 2])
def test_rows_do_not_pass_to_the_next_test(session: Session, turn: int) -> None:
    """A committed row is gone in the next test, and its number is given out again."""
    assert session.execute(text("SELECT count(*) FROM school")).scalar_one() == 0
    session.execute(text("INSERT INTO school (code, name) VALUES ('S1', 'Kita')"))
    session.commit()
    assert session.execute(text("SELECT id FROM school")).scalar_one() == 1


def test_settings_point_at_the_database(database: str, valkey: str) -> None:
    """Code that asks for its settings reaches the test's own servers."""
    assert get_settings().database_url == database
    assert get_settings().redis_url == valkey
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL").fetchone() == (True,)
    with redis.Redis.from_url(valkey) as client:
        assert client.dbsize() == 0


def test_an_empty_database_has_no_tables(empty_database: str) -> None:
    """Tests of migrations start from nothing."""
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)
