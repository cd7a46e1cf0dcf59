"""Whose turn it is: the schools that wait in a lane, and leases of so many tablets of each. It sends nothing itself.

`wakeups` is the table's own room; this is how a lane is served when each school has a limit of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from sqlalchemy import text
from sqlmodel import Session

from mdm.devices.models import Lane
from mdm.devices.wakeups import Claim, claim_of

_CLAIMABLE: Final = (
    "w.due_at <= now() AND (w.lease_until IS NULL OR w.lease_until < now())"
    " AND (w.closes_at IS NULL OR w.closes_at > now())"
    " AND e.status = 'active' AND e.unreachable_since IS NULL"
    " AND e.push_token IS NOT NULL AND e.push_magic IS NOT NULL"
)


@dataclass(frozen=True, slots=True)
class Turn:
    """What may be claimed of one school: tablets, bytes in all (None: any), and only payloads below a size."""

    school_id: int
    count: int
    bytes: float | None = None
    below: int | None = None


def waiting(session: Session, lane: Lane) -> list[int]:
    """Return the schools with a tablet that may be woken now, the one that waits longest first.

    Those that wait equally long, as when all were made due together, come in another order each time. It steps from
    school to school through the index: the number of tablets that wait does not matter.
    """
    rows = session.execute(
        text(
            "WITH RECURSIVE school AS ("
            " (SELECT w.school_id FROM wakeup w WHERE w.lane = :lane ORDER BY w.school_id LIMIT 1)"
            " UNION ALL SELECT (SELECT w.school_id FROM wakeup w WHERE w.lane = :lane AND w.school_id > s.school_id"
            "  ORDER BY w.school_id LIMIT 1) FROM school s WHERE s.school_id IS NOT NULL)"
            " SELECT s.school_id FROM school s CROSS JOIN LATERAL ("
            "  SELECT w.due_at FROM wakeup w JOIN enrollment e USING (device_id)"
            f"  WHERE w.lane = :lane AND w.school_id = s.school_id AND {_CLAIMABLE} ORDER BY w.due_at LIMIT 1) oldest"
            " ORDER BY oldest.due_at, random()"
        ),
        {"lane": int(lane)},
    )
    return [row.school_id for row in rows]


def claim(session: Session, lane: Lane, turns: Sequence[Turn], *, lease_s: float) -> list[Claim]:
    """Lease what each school may have, longest due first; what another worker holds is passed over.

    The first of a school is leased whatever it weighs: what is heavier than any room must come up for decision too.
    Commit before sending.
    """
    rows = session.execute(
        text(
            "WITH due AS ("
            " SELECT w.device_id FROM unnest(CAST(:schools AS bigint[]), CAST(:counts AS int[]),"
            " CAST(:bytes AS float8[]), CAST(:below AS bigint[])) AS s (school_id, count, bytes, below)"
            " CROSS JOIN LATERAL ("
            "  SELECT c.device_id, sum(c.payload_bytes) OVER (ORDER BY c.due_at, c.device_id) AS total,"
            "  c.payload_bytes, row_number() OVER (ORDER BY c.due_at, c.device_id) AS place FROM ("
            "   SELECT w.device_id, w.payload_bytes, w.due_at FROM wakeup w JOIN enrollment e USING (device_id)"
            f"   WHERE w.lane = :lane AND w.school_id = s.school_id AND {_CLAIMABLE}"
            "   AND (s.below IS NULL OR w.payload_bytes < s.below)"
            "   ORDER BY w.due_at LIMIT s.count FOR UPDATE OF w SKIP LOCKED) c) w"
            " WHERE s.bytes IS NULL OR w.place = 1 OR w.payload_bytes = 0 OR w.total <= s.bytes)"
            " UPDATE wakeup w SET lease_until = now() + make_interval(secs => :lease_s), lease_token = :lease"
            " FROM due JOIN enrollment e USING (device_id) JOIN device d ON d.id = due.device_id"
            " WHERE w.device_id = due.device_id"
            " RETURNING w.device_id, w.school_id, d.platform, w.lane, w.generation, w.attempts, w.lease_token AS lease,"
            " w.payload_bytes, coalesce(e.topic, '') AS topic, e.push_token, e.push_magic"
        ),
        {
            "lane": int(lane),
            "schools": [turn.school_id for turn in turns],
            "counts": [turn.count for turn in turns],
            "bytes": [turn.bytes for turn in turns],
            "below": [turn.below for turn in turns],
            "lease_s": lease_s,
            "lease": uuid4(),
        },
    )
    return [claim_of(row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping


def give_back(session: Session, claims: Sequence[Claim]) -> int:
    """Give leases back as if they had never been taken, compare-and-set; returns how many were still ours."""
    if not claims:
        return 0
    rows = session.execute(
        text(
            "UPDATE wakeup w SET lease_until = NULL, lease_token = NULL"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:leases AS uuid[])) AS c (device_id, lease)"
            " WHERE w.device_id = c.device_id AND w.lease_token = c.lease RETURNING w.device_id"
        ),
        {"ids": [claim.device_id for claim in claims], "leases": [claim.lease for claim in claims]},
    )
    return len(rows.all())


def fetching(session: Session, device_ids: Sequence[int], at_least: Sequence[int]) -> set[int]:
    """Return which of these tablets may still be fetching what they were woken for, if it has so many bytes at least.

    That is: being woken now, woken and not heard since, or heard and being served, which puts the next wake-up off by
    two minutes. One whose wake-up is gone has everything; one that put its work off comes up again much later.
    """
    rows = session.execute(
        text(
            "SELECT w.device_id FROM wakeup w"
            " JOIN unnest(CAST(:ids AS bigint[]), CAST(:bytes AS bigint[])) AS a (device_id, bytes) USING (device_id)"
            " WHERE w.payload_bytes >= a.bytes AND (w.lease_token IS NOT NULL OR w.attempts > 0"
            "  OR (w.due_at > now() AND w.due_at <= now() + interval '125 seconds'))"
        ),
        {"ids": list(device_ids), "bytes": list(at_least)},
    )
    return {row.device_id for row in rows}
