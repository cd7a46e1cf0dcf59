"""Brings bulk wipes forward, each in a transaction of its own. Holds no rule, sends nothing, lets nothing leave."""

from collections import Counter

import structlog

from mdm import db
from mdm.campaigns import advance

_log = structlog.get_logger(__name__)


def bring_forward() -> Counter[str]:
    """Look at each campaign once; return how much was done."""
    done: Counter[str] = Counter()
    with db.transaction() as session:
        found = advance.to_look_at(session)
    for campaign_id in found:
        try:
            with db.transaction() as session:
                done.update(+advance.look(session, campaign_id))
        except Exception as error:  # noqa: BLE001 - what is wrong with one must not hold the others up
            done["failed"] += 1
            _log.error("campaign_failed", campaign_id=str(campaign_id), error=type(error).__name__)
    if done.total():
        _log.info("campaigns", counts=dict(done))
    return done
