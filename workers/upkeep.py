"""Slow housekeeping: clears away tickets, sessions and tokens that are over. Nothing here is urgent or irreversible."""

from collections import Counter

import structlog
from sqlmodel import Session

from enrollment import tickets
from mdm.auth import credentials

_log = structlog.get_logger(__name__)


def upkeep(session: Session) -> Counter[str]:
    """Do one round; returns how much of each kind was done."""
    done = Counter(
        {
            "tickets": tickets.drop_old(session),
            "credentials": credentials.drop_dead(session),
        }
    )
    if done.total():
        _log.info("upkeep", counts=dict(done))
    return done
