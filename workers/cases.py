"""Tend the support desk's cases, one transaction each. Holds no rules: those are in `mdm.support`."""

from collections import Counter

import structlog

from mdm import db
from mdm.support import deadlines

_log = structlog.get_logger(__name__)


def tend() -> Counter[str]:
    """Do one round and return how often each thing was done."""
    with db.transaction() as session:
        ids = deadlines.waiting(session)
    done: Counter[str] = Counter()
    for case_id in ids:
        with db.transaction() as session:
            outcome = deadlines.tend(session, case_id)
        if outcome is not None:
            done[outcome] += 1
    with db.transaction() as session:
        done["told"] += deadlines.tell(session)
    if done.total():
        _log.info("cases_tended", counts=dict(done))
    return done
