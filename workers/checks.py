"""Brings whereabouts checks forward: start, take check-ins, escalate. Reads rows and sends nothing."""

from collections import Counter
from typing import Final

import structlog

from mdm import db
from mdm.checks import escalation, evidence, starting

_log = structlog.get_logger(__name__)

_BATCHES: Final = 20
"""Transactions of check-ins in one round, which must end well before the time limit; the next beat goes on."""


def bring_forward() -> Counter[str]:
    """Do one round and return how much was done. Two at once are harmless: each row is taken by one of them."""
    done: Counter[str] = Counter()
    with db.transaction() as session:
        done["started"] += starting.begin_due(session)
    for _ in range(_BATCHES):
        with db.transaction() as session:
            taken = evidence.take_checkins(session)
        done["checkins"] += taken
        if taken < evidence.AT_ONCE:
            break
    with db.transaction() as session:
        done["told"] += escalation.escalate(session)
    if done.total():
        _log.info("checks", counts=dict(done))
    return done
