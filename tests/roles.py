"""Has the suite work under the rights of a house: what a process's code does in a test, it does as that process's role.

The apps and the jobs of workers run in the test's own process, whose connection is the owner's: each of their
transactions begins with the role. What a test does by itself, it does as the owner.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Connection, Engine, event
from starlette.types import Receive, Scope, Send

from mdm import app as apps
from mdm import db
from mdm.commands import exchange
from mdm.roles import role_of

_app: ContextVar[str | None] = ContextVar("app", default=None)
"""Which app serves the request at hand."""


def _at_work() -> str | None:
    """Return the process whose code this is, or None for a test's own."""
    if (serving := _app.get()) is not None:
        return serving
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.startswith("workers."):
            return "sender" if module == "workers.sender" else "worker"
        frame = frame.f_back
    return None


def _take_role(connection: Connection) -> None:
    if not db.engine.cache_info().currsize or connection.engine is not db.engine():
        return
    process = _at_work()
    if process is not None:
        connection.exec_driver_sql(f"SET LOCAL ROLE {role_of(process)}")


def _as(process: str, serve: Any) -> Any:
    async def served(self: FastAPI, scope: Scope, receive: Receive, send: Send) -> None:
        known = _app.set(_app.get() or process)
        try:
            await serve(self, scope, receive, send)
        finally:
            _app.reset(known)

    return served


@contextmanager
def taken() -> Iterator[None]:
    """Have every process's code take its role while the block runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange, "PLANNER", f"{exchange.PLANNER} -c role={role_of('door')}")
        patch.setattr(apps._DeviceApp, "__call__", _as("door", apps._DeviceApp.__call__))
        patch.setattr(FastAPI, "__call__", _as("web", FastAPI.__call__))
        event.listen(Engine, "begin", _take_role)
        try:
            yield
        finally:
            event.remove(Engine, "begin", _take_role)
