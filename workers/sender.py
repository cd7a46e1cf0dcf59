"""The sender: the one process that lets a command of class A leave. It trusts signatures, and no message and no row.

A Celery app of its own with a single task, so that no queue message can make this process do anything else, and a
connection as a database role of its own. It takes no orders over the broker's remote control either.
"""

import threading
import time
from collections import Counter
from typing import Any, Final

import structlog
from celery import Celery
from celery.signals import celeryd_after_setup, worker_shutting_down

import mdm.organization.models  # noqa: F401 - other rooms' tables refer to its tables
from mdm import db
from mdm.campaigns import leaving as campaigns
from mdm.commands import leaving
from mdm.jobs import QUEUES, Job
from workers.configuration import LoggedTask, base

_log = structlog.get_logger(__name__)

_QUEUE: Final = QUEUES[Job.LET_GO]
_WATCH_S: Final = 1.0
_STALE_S: Final = 6.0
"""Seconds without a look before the watch looks itself: hints may be lost, and Valkey away. Beat rings every 3."""
_stopping = threading.Event()
_looking = threading.Lock()
_last = [float("-inf")]


def _configuration() -> dict[str, Any]:
    return base([_QUEUE]) | {"task_default_queue": _QUEUE, "worker_enable_remote_control": False}


app = Celery("tabane-sender", task_cls=LoggedTask, set_as_current=False)
app.add_defaults(_configuration)


@app.task(name=Job.LET_GO.value, shared=False)  # type: ignore[untyped-decorator]
def let_go(*_: Any, **__: Any) -> None:
    """Look at all that is approved and held. Whatever else a message says is not heard."""
    look()


def look() -> Counter[str]:
    """Let go what may go, and return verdicts counted. One look at a time; each command in a transaction of its own."""
    done: Counter[str] = Counter()
    with _looking:
        _last[0] = time.monotonic()
        with db.transaction() as session:
            found = leaving.waiting(session)
        for approval_id in found:
            try:
                with db.transaction() as session:
                    done[leaving.let_go(session, approval_id).value] += 1
            except Exception as error:  # noqa: BLE001 - one that cannot be looked at must not hold the others up
                done["failed"] += 1
                _log.error("not_looked_at", approval=str(approval_id), error=type(error).__name__)
        _look_at_campaigns(done)
    if done.total() != done[leaving.Verdict.WAITS.value]:
        _log.info("looked", counts=dict(done))
    return done


def _look_at_campaigns(done: Counter[str]) -> None:
    """Let go what may go of each campaign, a part of a wave at a time and each in a transaction of its own."""
    with db.transaction() as session:
        found = campaigns.waiting(session)
    for campaign_id in found:
        try:
            with db.transaction() as session:
                done.update(+campaigns.let_go(session, campaign_id))
        except Exception as error:  # noqa: BLE001 - one that cannot be looked at must not hold the others up
            done["failed"] += 1
            _log.error("campaign_not_looked_at", campaign_id=str(campaign_id), error=type(error).__name__)


@celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _start_watch(instance: Any, **_: Any) -> None:
    """Look without the broker, too: a wipe of a stolen tablet must not wait for Valkey."""
    if instance.app is app:
        threading.Thread(target=_watch, name="watch-sender", daemon=True).start()


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def _stop_watch(**_: Any) -> None:
    _stopping.set()


def _watch() -> None:
    while not _stopping.wait(_WATCH_S):
        if time.monotonic() - _last[0] < _STALE_S:
            continue
        try:
            look()
        except Exception as error:  # noqa: BLE001 - the watch must outlive whatever is down just now
            _log.warning("watch_failed", error=type(error).__name__)
