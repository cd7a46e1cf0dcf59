"""Keeps the hot table small and the months in order: ended commands go into months, the oldest months go.

Short transactions; sends nothing.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from mdm import db
from mdm.cellular import retention
from mdm.commands import history
from mdm.settings import get_settings

_log = structlog.get_logger(__name__)

BATCH: Final = 1000
_BUDGET_S: Final = 20.0
"""A round ends after this, well before the task's time limit; the next takes up the rest."""


_STEPS: Final[tuple[tuple[str, Callable[[Session], int]], ...]] = (
    ("made", lambda session: len(history.make_parts(session))),
    ("dropped", lambda session: len(history.drop_old(session, keep=get_settings().history_months))),
    ("made", lambda session: len(retention.make_parts(session))),
    ("dropped", lambda session: len(retention.drop_old(session, get_settings().usage))),
    ("made", lambda session: len(retention.make_for_strays(session))),
    ("emptied", lambda session: retention.empty_raw(session, get_settings().usage)),
)
"""Each in a transaction of its own."""


def keep(*, batch: int = BATCH, budget_s: float = _BUDGET_S) -> Counter[str]:
    """Do one round and return what was done. May be killed anywhere, and run twice at once."""
    done: Counter[str] = Counter()
    for what, step in _STEPS:
        try:
            with db.transaction() as session:
                done[what] += step(session)
        except OperationalError as error:  # somebody reads a month for long: it goes another time, rows have a place
            _log.warning("history_parts_busy", error=type(error.orig).__name__)
    until = time.monotonic() + budget_s
    after = None
    while time.monotonic() < until:
        with db.transaction() as session:
            moved = history.move_ended(session, after=after, limit=batch)
        done["moved"] += moved.count
        after = moved.last
        if moved.count < batch:
            break
    if done.total():
        _log.info("history", counts=dict(done))
    return done
