"""When the tablets of a rollout are woken: their slots become rows of wake-ups, and are moved when a window closes.

It decides no time itself (`windows` does) and sends nothing.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from mdm import clock, jobs
from mdm.devices import wakeups
from mdm.devices.models import Lane
from mdm.devices.wakeups import Plan
from mdm.jobs import Job
from mdm.organization.calendars import calendars_of
from profiles import targets
from profiles.models import Rollout
from profiles.rollouts.schedules import Schedule
from profiles.rollouts.windows import Never, Slot, slots

AT_ONCE: Final = 1000

# An iPad gets a profile as base64 in a property list. Sizes are taken once for each pair of manifests.
_PAYLOADS = """
WITH told AS (
    SELECT t.device_id, d.school_id, d.platform, t.former, t.manifest
    FROM rollout_target t JOIN device d ON d.id = t.device_id
    WHERE t.rollout_id = :rollout AND t.device_id = ANY(CAST(:ids AS bigint[]))
), size AS (
    SELECT p.former, p.manifest, coalesce(sum(octet_length(a.body)), 0) AS bytes
    FROM (SELECT DISTINCT former, manifest FROM told) p
    JOIN manifest_item i ON i.manifest = p.manifest JOIN artifact a ON a.sha256 = i.artifact
    LEFT JOIN manifest_item f ON f.manifest = p.former AND f.identifier = i.identifier AND f.artifact = i.artifact
    WHERE f.manifest IS NULL GROUP BY 1, 2
)
SELECT t.device_id, t.school_id, now(),
       coalesce(CASE WHEN t.platform = 'apple' THEN ceil(s.bytes * 4 / 3) ELSE s.bytes END, 0)::bigint
FROM told t LEFT JOIN size s ON s.former IS NOT DISTINCT FROM t.former AND s.manifest = t.manifest
ORDER BY t.device_id
"""
_UNDER_WAY = (
    "t.rollout_id = :rollout AND t.released_at IS NOT NULL AND t.installed_at IS NULL AND t.withdrawn_at IS NULL"
)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A tablet that is to be woken, not before a moment."""

    device_id: int
    school_id: int
    after: datetime
    payload_bytes: int = 0


def schedule_for(tablets: int) -> Schedule:
    """When so many tablets may be woken unless a rollout says otherwise: a handful at once, more by the rules."""
    if tablets >= targets.BULK_FROM:
        return Schedule()
    return Schedule(obey_class_hours=False, avoid_marks=False)


def shut(session: Session, schedule: Schedule, school_ids: Collection[int], *, rollout_id: UUID) -> Never | None:
    """Say why nobody of these schools can ever be woken by a schedule; None when somebody can."""
    now = clock.now()
    found = [
        slots(schedule, calendar, after=now, device_ids=(), rollout_id=rollout_id)
        for calendar in calendars_of(session, school_ids).values()
    ]
    never = [each for each in found if isinstance(each, Never)]
    return never[0] if never and len(never) == len(found) else None


def lane_of(session: Session, rollout: Rollout) -> Lane:
    """The lane in which all of a rollout goes, by the size of its snapshot."""
    size = session.execute(
        text("SELECT coalesce(sum(size), 0) FROM rollout_wave WHERE rollout_id = :rollout"), {"rollout": rollout.id}
    ).scalar_one()
    return targets.lane_for(int(size))


def plan(session: Session, rollout: Rollout, device_ids: Sequence[int]) -> None:
    """Plan wake-ups for tablets that have just been told to hold something else, with what each will fetch."""
    if not device_ids:
        return
    rows = session.execute(text(_PAYLOADS), {"rollout": rollout.id, "ids": list(device_ids)})
    waiting = [_Waiting(*row) for row in rows]
    lane = lane_of(session, rollout)
    planned, _ = _planned(session, rollout, waiting)
    wakeups.plan_due(session, planned, lane)
    jobs.ring(session, Job.DISPATCH, lane=int(lane))


