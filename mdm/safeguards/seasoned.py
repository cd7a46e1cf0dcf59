"""Whether an account is old enough for what cannot be undone. A fresh account that tries is a pattern of attack."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from sqlmodel import Session

from mdm import clock
from mdm.auth.models import Operator
from mdm.errors import Attempt, Forbidden
from mdm.safeguards.threshold_values import Name

PATTERN: Final = "young account"


class YoungAccount(Forbidden):
    """The account was made, or given more, too short a while ago."""

    slug = "young-account"


def must_be(session: Session, operator_id: int, held: Mapping[Name, int], *, what: str) -> None:
    """Raise `YoungAccount` for an account made or given more too lately; the refusal opens the breaker.

    An account made on the host is old enough from its first day: somebody must found the house, and whoever has the
    database in hand needs no account.
    """
    operator = session.get_one(Operator, operator_id)
    now = clock.now()
    days, hours = held[Name.YOUNG_DAYS], held[Name.ELEVATED_HOURS]
    young = not operator.made_on_host and operator.created_at > now - timedelta(days=days)
    elevated = operator.elevated_at is not None and operator.elevated_at > now - timedelta(hours=hours)
    if young or elevated:
        why = f"was made less than {days} days ago" if young else f"was given more less than {hours} hours ago"
        error = YoungAccount(f"this account {why}; it cannot {what} yet")
        error.attempt = Attempt(operator_id, f"operator:{operator.name}", what, trips=PATTERN)
        raise error
