"""Who is due a push, and since when: all SQL of the wake-up table but the exchange's own. It sends nothing itself.

A row stands for "something waits for this tablet"; one push serves whatever waits. Leases use the database's clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlmodel import Session

from mdm.devices.models import Lane
from mdm.platform import Platform

_SILENT: Final[Mapping[Lane, Sequence[float]]] = {
    Lane.URGENT: (60, 300, 900, 3600),
    Lane.NORMAL: (900, 3600, 14_400, 86_400),
    Lane.BULK: (3600, 14_400, 86_400),
}
"""Seconds until a tablet that was woken and stays silent is woken again; the last value repeats. The push service keeps
a push for a day, so this is for what got lost on its side."""


class Verdict(StrEnum):
    """What became of one wake-up."""

    WOKEN = "woken"
    DEAD = "dead"
    """The address is dead; only the tablet itself can give a new one."""
    LATER = "later"
    """The push service asks for patience."""
    UNSENT = "unsent"
    """Certainly not sent."""
    UNKNOWN = "unknown"
    """Sent, no answer: again, though the tablet may be woken twice."""
    REFUSED = "refused"
    """Refused for a reason that lies in the message."""
    BROKEN = "broken"
    """Every push will be refused: certificate, topic, configuration."""


_PATIENCE: Final[Mapping[Verdict, float]] = {
    Verdict.UNSENT: 1.0,
    Verdict.LATER: 30.0,
    Verdict.DEAD: 300.0,
    Verdict.BROKEN: 300.0,
    Verdict.REFUSED: 3600.0,
}

_URGENT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Result:
    """One wake-up's outcome in words that hold for every platform; `retry_after` in seconds."""

    verdict: Verdict
    reason: str = ""
    retry_after: float | None = None
    dead_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A leased wake-up with all that a transport needs; address and secret stay out of repr."""

    device_id: int
    school_id: int
    platform: Platform
    lane: Lane
    generation: int
    attempts: int
    lease: UUID
    payload_bytes: int
    """What it will make the tablet fetch."""
    topic: str
    push_token: bytes = field(repr=False)
    push_magic: bytes = field(repr=False)
    """Sealed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """When one tablet is to be woken for something that can wait: not before `due_at`, not from `closes_at` on."""

    device_id: int
    due_at: datetime
    closes_at: datetime | None = None
    payload_bytes: int = 0


def mark_due(session: Session, device_ids: Sequence[int], lane: Lane) -> None:
    """Make enrolled tablets due a push now, whatever window was planned for them.

    On one that is due already, the more urgent lane and the new work count. Tablets that are not enrolled are left out:
    their first check-in asks anyway.
    """
    session.execute(
        text(
            "INSERT INTO wakeup (device_id, school_id, lane, due_at)"
            " SELECT e.device_id, d.school_id, :lane, now() FROM enrollment e JOIN device d ON d.id = e.device_id"
            " WHERE e.device_id = ANY(CAST(:ids AS bigint[])) AND e.status = 'active' ORDER BY e.device_id"
            " ON CONFLICT (device_id) DO UPDATE SET lane = least(wakeup.lane, EXCLUDED.lane), closes_at = NULL,"
            " due_at = least(wakeup.due_at, EXCLUDED.due_at), generation = wakeup.generation + 1, attempts = 0"
        ),
        {"lane": int(lane), "ids": list(device_ids)},
    )


def plan_due(session: Session, plans: Sequence[Plan], lane: Lane = Lane.BULK) -> None:
    """Make enrolled tablets due a push within their windows; one that is due in a more urgent lane keeps its time."""
    session.execute(
        text(
            "INSERT INTO wakeup (device_id, school_id, lane, due_at, closes_at, payload_bytes)"
            " SELECT p.device_id, d.school_id, :lane, p.due_at, p.closes_at, p.payload_bytes"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:due AS timestamptz[]), CAST(:closes AS timestamptz[]),"
            " CAST(:bytes AS bigint[])) AS p (device_id, due_at, closes_at, payload_bytes)"
            " JOIN enrollment e ON e.device_id = p.device_id AND e.status = 'active'"
            " JOIN device d ON d.id = p.device_id ORDER BY p.device_id"
            " ON CONFLICT (device_id) DO UPDATE SET"
            " due_at = CASE WHEN wakeup.lane < EXCLUDED.lane THEN wakeup.due_at ELSE EXCLUDED.due_at END,"
            " closes_at = CASE WHEN wakeup.lane < EXCLUDED.lane THEN wakeup.closes_at ELSE EXCLUDED.closes_at END,"
            " lane = least(wakeup.lane, EXCLUDED.lane), payload_bytes = EXCLUDED.payload_bytes,"
            " generation = wakeup.generation + 1, attempts = 0"
        ),
        {
            "lane": int(lane),
            "ids": [plan.device_id for plan in plans],
            "due": [plan.due_at for plan in plans],
            "closes": [plan.closes_at for plan in plans],
            "bytes": [plan.payload_bytes for plan in plans],
        },
    )


