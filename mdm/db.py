"""The database: engine, one transaction per request or task, migrations. Rooms get a session and never commit it."""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from fastapi import Depends
from sqlalchemy import Engine, NullPool, create_engine
from sqlmodel import Session

from mdm import jobs
from mdm.errors import Misconfigured
from mdm.settings import get_settings


class Schema(Enum):
    """How the database's schema stands to this version of the code."""

    CURRENT = "current"
    BEHIND = "behind"
    """A migration is missing: this version cannot work."""
    AHEAD = "ahead"
    """A newer version has migrated: this one works on, because a migration must let the former version run."""


def link(role: str) -> dict[str, str | int]:
    """Return libpq's parameters of every connection: whose it is, and how soon a peer that fell silent is given up.

    The name tells this process apart in `pg_stat_activity`. Without the rest a worker would wait two hours for the
    answer of a host that is gone.
    """
    return {
        "application_name": f"{role}:{os.getpid()}",
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 25_000,
    }


def dsn(url: str) -> str:
    """Return SQLAlchemy's form of a plain `postgresql://` address, with psycopg 3 as the driver."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


@lru_cache(maxsize=1)
def engine() -> Engine:
    """Return this process's engine: sync, pooled, with a lock timeout so that no request waits for ever."""
    return create_engine(
        dsn(get_settings().database_url),
        pool_size=10,
        max_overflow=20,
        pool_pre_ping=True,
        hide_parameters=True,  # an error that is logged must not carry names or tokens
        connect_args={"options": "-c lock_timeout=10000 -c timezone=UTC", **link("tabane")},
    )


@contextmanager
def transaction() -> Iterator[Session]:
    """Open the one transaction of a request or task; commit at the end, then send the hints that were rung in it."""
    with Session(engine(), expire_on_commit=False) as session:
        try:
            yield session
            session.commit()
        except BaseException:
            session.rollback()
            raise
    jobs.send(session)


_ASIDE_AT_ONCE: Final = threading.BoundedSemaphore(4)


@lru_cache(maxsize=1)
def _unpooled(url: str) -> Engine:
    options = "-c lock_timeout=10000 -c timezone=UTC"
    link_up = {"options": options, **link("tabane-aside")}
    return create_engine(dsn(url), poolclass=NullPool, hide_parameters=True, connect_args=link_up)


@contextmanager
def aside() -> Iterator[Session]:
    """Open a short transaction beside a request's own, for what must stay although that one is rolled back.

    Not from the pool: requests that hold a connection each and want a second would wait for one another.
    """
    with _ASIDE_AT_ONCE, Session(_unpooled(get_settings().database_url)) as session, session.begin():
        yield session


def _request_session() -> Iterator[Session]:
    with transaction() as session:
        yield session


SessionDep = Annotated[Session, Depends(_request_session, scope="function")]
"""A request's session; function scope, so that the commit stands before the answer leaves."""


def _alembic_config() -> Config:
    here = Path(__file__).parent
    for folder in (here.parent / "alembic", here / "_alembic"):
        if (folder / "env.py").exists():
            config = Config()
            config.set_main_option("script_location", str(folder))
            return config
    raise Misconfigured("the migrations are not installed beside the package")


def migrate(url: str) -> None:
    """Bring the database at `url` to this version's schema; `Misconfigured` when the schema is newer than the code."""
    config = _alembic_config()
    one_shot = create_engine(dsn(url))
    try:
        with one_shot.begin() as connection:
            _refuse_newer(connection_heads=MigrationContext.configure(connection).get_current_heads(), config=config)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        one_shot.dispose()


def schema() -> Schema:
    """Say how the database's schema stands to this version (used by readiness)."""
    script = ScriptDirectory.from_config(_alembic_config())
    with engine().connect() as connection:
        found = set(MigrationContext.configure(connection).get_current_heads())
    if found == set(script.get_heads()):
        return Schema.CURRENT
    return Schema.AHEAD if _unknown(found, script) else Schema.BEHIND


def _refuse_newer(*, connection_heads: tuple[str, ...], config: Config) -> None:
    unknown = _unknown(connection_heads, ScriptDirectory.from_config(config))
    if unknown:
        raise Misconfigured(f"the database schema ({', '.join(sorted(unknown))}) is newer than this version of Tabane")


def _unknown(heads: Iterable[str], script: ScriptDirectory) -> set[str]:
    return set(heads) - {revision.revision for revision in script.walk_revisions()}
