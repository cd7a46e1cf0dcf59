"""The Celery app: settings, and a task of each name in `mdm.jobs.Job`. Tasks hold no work of their own.

A message is only a hint (operations.md §1): losing or doubling one is harmless, so nothing here retries or chains.
"""

import gc
import signal
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any, Final

import structlog
from celery import Celery
from celery.signals import celeryd_after_setup, worker_ready

import mdm.organization.models  # noqa: F401 - other rooms' tables refer to its tables
from mdm import db
from mdm.devices.models import Lane
from mdm.jobs import QUEUES, URGENT_QUEUE, Job
from profiles import drift, targets
from workers import (
    auditing,
    auditor,
    campaigns,
    carriers,
    cases,
    checks,
    dispatch,
    history,
    notices,
    reconciling,
    rollouts,
    sweep,
    upkeep,
    usage_files,
    usage_watch,
)
from workers.configuration import LoggedTask, base
from workers.schedule import SCHEDULE

_log = structlog.get_logger(__name__)

_WATCH_S: Final = 1.0
_STALE_S: Final = {Lane.URGENT: 4.0, Lane.NORMAL: 8.0, Lane.BULK: 12.0}
"""Seconds without a look at a lane before the watch looks itself; beat rings more often than that."""
_LONG_S: Final = 900
"""The limit of a task that reads large files."""
_VERIFIED_PARTS: Final = 20
"""Transactions of one verification job, which must end well before the time limit."""


def _configuration() -> dict[str, Any]:
    """The settings, read when the app is first used."""
    return base(sorted({*QUEUES.values(), URGENT_QUEUE})) | {
        "task_default_queue": QUEUES[Job.SWEEP],
        "task_time_limit": 60,
        "task_soft_time_limit": 45,
        "worker_max_tasks_per_child": 5000,
        # A drain ends within a second of the signal, and Celery sleeps the whole time whenever a job is at work.
        "worker_soft_shutdown_timeout": 3,
        "beat_schedule": SCHEDULE,
    }


app = Celery("tabane", task_cls=LoggedTask, set_as_current=False)
app.add_defaults(_configuration)


@app.task(name=Job.DISPATCH.value, shared=False)  # type: ignore[untyped-decorator]
def dispatch_lane(lane: int = int(Lane.NORMAL)) -> None:
    """Wake what is due in a lane."""
    dispatch.drain(Lane(lane))


@app.task(name=Job.SWEEP.value, shared=False)  # type: ignore[untyped-decorator]
def sweep_all() -> None:
    """Re-find what a lost hint missed."""
    with db.transaction() as session:
        sweep.sweep(session)


@app.task(name=Job.RETARGET.value, shared=False)  # type: ignore[untyped-decorator]
def retarget(device_ids: Sequence[int] | None = None) -> None:
    """Recompute what tablets should hold."""
    if device_ids is None:
        rollouts.catch_up()
        return
    with db.transaction() as session:
        targets.retarget(session, device_ids)


@app.task(name=Job.ADVANCE_ROLLOUTS.value, shared=False)  # type: ignore[untyped-decorator]
def advance_rollouts() -> None:
    """Bring rollouts forward: tell tablets, open waves, stop and end."""
    rollouts.bring_forward()


@app.task(name=Job.VERIFY.value, shared=False)  # type: ignore[untyped-decorator]
def verify() -> None:
    """Compare what tablets have answered, some hundred at a time; what is left over waits for the next beat."""
    for _ in range(_VERIFIED_PARTS):
        with db.transaction() as session:
            if drift.check(session).total() < drift.AT_ONCE:
                return


@app.task(name=Job.CASES.value, shared=False)  # type: ignore[untyped-decorator]
def tend_cases() -> None:
    """Bring the support desk's cases forward."""
    cases.tend()


@app.task(name=Job.UPKEEP.value, shared=False)  # type: ignore[untyped-decorator]
def keep_up() -> None:
    """Renew identities and clear away what is over."""
    upkeep.upkeep()


