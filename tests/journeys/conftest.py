"""One district for all journeys of a test process: each journey has a school and tablets of its own in it."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from mdm.embedded import Postgres, start_valkey
from tests.journeys.district import District


@pytest.fixture(scope="session")
def district(
    postgres_server: Postgres, template: str, engine_folder: Path, secret_key_file: Path
) -> Iterator[District]:
    """A running district with a database and a Valkey of its own, so that no other test's hints reach its workers."""
    with psycopg.connect(postgres_server.url_of("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE journeys TEMPLATE {template} STRATEGY FILE_COPY")
    valkey = start_valkey(engine_folder / "journeys-valkey")
    folder = engine_folder / "journeys"
    folder.mkdir()
    district = District(
        folder,
        database_url=postgres_server.url_of("journeys"),
        redis_url=valkey.url,
        secret_key_file=secret_key_file,
    )
    try:
        district.open()
        yield district
    finally:
        district.close()
        valkey.stop()