def move(session: Session, plans: Sequence[Plan]) -> int:
    """Give wake-ups whose window is over a new one; returns how many. How often they were pushed is not forgotten."""
    rows = session.execute(
        text(
            "WITH closed AS (SELECT w.device_id, p.due_at, p.closes_at"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:due AS timestamptz[]), CAST(:closes AS timestamptz[]))"
            " AS p (device_id, due_at, closes_at) JOIN wakeup w ON w.device_id = p.device_id"
            " WHERE w.closes_at <= now() ORDER BY w.device_id FOR UPDATE OF w SKIP LOCKED)"
            " UPDATE wakeup w SET due_at = c.due_at, closes_at = c.closes_at FROM closed c"
            " WHERE w.device_id = c.device_id RETURNING 1"
        ),
        {
            "ids": [plan.device_id for plan in plans],
            "due": [plan.due_at for plan in plans],
            "closes": [plan.closes_at for plan in plans],
        },
    )
    return len(rows.all())


def withdraw(session: Session, device_ids: Sequence[int]) -> int:
    """Close the windows of these tablets' wake-ups now, but for urgent ones and those that a command waits for."""
    return _set_window(
        session,
        device_ids,
        "closes_at = now()",
        "w.lane > 0 AND (w.closes_at IS NULL OR w.closes_at > now()) AND NOT EXISTS (SELECT FROM command c"
        " WHERE c.device_id = w.device_id AND c.state IN ('queued', 'sent', 'delivered', 'not_now'))",
    )


def unbind(session: Session, device_ids: Sequence[int]) -> int:
    """Let what waits for these tablets go out at any time: nobody plans for them any more."""
    return _set_window(session, device_ids, "closes_at = NULL", "w.closes_at IS NOT NULL")


def _set_window(session: Session, device_ids: Sequence[int], setting: str, which: str) -> int:
    """What is leased just now is being sent: it is passed over."""
    rows = session.execute(
        text(
            "WITH mine AS (SELECT w.device_id FROM wakeup w WHERE w.device_id = ANY(CAST(:ids AS bigint[]))"
            f" AND (w.lease_until IS NULL OR w.lease_until < now()) AND {which}"
            " ORDER BY w.device_id FOR UPDATE OF w SKIP LOCKED)"
            f" UPDATE wakeup w SET {setting} FROM mine m WHERE w.device_id = m.device_id RETURNING 1"
        ),
        {"ids": list(device_ids)},
    )
    return len(rows.all())


def clear(session: Session, device_ids: Sequence[int]) -> None:
    """Forget that these tablets are due, whatever waits."""
    session.execute(text("DELETE FROM wakeup WHERE device_id = ANY(CAST(:ids AS bigint[]))"), {"ids": list(device_ids)})


