"""When the SIM of a lost tablet may be suspended. Pure: values in, values out; knows no carrier.

The SIM is the tablet's only command channel (lte-and-usage.md A0): suspended before lock and wipe have landed, neither
ever arrives. So either they have landed, or somebody says why, and that the stated wait is over.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

USUAL_WAIT: Final = timedelta(hours=24)
"""How long a tablet that does not answer is waited for, unless another wait is stated."""
SHORTEST_WAIT: Final = timedelta(hours=1)
"""Less than this is no wait."""


class Landed(StrEnum):
    """How far something that is wanted of the tablet has come."""

    NOT_WANTED = "not_wanted"
    UNDER_WAY = "under_way"
    LANDED = "landed"
    """The tablet has said so."""
    FAILED = "failed"
    """It ended without that: refused by the tablet, run out, never possible."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The SIM may be suspended; `warning` says what that cuts."""

    warning: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The SIM stays; `until` is when a reason would do, None when first something else must be done."""

    detail: str
    until: datetime | None = None


WARNING: Final = (
    "A suspended SIM cuts lock, location and wipe on a tablet that has only LTE: what has not landed will not arrive"
    " before it is resumed."
)


def decide(
    *,
    lock: Landed,
    wipe: Landed,
    reason: str,
    waiting_since: datetime,
    now: datetime,
    wait: timedelta = USUAL_WAIT,
) -> Allowed | Refused:
    """Decide a wish to suspend. `waiting_since` is when the latest of lock and wipe left; `wait` is what was stated.

    A lock must be wanted at all. Nothing short of the shortest wait is believed to be a wait.
    """
    if lock is Landed.NOT_WANTED:
        return Refused("lock the tablet first: without its SIM it cannot be locked any more")
    if lock is Landed.LANDED and wipe in (Landed.LANDED, Landed.NOT_WANTED):
        return Allowed(WARNING if wipe is Landed.NOT_WANTED else None)
    missing = " and ".join(
        name for name, landed in (("lock", lock), ("wipe", wipe)) if landed in (Landed.UNDER_WAY, Landed.FAILED)
    )
    until = waiting_since + max(wait, SHORTEST_WAIT)
    if now < until:
        return Refused(f"the {missing} has not landed; the SIM is the only way to the tablet", until)
    if not reason.strip():
        return Refused(f"the {missing} has not landed: say why the line is to be cut all the same", until)
    return Allowed(WARNING)
