"""Read what tablets say of their SIMs, and compare it with ledger and carriers. Holds no rules, sends nothing."""

import time
from collections import Counter
from typing import Final

import structlog

from mdm import db
from mdm.cellular import reconciliation, tablet_view
from mdm.support import foreign_sims

_log = structlog.get_logger(__name__)
_BUDGET_S: Final = 20.0
"""Reading stops after this, well before the task's time limit; the next beat goes on."""


def reconcile() -> Counter[str]:
    """Do one round and return what was done. May be killed anywhere, and run twice at once."""
    done: Counter[str] = Counter()
    until = time.monotonic() + _BUDGET_S
    while time.monotonic() < until:
        with db.transaction() as session:
            read = tablet_view.take(session)
        done["read"] += read or 0
        if read is None or read < tablet_view.AT_ONCE:
            break
    with db.transaction() as session:
        found = reconciliation.look_if_due(session)
    done += found or Counter()
    with db.transaction() as session:
        done["cases_wanted"] += foreign_sims.ask_for_cases(session)
    with db.transaction() as session:
        done["asked"] += reconciliation.ask_again(session)
    if done.total():
        _log.info("sims_reconciled", counts=dict(done))
    return done
