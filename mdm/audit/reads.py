"""Reading personal items goes on record too (R-38): the dependency of a route whose answer holds some.

What shows the name or the place of one person records each look by itself; this is for lists and pages that show user
ids. Looking at the same thing again within some minutes is one look, so that a page that reloads does not fill the
trail; another page of a list, or another filter, is another look.
"""

import time
from collections.abc import Callable, Iterator
from threading import Lock
from typing import Any, Final

from fastapi import Depends, Request
from fastapi.params import Depends as Dependency
from sqlalchemy import event

from mdm.audit import chain
from mdm.auth.access import SignedIn
from mdm.db import SessionDep

SAME_LOOK_S: Final = 600
_MOST: Final = 10_000

_lock = Lock()
_seen: dict[tuple[str, ...], float] = {}
"""When this process last recorded a look; losing it costs an event too many."""


def on_record(action: str, subject: str) -> Dependency:
    """Return the dependency that records a look: `dependencies=[on_record("device.read", "device:{device_id}")]`.

    `subject` may name parameters of the path. It is recorded after the route has done its work and only if it has: a
    refused look has shown nothing, and nobody waits for the lock of the trail while a list is read.
    """

    def look(request: Request, session: SessionDep, principal: SignedIn) -> Iterator[None]:
        yield
        key = (principal.actor, action, request.url.path, request.url.query)
        if not _is_new(key):
            return
        filters = sorted(set(request.query_params) - {"limit", "cursor"})
        details: dict[str, Any] = {"filters": filters} if filters else {}
        if "cursor" in request.query_params:
            details["further_page"] = True
        chain.record(session, principal, action, subject.format_map(request.path_params), details)
        event.listen(session, "after_commit", lambda _: _remember(key), once=True)

    look.records = action  # type: ignore[attr-defined]  # what a test of all routes reads
    dependency: Dependency = Depends(look, scope="function")
    return dependency


def recorded_by(call: Callable[..., Any] | None) -> str | None:
    """Return the action that a dependency records, if it is one of these."""
    return getattr(call, "records", None)


def forget() -> None:
    """Make every look a new one."""
    with _lock:
        _seen.clear()


def _is_new(key: tuple[str, ...]) -> bool:
    with _lock:
        seen = _seen.get(key)
    return seen is None or seen + SAME_LOOK_S < time.monotonic()


def _remember(key: tuple[str, ...]) -> None:
    now = time.monotonic()
    with _lock:
        if len(_seen) >= _MOST:
            for each in [old for old, at in _seen.items() if at + SAME_LOOK_S < now] or list(_seen)[: _MOST // 2]:
                del _seen[each]
        _seen[key] = now
