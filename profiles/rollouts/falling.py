"""Taking a revision away again from tablets of a rollout that was stopped or rolled back, some hundred at a time.

They fall to what speaks to them without it; the row says so before the manifest does, so that a kill loses nothing.
"""

from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from mdm.commands import artifacts
from mdm.devices.models import Lane
from profiles import targets
from profiles.models import Rollout, RolloutState
from profiles.rollouts import states, wakes
from profiles.rollouts.release import AT_ONCE

_FALLING = (RolloutState.HALTED, RolloutState.ABORTED, RolloutState.ROLLED_BACK)


def chunk(session: Session, rollout_id: UUID, *, after: int = 0, limit: int = AT_ONCE) -> list[int]:
    """Let the next tablets fall back, by id from `after` on; returns those looked at, none when there are no more."""
    targets.serialise(session)
    rollout = states.locked(session, rollout_id, *_FALLING)
    if rollout is None or rollout.fallen_back_at is not None:
        return []
    every = rollout.state == RolloutState.ROLLED_BACK
    ids = _next(session, rollout_id, after, limit, every=every)
    if ids:
        artifacts.hold_still(session, ids)
        falling = _withdraw(session, rollout_id, ids, every=every)
        _, changed = targets.recompute(session, falling)
        targets.wake(session, changed, Lane.NORMAL if every else wakes.lane_of(session, rollout))
    if len(ids) < limit:
        _note_done(session, rollout)
    return ids


def _next(session: Session, rollout_id: UUID, after: int, limit: int, *, every: bool) -> list[int]:
    rows = session.execute(
        text(
            "SELECT device_id FROM rollout_target WHERE rollout_id = :rollout AND released_at IS NOT NULL"
            " AND withdrawn_at IS NULL AND wave IS NOT NULL AND device_id > :after"
            f"{'' if every else ' AND installed_at IS NULL'} ORDER BY device_id LIMIT :limit"
        ),
        {"rollout": rollout_id, "after": after, "limit": limit},
    )
    return [device_id for (device_id,) in rows]


def _withdraw(session: Session, rollout_id: UUID, ids: list[int], *, every: bool) -> list[int]:
    """Take the revision from these tablets, but for those that turn out to have installed it just now."""
    if not every:
        session.execute(
            text(
                "UPDATE rollout_target t SET installed_at = now(), heard_at = now() FROM enrollment e"
                " WHERE t.rollout_id = :rollout AND t.device_id = ANY(CAST(:ids AS bigint[]))"
                " AND e.device_id = t.device_id AND e.desired_manifest = t.manifest"
                " AND e.installed_manifest = t.manifest AND t.installed_at IS NULL"
            ),
            {"rollout": rollout_id, "ids": ids},
        )
    rows = session.execute(
        text(
            "UPDATE rollout_target SET withdrawn_at = now() WHERE rollout_id = :rollout"
            " AND device_id = ANY(CAST(:ids AS bigint[])) AND withdrawn_at IS NULL"
            f"{'' if every else ' AND installed_at IS NULL'} RETURNING device_id"
        ),
        {"rollout": rollout_id, "ids": ids},
    )
    return [device_id for (device_id,) in rows]


def _note_done(session: Session, rollout: Rollout) -> None:
    every = rollout.state == RolloutState.ROLLED_BACK
    assert rollout.id is not None
    if not _next(session, rollout.id, 0, 1, every=every):
        session.execute(text("UPDATE rollout SET fallen_back_at = now() WHERE id = :rollout"), {"rollout": rollout.id})
        session.expire_all()
