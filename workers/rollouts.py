"""Brings rollouts forward, one short transaction after another, until nothing is to do or the time is up.

It holds no rule: what comes next is read from the rows each time. Two of these at once do each piece once.
"""

import time
from collections import Counter
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlmodel import Session

from mdm import db, jobs
from profiles import rollouts, targets

_log = structlog.get_logger(__name__)

BUDGET_S: Final = 20.0
"""Well below the time limit of a task; what is left over rings for the next."""
_LOCK: Final = 7_203_003


def bring_forward(*, budget_s: float = BUDGET_S) -> Counter[str]:
    """Tell whom is to be told, let fall back who falls back, then look at each rollout once; returns counts."""
    done: Counter[str] = Counter()
    until = time.monotonic() + budget_s
    done["tablets"] = _tell(until - budget_s / 2)
    with db.transaction() as session:
        found = rollouts.under_way(session) if _alone(session) else []
    for rollout_id in found:
        try:
            with db.transaction() as session:
                done["ended"] += rollouts.look(session, rollout_id)
        except Exception as error:  # noqa: BLE001 - what is wrong with one rollout must not hold the others up
            _failed(rollout_id, error)
        if time.monotonic() >= until:
            break
    if done.total():
        _log.info("rollouts", counts=dict(done))
    return done


def catch_up(*, budget_s: float = BUDGET_S) -> int:
    """Recompute what stale tablets should hold, some hundred at a time; returns how many changed."""
    changed = 0
    until = time.monotonic() + budget_s
    while True:
        with db.transaction() as session:
            looked_at, again = targets.catch_up(session)
        changed += looked_at
        if not again:
            return changed
        if time.monotonic() >= until:
            with db.transaction() as session:
                jobs.ring(session, jobs.Job.RETARGET)
            return changed


def _tell(until: float) -> int:
    """Tell tablets piece by piece; half the time at most, for a rollout that should stop must not wait for its end."""
    told = 0
    step = rollouts.Step()
    while time.monotonic() < until:
        try:
            with db.transaction() as session:
                tablets = step.take(session) if _alone(session) else 0
        except Exception as error:
            if step.at is None:
                raise
            # A policy that cannot be compiled any more, say: it comes up again next time, the others go on now.
            _failed(step.at, error)
            step.give_up()
            continue
        if not tablets:
            return told
        told += tablets
    with db.transaction() as session:
        jobs.ring(session, jobs.Job.ADVANCE_ROLLOUTS)
    return told


def _failed(rollout_id: UUID, error: Exception) -> None:
    _log.error("rollout_failed", rollout_id=str(rollout_id), error=type(error).__name__)


def _alone(session: Session) -> bool:
    """Two at once would only wait for each other; whoever comes second leaves it to the first."""
    return bool(session.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK}).scalar_one())
