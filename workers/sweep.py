"""Re-finds what a lost hint or a fault left behind. Run it as often as you like: it looks at rows and sends nothing."""

from collections import Counter
from typing import Final

import structlog
from sqlalchemy import text
from sqlmodel import Session

from mdm import jobs
from mdm.commands import transitions
from mdm.devices import wakeups
from mdm.devices.models import Lane

_log = structlog.get_logger(__name__)

_SILENT_S: Final = 300.0
"""A tablet with open work and no wake-up, left alone this long, was forgotten."""
_LOCK: Final = 7_203_001


def sweep(session: Session) -> Counter[str]:
    """End what is over, make due what was forgotten, ring for each lane in which something is due; returns the counts.

    Expired leases need nothing here: a claim takes them up again. Two sweeps at once: the second does nothing.
    """
    found: Counter[str] = Counter()
    if not session.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK}).scalar_one():
        return found
    found["expired"] = transitions.expire(session)
    found["overtaken"] = transitions.end_overtaken(session)
    found["forgotten"] = wakeups.find_forgotten(session, silent_s=_SILENT_S)
    for lane in Lane:
        if wakeups.next_due(session, lane) == 0:
            found[lane.name.lower()] += 1
            jobs.ring(session, jobs.Job.DISPATCH, urgent=lane is Lane.URGENT, lane=int(lane))
    if found["forgotten"]:
        _log.warning("forgotten_tablets_found", count=found["forgotten"])
    return found