@app.task(name=Job.HISTORY.value, shared=False)  # type: ignore[untyped-decorator]
def keep_history() -> None:
    """Keep the hot table small and the months in order."""
    history.keep()


@app.task(name=Job.AUDIT.value, shared=False)  # type: ignore[untyped-decorator]
def look_at_trail() -> None:
    """Verify what is new in the audit trail and sign it."""
    auditing.look()


@app.task(name=Job.AUDIT_COMMANDS.value, shared=False)  # type: ignore[untyped-decorator]
def look_at_commands(*, whole: bool = False) -> None:
    """Hold what left against its approvals."""
    auditor.look(whole=whole)


@app.task(  # type: ignore[untyped-decorator]
    name=Job.USAGE_FILES.value, shared=False, time_limit=_LONG_S + 30, soft_time_limit=_LONG_S
)
def take_up_usage_files() -> None:
    """Take up files of usage; one of 200 MB takes minutes."""
    usage_files.take_up()


@app.task(name=Job.NOTIFY.value, shared=False)  # type: ignore[untyped-decorator]
def notify() -> None:
    """Send the pages that wait."""
    notices.send_due()


@app.task(name=Job.CHECKS.value, shared=False)  # type: ignore[untyped-decorator]
def run_checks() -> None:
    """Bring whereabouts checks forward."""
    checks.bring_forward()


@app.task(name=Job.WATCH_USAGE.value, shared=False)  # type: ignore[untyped-decorator]
def watch_usage() -> None:
    """Forecast the ends of cycles, find limits that were passed."""
    usage_watch.look()


@app.task(name=Job.RECONCILE.value, shared=False)  # type: ignore[untyped-decorator]
def reconcile_sims() -> None:
    """Compare what ledger, carriers and tablets say of SIMs."""
    reconciling.reconcile()


@app.task(name=Job.CARRIERS.value, shared=False)  # type: ignore[untyped-decorator]
def ask_carriers() -> None:
    """Ask carriers what is due."""
    carriers.work()


@app.task(name=Job.CAMPAIGNS.value, shared=False)  # type: ignore[untyped-decorator]
def run_campaigns() -> None:
    """Bring bulk wipes forward."""
    campaigns.bring_forward()


@celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def _start_watch(instance: Any, **_: Any) -> None:
    """Watch this worker's lanes without the broker: when Valkey is gone no hint arrives, but urgent work still does.

    Before the worker looks for the broker, so that one started meanwhile works too.
    """
    consumed = set(instance.app.amqp.queues.consume_from)
    lanes = [Lane.URGENT] if URGENT_QUEUE in consumed else []
    lanes += [Lane.NORMAL, Lane.BULK] if QUEUES[Job.DISPATCH] in consumed else []
    for lane in lanes:
        threading.Thread(target=_watch, args=(lane,), name=f"watch-{lane.name.lower()}", daemon=True).start()


@worker_ready.connect  # type: ignore[untyped-decorator]
def _spare_the_collector(**_: Any) -> None:
    """Leave what is loaded by now out of collections: it lives as long as the process, and a walk holds all up."""
    gc.collect()
    gc.freeze()


@worker_ready.connect  # type: ignore[untyped-decorator]
def _stop_drains_at_once(**_: Any) -> None:
    """Tell drains to end when the signal comes: Celery's `worker_shutting_down` comes only after the wait for them."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT):
        celerys = signal.getsignal(number)

        def stop(received: int, frame: FrameType | None, celerys: Any = celerys) -> None:
            dispatch.stopping.set()
            if callable(celerys):
                celerys(received, frame)

        signal.signal(number, stop)


def _watch(lane: Lane) -> None:
    while not dispatch.stopping.wait(_WATCH_S):
        if time.monotonic() - dispatch.last_drained.get(lane, 0.0) < _STALE_S[lane]:
            continue
        try:
            dispatch.drain(lane)
        except Exception as error:  # noqa: BLE001 - the watch must outlive whatever is down just now
            _log.warning("watch_failed", lane=lane.name.lower(), error=type(error).__name__)
