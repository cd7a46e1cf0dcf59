"""The database: engine, one transaction per request or task, migrations. Rooms get a session and never commit it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from fastapi import Depends
from sqlalchemy import Engine, create_engine
from sqlmodel import Session

from mdm import jobs
from mdm.errors import Misconfigured
from mdm.settings import get_settings


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
        connect_args={"options": "-c lock_timeout=10000 -c timezone=UTC"},
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


def schema_is_current() -> bool:
    """Say whether the database stands exactly at this version's migration head (used by readiness)."""
    heads = set(ScriptDirectory.from_config(_alembic_config()).get_heads())
    with engine().connect() as connection:
        return set(MigrationContext.configure(connection).get_current_heads()) == heads


def _refuse_newer(*, connection_heads: tuple[str, ...], config: Config) -> None:
    script = ScriptDirectory.from_config(config)
    known = {revision.revision for revision in script.walk_revisions()}
    unknown = set(connection_heads) - known
    if unknown:
        raise Misconfigured(f"the database schema ({', '.join(sorted(unknown))}) is newer than this version of Tabane")
