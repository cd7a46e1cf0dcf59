"""What a rollout is expected to cost, and whether that needs a second operator: numbers before it starts.

It reads the limits and computes; it refuses nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from pydantic import TypeAdapter
from sqlmodel import Session

from mdm.limits import limits
from profiles.models import Rollout
from profiles.rollouts.judging import Judged
from profiles.rollouts.snapshot import Group
from profiles.rollouts.waves import Wave

_GB: Final = 1_000_000_000
MOST_SCHOOLS: Final = 1000


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
    """Over LTE in the worst case."""
    busiest_school: str | None
    busiest_gb: float
    pool_share: float | None
    """Of the month's data, where the district has a pool."""
    gate_gb: float
    needs_approval: bool
    """It costs more than the gate lets through: a second operator decides."""

    def as_json(self) -> dict[str, Any]:
        """As the rollout's row keeps it."""
        return asdict(self)


_READER: Final = TypeAdapter(Estimate)


def of_json(kept: Mapping[str, Any]) -> Estimate:
    """Read what `as_json` wrote."""
    return _READER.validate_python(dict(kept))


def estimate(
    session: Session, _rollout: Rollout, found: Sequence[Group], waves: Sequence[Wave], judged: Judged
) -> Estimate:
    """Add up what is known of a snapshot."""
    present = limits.current(session)
    loads = {load.school: load for load in judged.loads}
    tablets = Counter[str]()
    reasons = Counter[str]()
    for group in found:
        if group.excluded is None:
            tablets[group.school] += group.tablets
        else:
            reasons[group.excluded] += group.tablets
    schools = [
        SchoolCost(code, number, loads[code].bytes_in_all if code in loads else 0)
        for code, number in sorted(tablets.items())
    ]
    total = sum(each.bytes for each in schools) / _GB
    busiest = max(schools, key=lambda each: each.bytes, default=None)
    return Estimate(
        tablets=sum(tablets.values()),
        changed=judged.changed,
        left_out=[LeftOut(*each) for each in sorted(reasons.items(), key=lambda each: (-each[1], each[0]))],
        waves=list(waves),
        schools=schools[:MOST_SCHOOLS],
        gb=total,
        busiest_school=busiest.school if busiest is not None and busiest.bytes else None,
        busiest_gb=busiest.bytes / _GB if busiest is not None else 0.0,
        pool_share=total / present.pool_gb if present.pool_gb else None,
        gate_gb=present.gate_gb,
        needs_approval=total > present.gate_gb,
    )
