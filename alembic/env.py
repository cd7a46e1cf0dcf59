"""Alembic's entry: every room's tables, one transaction, and a lock timeout so that the fleet never waits."""

import re
from importlib import import_module
from typing import Any

from alembic import context
from sqlalchemy import Connection, create_engine, text
from sqlmodel import SQLModel

from mdm.db import dsn
from mdm.settings import get_settings

LOCK_TIMEOUT = "3s"
ROOMS = (
    "mdm.audit",
    "mdm.auditor",
    "mdm.auth",
    "mdm.cellular",
    "mdm.checks",
    "mdm.commands",
    "mdm.devices",
    "mdm.limits",
    "mdm.operators",
    "mdm.organization",
    "mdm.safeguards",
    "mdm.support",
    "enrollment",
    "profiles",
)
"""Each has a models.py; importing it fills the metadata."""

for room in ROOMS:
    import_module(f"{room}.models")

_PARTITION = re.compile(r"_(p\d{4}_\d\d|default)$")


def _is_declared(_thing: Any, name: str | None, kind: str, reflected: bool, declared: Any) -> bool:
    """Leave the parts of partitioned tables alone: jobs make and drop them (`mdm.months`)."""
    return not (kind == "table" and reflected and declared is None and _PARTITION.search(name or ""))


def _run(connection: Connection) -> None:
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
    context.configure(
        connection=connection,
        target_metadata=SQLModel.metadata,
        compare_type=True,
        compare_server_default=True,
        include_object=_is_declared,
    )
    with context.begin_transaction():
        context.run_migrations()


handed = context.config.attributes.get("connection")
if handed is not None:
    _run(handed)
else:
    with create_engine(dsn(get_settings().database_url)).begin() as own:
        _run(own)
