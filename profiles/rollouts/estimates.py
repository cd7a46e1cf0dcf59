"""What a rollout is expected to cost, and whether that needs a second operator: numbers before it starts.

It brings snapshot, limits and calendars together and has `costs` compute; it refuses nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter
from sqlmodel import Session

from mdm import clock
from mdm.limits import limits
from mdm.organization.calendars import calendars_of
from profiles.models import Rollout
from profiles.rollouts import costs
from profiles.rollouts.costs import Busiest, Chain
from profiles.rollouts.judging import Judged
from profiles.rollouts.schedules import Schedule
from profiles.rollouts.snapshot import Group
from profiles.rollouts.waves import Wave


@dataclass(frozen=True, slots=True)
class SchoolCost:
    """The tablets of one school that would be reached, and what they would fetch."""

    school: str
    tablets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Tablets that are left out, and why."""

    reason: str
    tablets: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a rollout would do and cost, as far as is known before."""

    tablets: int
    """Those that can be reached."""
    changed: int
    """Those that would hold something else, reachable or not."""
    left_out: list[LeftOut]
    waves: list[Wave]
    schools: list[SchoolCost]
    gb: float
    """Over LTE in the worst case; GB are 10^9 bytes."""
    busiest: Busiest | None
    """The school that fetches most."""
    pool_share: float | None
    """Of the month's data, where the district has a pool."""
    finishes_at: datetime | None
    """At the present limits, waits between waves apart; None: not within 60 days."""
    limited_by: Chain | None
    gate: list[str]
    """Why a second operator must approve; empty: nobody must."""

    @property
    def needs_approval(self) -> bool:
        """Whether a second operator decides."""
        return bool(self.gate)

    def as_json(self) -> dict[str, Any]:
        """As the rollout's row keeps it."""
        written: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return written


_ADAPTER: Final = TypeAdapter(Estimate)


def of_json(kept: Mapping[str, Any]) -> Estimate:
    """Read what `as_json` wrote."""
    return _ADAPTER.validate_python(dict(kept))


def estimate(
    session: Session, rollout: Rollout, found: Sequence[Group], waves: Sequence[Wave], judged: Judged
) -> Estimate:
    """Say what a snapshot costs at the present limits and by the schools' calendars."""
    cost = costs.estimate(
        judged.loads,
        limits.current(session),
        Schedule.model_validate(rollout.schedule),
        calendars_of(session, {load.school_id for load in judged.loads}),
        after=clock.now(),
    )
    tablets, reasons, bytes_of = Counter[str](), Counter[str](), Counter[str]()
    for group in found:
        if group.excluded is None:
            tablets[group.school] += group.tablets
        else:
            reasons[group.excluded] += group.tablets
    for load in judged.loads:
        bytes_of[load.school] += load.tablets * load.bytes_each
    return Estimate(
        tablets=sum(tablets.values()),
        changed=judged.changed,
        left_out=[LeftOut(*each) for each in sorted(reasons.items(), key=lambda each: (-each[1], each[0]))],
        waves=list(waves),
        schools=[SchoolCost(code, number, bytes_of[code]) for code, number in sorted(tablets.items())],
        gb=cost.gb,
        busiest=cost.busiest,
        pool_share=cost.pool_share,
        finishes_at=cost.finishes_at,
        limited_by=cost.limited_by,
        gate=list(cost.gate),
    )