def claim_due(session: Session, lane: Lane, *, limit: int, lease_s: float) -> list[Claim]:
    """Lease up to `limit` due wake-ups of a lane, longest due first; what another worker holds is passed over.

    Commit before sending. Tablets with a dead address stay due but are passed over until they give a new one.
    """
    rows = session.execute(
        text(
            "WITH due AS ("
            " SELECT w.device_id FROM wakeup w JOIN enrollment e USING (device_id)"
            " WHERE w.lane = :lane AND w.due_at <= now() AND (w.lease_until IS NULL OR w.lease_until < now())"
            " AND (w.closes_at IS NULL OR w.closes_at > now())"
            " AND e.status = 'active' AND e.unreachable_since IS NULL"
            " AND e.push_token IS NOT NULL AND e.push_magic IS NOT NULL"
            " ORDER BY w.due_at LIMIT :limit FOR UPDATE OF w SKIP LOCKED)"
            " UPDATE wakeup w SET lease_until = now() + make_interval(secs => :lease_s), lease_token = :lease"
            " FROM due JOIN enrollment e USING (device_id) JOIN device d ON d.id = due.device_id"
            " WHERE w.device_id = due.device_id"
            " RETURNING w.device_id, d.school_id, d.platform, w.lane, w.generation, w.attempts, w.lease_token AS lease,"
            " w.payload_bytes, coalesce(e.topic, '') AS topic, e.push_token, e.push_magic"
        ),
        {"lane": int(lane), "limit": limit, "lease_s": lease_s, "lease": uuid4()},
    )
    return [claim_of(row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping


def defer(session: Session, waits: Sequence[tuple[Claim, float]]) -> int:
    """Give leases back with seconds to wait each, compare-and-set; returns how many were still ours."""
    return _set_due(session, waits, attempts=0, awake=False)


def settle(session: Session, results: Sequence[tuple[Claim, Result]]) -> list[int]:
    """Record outcomes, compare-and-set on the lease; a settle that comes too late changes nothing.

    Returns the tablets that were woken for all that waits for them; those with newer work stay due at once.
    """
    woken = [(claim, _silence(claim)) for claim, result in results if result.verdict is Verdict.WOKEN]
    perhaps = [(claim, _doubt(claim)) for claim, result in results if result.verdict is Verdict.UNKNOWN]
    again = [(claim, _patience(claim, result)) for claim, result in results if result.verdict in _PATIENCE]
    dead = [(claim, result) for claim, result in results if result.verdict is Verdict.DEAD]
    _mark_unreachable(session, dead)
    defer(session, again)
    _set_due(session, perhaps, attempts=1, awake=True)
    if not woken:
        return []
    ids = [claim.device_id for claim, _ in woken]
    generations = [claim.generation for claim, _ in woken]
    session.execute(
        text("UPDATE enrollment SET last_push_at = now() WHERE device_id = ANY(CAST(:ids AS bigint[]))"), {"ids": ids}
    )
    _set_due(session, woken, attempts=1, awake=True)
    rows = session.execute(
        text(
            "SELECT c.device_id FROM unnest(CAST(:ids AS bigint[]), CAST(:generations AS bigint[]))"
            " AS c (device_id, generation) LEFT JOIN wakeup w USING (device_id)"
            " WHERE w.device_id IS NULL OR w.generation = c.generation"
        ),
        {"ids": ids, "generations": generations},
    )
    return [row.device_id for row in rows]


def next_due(session: Session, lane: Lane) -> float | None:
    """Seconds until the next wake-up of a lane may be claimed: 0 when one may be now, None when nothing waits."""
    row = session.execute(
        text(
            "SELECT extract(epoch FROM greatest(w.due_at, w.lease_until) - now())::float8 AS wait"
            " FROM wakeup w JOIN enrollment e USING (device_id)"
            " WHERE w.lane = :lane AND e.status = 'active' AND e.unreachable_since IS NULL"
            " AND e.push_token IS NOT NULL AND e.push_magic IS NOT NULL AND coalesce(w.lease_until < now(), true)"
            " AND (w.closes_at IS NULL OR w.closes_at > greatest(w.due_at, now()))"
            " ORDER BY w.due_at LIMIT 1"
        ),
        {"lane": int(lane)},
    ).first()
    return None if row is None else max(0.0, row.wait)


def hasten(session: Session, device_id: int) -> Lane | None:
    """Make what waits for a tablet due at once, because its address is new; returns the lane, None if nothing waits."""
    row = session.execute(
        text(
            "UPDATE wakeup SET due_at = least(due_at, now()), attempts = 0, generation = generation + 1"
            " WHERE device_id = :id RETURNING lane"
        ),
        {"id": device_id},
    ).first()
    return None if row is None else Lane(row.lane)


def find_forgotten(session: Session, *, silent_s: float) -> int:
    """Make due what has work but no wake-up, which only a fault leaves behind; returns how many.

    A tablet pushed, or with a command made, less than `silent_s` ago is left alone: it may be about to ask. One that
    has asked since and was handed nothing, because its command must wait for lost mode, say, is asked seldom.
    """
    rows = session.execute(
        text(
            "INSERT INTO wakeup (device_id, lane, due_at)"
            " SELECT e.device_id, coalesce(work.lane, 1), now() FROM enrollment e"
            " LEFT JOIN LATERAL (SELECT min(c.lane) AS lane FROM command c WHERE c.device_id = e.device_id"
            "  AND c.state IN ('queued', 'sent', 'delivered', 'not_now') AND c.epoch = e.epoch AND c.expires_at > now()"
            "  AND (c.not_before IS NULL OR c.not_before <= now())"
            "  AND c.created_at < now() - make_interval(secs => :silent)"
            "  AND (coalesce(e.last_seen_at, '-infinity') < c.created_at"
            "   OR coalesce(e.last_push_at, '-infinity') < now() - interval '6 hours')) work ON true"
            " WHERE e.status = 'active'"
            " AND (work.lane IS NOT NULL OR (e.desired_manifest IS DISTINCT FROM e.installed_manifest"
            "  AND e.desired_manifest IS NOT NULL"
            "  AND coalesce(e.last_push_at, '-infinity') < now() - interval '1 day'"
            "  AND coalesce(e.last_seen_at, '-infinity') < now() - interval '1 day'))"
            " AND coalesce(e.last_push_at, '-infinity') < now() - make_interval(secs => :silent)"
            " AND NOT EXISTS (SELECT FROM wakeup w WHERE w.device_id = e.device_id)"
            " ORDER BY e.device_id ON CONFLICT (device_id) DO NOTHING RETURNING device_id"
        ),
        {"silent": silent_s},
    )
    return len(rows.all())


def claim_of(row: Mapping[Any, Any]) -> Claim:
    """Make a claim of a leased row, given by the names of its fields."""
    facts = {str(name): value for name, value in row.items()}
    return Claim(**{**facts, "platform": Platform(facts["platform"]), "lane": Lane(facts["lane"])})


def _set_due(session: Session, waits: Sequence[tuple[Claim, float]], *, attempts: int, awake: bool) -> int:
    """Give leases back; `awake` leaves a tablet due at once if work came in since it was claimed."""
    if not waits:
        return 0
    rows = session.execute(
        text(
            "UPDATE wakeup w SET lease_until = NULL, lease_token = NULL, attempts = w.attempts + :attempts,"
            " due_at = CASE WHEN :awake AND w.generation <> c.generation THEN w.due_at"
            " ELSE now() + make_interval(secs => c.wait) END"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:generations AS bigint[]), CAST(:leases AS uuid[]),"
            " CAST(:waits AS float8[])) AS c (device_id, generation, lease, wait)"
            " WHERE w.device_id = c.device_id AND w.lease_token = c.lease RETURNING w.device_id"
        ),
        {
            "attempts": attempts,
            "awake": awake,
            "ids": [claim.device_id for claim, _ in waits],
            "generations": [claim.generation for claim, _ in waits],
            "leases": [claim.lease for claim, _ in waits],
            "waits": [wait for _, wait in waits],
        },
    )
    return len(rows.all())


def _mark_unreachable(session: Session, dead: Sequence[tuple[Claim, Result]]) -> None:
    """Note dead addresses, unless the tablet has given another since, or registered after the push service's word."""
    for claim, result in dead:
        session.execute(
            text(
                "UPDATE enrollment SET unreachable_since = now() WHERE device_id = :id AND push_token = :token"
                " AND (CAST(:since AS timestamptz) IS NULL OR token_at IS NULL OR token_at <= :since)"
            ),
            {"id": claim.device_id, "token": claim.push_token, "since": result.dead_since},
        )


def _silence(claim: Claim) -> float:
    steps = _SILENT[claim.lane]
    return steps[min(claim.attempts, len(steps) - 1)]


def _doubt(claim: Claim) -> float:
    """After a push without an answer: one more soon, then as if it had arrived, so that nobody is woken for ever."""
    return 2.0 if claim.attempts == 0 else _silence(claim)


def _patience(claim: Claim, result: Result) -> float:
    """Seconds until the next try after a push that certainly did not arrive; a lock waits for no busy service."""
    patience = result.retry_after or _PATIENCE[result.verdict]
    return min(patience, _URGENT_S) if claim.lane is Lane.URGENT and result.verdict is Verdict.LATER else patience
