"""Hint a worker after the commit, by name, never by import. A hint may be lost or doubled: the rows are the truth."""

from enum import StrEnum
from functools import lru_cache
from typing import Any

import structlog
from celery import Celery
from sqlmodel import Session

from mdm.settings import get_settings

_log = structlog.get_logger(__name__)
_BUFFER = "tabane.hints"


class Job(StrEnum):
    """The jobs that can be hinted; `workers` holds a task of each name (a test holds the two together)."""

    DISPATCH = "dispatch"
    """Wake the tablets that are due in one lane: `lane`."""
    SWEEP = "sweep"
    """Re-find what a lost hint missed; expire what is over."""
    RETARGET = "retarget"
    """Recompute what tablets should be: `device_ids`, or all that are marked stale when absent."""
    ADVANCE_ROLLOUTS = "advance_rollouts"
    """Tell tablets of open waves, let others fall back, note what was reported; open waves, halt and end rollouts."""
    VERIFY = "verify"
    """Compare what tablets say they hold with what they should hold; heal or report what drifted."""
    UPKEEP = "upkeep"
    """Renew identities, revoke replaced ones, drop expired tickets and sessions."""
    CASES = "cases"
    """Bring the support desk's cases forward: what tablets have said since, deadlines, ends."""
    LET_GO = "let_go"
    """Let approved commands of class A leave whose time has come. A hint without a word: the sender reads the rows."""
    HISTORY = "history"
    """Move ended commands out of the way, make the months to come, drop the oldest."""
    AUDIT = "audit"
    """Verify what is new in the audit trail and sign a checkpoint."""
    AUDIT_COMMANDS = "audit_commands"
    """Hold what left of class A against its approvals: what moved lately, or all that ever left (`whole`)."""
    USAGE_FILES = "usage_files"
    """Take up files of usage and bills from the drop folder."""
    NOTIFY = "notify"
    """Send the pages that wait."""
    RECONCILE = "reconcile"
    """Read what tablets say of their SIMs, compare ledger, carriers and tablets, ask for old inventories anew."""
    CARRIERS = "carriers"
    """Ask carriers what is due to be asked, send what is wanted of lines, and read it back."""
    CHECKS = "checks"
    """Start whereabouts checks whose day has come, take check-ins as evidence, escalate what is not verified."""
    WATCH_USAGE = "watch_usage"
    """Forecast the ends of cycles once a day, score past forecasts, find limits of use that were passed."""
    CAMPAIGNS = "campaigns"
    """Bring bulk wipes forward: who falls out, the next wave, pauses and ends. Lets nothing leave."""


QUEUES: dict[Job, str] = {
    Job.DISPATCH: "push",
    Job.SWEEP: "sweep",
    Job.RETARGET: "sync",
    Job.ADVANCE_ROLLOUTS: "sync",
    Job.VERIFY: "sync",
    Job.UPKEEP: "sweep",
    Job.CASES: "sweep",
    Job.LET_GO: "destructive",
    Job.HISTORY: "sweep",
    Job.AUDIT: "sweep",
    Job.AUDIT_COMMANDS: "sweep",
    Job.CHECKS: "sweep",
    Job.RECONCILE: "sweep",
    Job.CAMPAIGNS: "sweep",
    Job.CARRIERS: "carriers",
    Job.NOTIFY: "sweep",
    Job.USAGE_FILES: "sweep",
    Job.WATCH_USAGE: "sweep",
}
URGENT_QUEUE = "urgent"


@lru_cache(maxsize=1)
def publisher() -> Celery:
    """Return a Celery app that only publishes; bounded in time, because Valkey may be gone (operations.md §1.1)."""
    app = Celery("tabane", broker=get_settings().redis_url)
    app.conf.update(
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        broker_pool_acquire_timeout=5,
        broker_connection_retry=False,
        task_publish_retry=False,
        broker_transport_options={
            "socket_timeout": 2,
            "socket_connect_timeout": 1,
            "global_keyprefix": "tabane:",
        },
    )
    return app


def ring(session: Session, job: Job, *, urgent: bool = False, **ids: Any) -> None:
    """Note a hint to send once this session's transaction has committed; equal hints collapse into one."""
    hints: list[tuple[Job, bool, dict[str, Any]]] = session.info.setdefault(_BUFFER, [])
    hint = (job, urgent, ids)
    if hint not in hints:
        hints.append(hint)


def send(session: Session) -> None:
    """Send the hints of a committed session. Never raises: a lost hint costs one beat, never a command."""
    for job, urgent, ids in session.info.pop(_BUFFER, []):
        queue = URGENT_QUEUE if urgent else QUEUES[job]
        try:
            publisher().send_task(job.value, kwargs=ids, queue=queue, ignore_result=True)
        except Exception as error:  # noqa: BLE001 - any broker failure is survivable by design
            _log.warning("hint_lost", job=job.value, error=type(error).__name__)
            return