def move(session: Session, rollout: Rollout, *, limit: int = AT_ONCE) -> int:
    """Give the next slot to tablets whose window closed before they were reached; returns how many were looked at.

    One that was pushed and stays silent keeps its pause. One that gets no slot any more is not woken for this: it gets
    the revision when it asks by itself.
    """
    rows = session.execute(
        text(
            "SELECT t.device_id, d.school_id, greatest(w.due_at, now()) FROM rollout_target t"
            " JOIN wakeup w ON w.device_id = t.device_id JOIN device d ON d.id = t.device_id"
            f" WHERE {_UNDER_WAY} AND w.closes_at <= now() AND (w.lease_until IS NULL OR w.lease_until < now())"
            " ORDER BY t.device_id LIMIT :limit"
        ),
        {"rollout": rollout.id, "limit": limit},
    )
    waiting = [_Waiting(*row) for row in rows]
    planned, never = _planned(session, rollout, waiting)
    wakeups.move(session, planned)
    wakeups.clear(session, never)
    if planned:
        jobs.ring(session, Job.DISPATCH, lane=int(lane_of(session, rollout)))
    return len(waiting)


def withdraw(session: Session, rollout_id: UUID) -> int:
    """Take back the wake-ups that were not sent yet, but for tablets that another rollout under way needs awake."""
    rows = session.execute(text("SELECT id FROM rollout WHERE state = 'running' AND id <> :id"), {"id": rollout_id})
    others = [str(each) for (each,) in rows]
    total = 0
    for ids in _pages(session, rollout_id):
        needed = _told_by(session, others, ids) if others else set()
        total += wakeups.withdraw(session, [device_id for device_id in ids if device_id not in needed])
    return total


def unbind(session: Session, rollout_id: UUID) -> int:
    """After its end: what still waits for its tablets may go out at any time."""
    return sum(wakeups.unbind(session, ids) for ids in _pages(session, rollout_id))


def _pages(session: Session, rollout_id: UUID) -> Iterator[list[int]]:
    """Yield the tablets that were told and have not installed it, some hundred at a time."""
    after = 0
    while True:
        rows = session.execute(
            text(
                f"SELECT t.device_id FROM rollout_target t WHERE {_UNDER_WAY} AND t.device_id > :after"
                " ORDER BY t.device_id LIMIT :limit"
            ),
            {"rollout": rollout_id, "after": after, "limit": AT_ONCE},
        )
        ids = [device_id for (device_id,) in rows]
        if not ids:
            return
        yield ids
        after = ids[-1]


def _told_by(session: Session, others: Sequence[str], ids: Sequence[int]) -> set[int]:
    rows = session.execute(
        text(
            "SELECT device_id FROM rollout_target WHERE rollout_id = ANY(CAST(:others AS uuid[]))"
            " AND device_id = ANY(CAST(:ids AS bigint[])) AND released_at IS NOT NULL AND installed_at IS NULL"
            " AND withdrawn_at IS NULL"
        ),
        {"others": list(others), "ids": list(ids)},
    )
    return {device_id for (device_id,) in rows}


def _planned(session: Session, rollout: Rollout, waiting: Sequence[_Waiting]) -> tuple[list[Plan], list[int]]:
    """Return plans, and the tablets for which there is no time any more."""
    plans, never = [], []
    for one, slot in _slots(session, rollout, waiting):
        if isinstance(slot, Never):
            never.append(one.device_id)
        else:
            plans.append(Plan(one.device_id, slot.due_at, slot.closes_at, one.payload_bytes))
    return plans, never


def _slots(session: Session, rollout: Rollout, waiting: Sequence[_Waiting]) -> Iterator[tuple[_Waiting, Slot | Never]]:
    schedule = Schedule.model_validate(rollout.schedule)
    calendars = calendars_of(session, {one.school_id for one in waiting})
    together: defaultdict[tuple[int, datetime], list[_Waiting]] = defaultdict(list)
    for one in waiting:
        together[one.school_id, one.after].append(one)
    assert rollout.id is not None
    for (school_id, after), group in together.items():
        ids = [one.device_id for one in group]
        found = slots(schedule, calendars[school_id], after=after, device_ids=ids, rollout_id=rollout.id)
        yield from ((one, found if isinstance(found, Never) else found[one.device_id]) for one in group)
