"""Slow housekeeping: orders the renewal of identities and clears away what is over. Nothing here is urgent or sends."""

from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog
from sqlmodel import Session

from enrollment import renewal, tickets
from mdm import db
from mdm.api import idempotency
from mdm.auth import credentials
from mdm.cellular import bindings
from mdm.errors import MdmError
from mdm.operators import ceremonies, throttle
from profiles import exceptions
from workers import endings

_log = structlog.get_logger(__name__)

STEPS: Final[dict[str, Callable[[Session], int]]] = {
    "renewals": renewal.order_due,
    "tickets": tickets.drop_old,
    "credentials": credentials.drop_dead,
    "ceremonies": ceremonies.drop_old,
    "sign_ins": throttle.drop_old,
    "requests": idempotency.forget_old,
    "exceptions": exceptions.expire,
    "sims": bindings.follow_ledger,
    "endings": endings.tell,
}
"""Each in a transaction of its own. A replaced identity is revoked where its successor is first used, not here."""


def upkeep() -> Counter[str]:
    """Do one round and return how much of each kind was done; a step that cannot be done leaves the others alone."""
    done: Counter[str] = Counter()
    for name, step in STEPS.items():
        try:
            with db.transaction() as session:
                done[name] += step(session)
        except MdmError as error:  # no push certificate, say: the next round tries again
            _log.warning("upkeep_step_failed", reason=error.slug, detail=error.detail, action=name)
    if done.total():
        _log.info("upkeep", counts=dict(done))
    return done
