"""Watches use: forecasts and unusual use once a day, limits and impossible use all day. Reads rows, sends nothing."""

import time
from collections import Counter
from datetime import datetime, timedelta
from datetime import time as clock_time
from typing import Final

import structlog

from mdm import clock, db
from mdm.cellular import odd_use
from mdm.cellular.forecast import making, scores
from mdm.cellular.stages import acting, crossings, slowing
from mdm.organization.hours import JST

_log = structlog.get_logger(__name__)

FROM: Final = clock_time(5, 30)
"""In Japan's time: carriers' figures of the day before have been fetched by then. Not waited for in a new house."""
_BATCH: Final = 1000
_BUDGET_S: Final = 15.0
"""A round ends after this, well before the task's time limit; the next goes on where it ended."""


def look(*, budget_s: float = _BUDGET_S) -> Counter[str]:
    """Do one round and return what was done. May be killed anywhere, and run twice at once."""
    done: Counter[str] = Counter()
    now = clock.now()
    _forecast(done, now, until=time.monotonic() + budget_s)
    with db.transaction() as session:
        done["fired"], done["annotated"] = crossings.find(session)
    with db.transaction() as session:
        done["acts"] = acting.act(session).total()
    with db.transaction() as session:
        done += slowing.lift(session)
    with db.transaction() as session:
        done += odd_use.look_now(session)
    if not done["sims"] and now.astimezone(JST).time() >= FROM:
        with db.transaction() as session:
            done += odd_use.look_daily(session)
    done = +done
    if done.total():
        _log.info("usage_watch", counts=dict(done))
    return done


def _forecast(done: Counter[str], now: datetime, *, until: float) -> None:
    today = making.day_of(now)
    with db.transaction() as session:
        early = now.astimezone(JST).time() < FROM and making.complete(session, today - timedelta(days=1))
        if early or making.complete(session, today) or not making.hold(session):
            return
        basis = making.scopes(session, now)
    while time.monotonic() < until:
        with db.transaction() as session:
            if not making.hold(session):
                return
            made = making.sims(session, basis, limit=_BATCH)
        done["sims"] += made
        if made < _BATCH:
            with db.transaction() as session:
                done["scored"] += scores.fill(session, now)
            return
