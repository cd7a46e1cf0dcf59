"""The regular hints. Losing one, or having two beats, is harmless: every job reads what is due from the rows."""

from typing import Any, Final

from mdm.devices.models import Lane
from mdm.jobs import QUEUES, URGENT_QUEUE, Job


def _every(seconds: float, job: Job, queue: str | None = None, **kwargs: Any) -> dict[str, Any]:
    # A hint that was not taken up before the next one is of no use: it expires, so none pile up.
    options = {"queue": queue or QUEUES[job], "expires": seconds}
    return {"task": job.value, "schedule": seconds, "kwargs": kwargs, "options": options}


SCHEDULE: Final[dict[str, dict[str, Any]]] = {
    "urgent": _every(2, Job.DISPATCH, URGENT_QUEUE, lane=int(Lane.URGENT)),
    "normal": _every(3, Job.DISPATCH, lane=int(Lane.NORMAL)),
    "bulk": _every(5, Job.DISPATCH, lane=int(Lane.BULK)),
    "let_go": _every(3, Job.LET_GO),
    "sweep": _every(15, Job.SWEEP),
    "retarget": _every(30, Job.RETARGET),
    "rollouts": _every(10, Job.ADVANCE_ROLLOUTS),
    "verify": _every(20, Job.VERIFY),
    "cases": _every(10, Job.CASES),
    "upkeep": _every(600, Job.UPKEEP),
    "history": _every(300, Job.HISTORY),
    "usage_files": _every(60, Job.USAGE_FILES),
    "notify": _every(10, Job.NOTIFY),
    "audit": _every(300, Job.AUDIT),
    "commands": _every(60, Job.AUDIT_COMMANDS),
    "all_commands": _every(3600, Job.AUDIT_COMMANDS, whole=True),
    "checks": _every(120, Job.CHECKS),
    "usage_watch": _every(300, Job.WATCH_USAGE),
    "reconcile": _every(120, Job.RECONCILE),
    "campaigns": _every(15, Job.CAMPAIGNS),
    "carriers": _every(10, Job.CARRIERS),
}
"""Beat's entries."""
