"""Telling tablets of open waves to hold the revision, some hundred in a transaction, and planning their wake-ups.

Killed at any point nothing is lost or doubled: what was told is a row's `released_at`. It sends nothing itself.
"""

from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from mdm.commands import artifacts
from profiles import targets
from profiles.models import RolloutState
from profiles.rollouts import bases, states, wakes

AT_ONCE: Final = 1000
"""Tablets told in one transaction."""


def chunk(session: Session, rollout_id: UUID, *, after: int = 0, limit: int = AT_ONCE) -> list[int]:
    """Tell the next tablets of the open waves, by id from `after` on; returns them, none when there are no more."""
    targets.serialise(session)
    rollout = states.locked(session, rollout_id, RolloutState.RUNNING)
    if rollout is None:
        return []
    ids = _next(session, rollout_id, after, limit)
    if ids:
        artifacts.hold_still(session, ids)
        _tell(session, rollout_id, ids)
        _, changed = targets.recompute(session, ids)
        wakes.plan(session, rollout, sorted({*changed, *_failed_before(session, ids)}))
    if len(ids) < limit:
        _close(session, rollout_id)
        if not _waiting(session, rollout_id):
            bases.give_to_layer(session, rollout)
    return ids


def _next(session: Session, rollout_id: UUID, after: int, limit: int) -> list[int]:
    # Wave by wave along the index: sorting all that are left for each piece would be quadratic.
    rows = session.execute(
        text(
            "SELECT next.device_id FROM rollout_wave w CROSS JOIN LATERAL ("
            " SELECT t.device_id FROM rollout_target t WHERE t.rollout_id = w.rollout_id AND t.wave = w.number"
            " AND t.released_at IS NULL AND t.device_id > :after ORDER BY t.device_id LIMIT :limit) next"
            " WHERE w.rollout_id = :rollout AND w.opened_at IS NOT NULL AND w.released_at IS NULL"
            " ORDER BY next.device_id LIMIT :limit"
        ),
        {"rollout": rollout_id, "after": after, "limit": limit},
    )
    return [device_id for (device_id,) in rows]


def _tell(session: Session, rollout_id: UUID, ids: list[int]) -> None:
    session.execute(
        text(
            "UPDATE rollout_target t SET released_at = now(), former = e.desired_manifest FROM enrollment e"
            " WHERE t.rollout_id = :rollout AND t.device_id = ANY(CAST(:ids AS bigint[]))"
            " AND e.device_id = t.device_id AND t.released_at IS NULL"
        ),
        {"rollout": rollout_id, "ids": ids},
    )


def _failed_before(session: Session, ids: list[int]) -> list[int]:
    """What these tablets refused is handed to them once more: somebody asks for it again. Only who can be woken."""
    forgiven = artifacts.forgive(session, ids)
    rows = session.execute(
        text(
            "SELECT e.device_id FROM enrollment e JOIN device d ON d.id = e.device_id"
            " WHERE e.device_id = ANY(CAST(:ids AS bigint[])) AND e.status = 'active' AND d.state <> 'retired'"
        ),
        {"ids": forgiven},
    )
    return [device_id for (device_id,) in rows]


def _close(session: Session, rollout_id: UUID) -> None:
    """Note which open waves have been told to the last tablet."""
    session.execute(
        text(
            "UPDATE rollout_wave w SET released_at = now() WHERE w.rollout_id = :rollout"
            " AND w.opened_at IS NOT NULL AND w.released_at IS NULL AND NOT EXISTS ("
            " SELECT FROM rollout_target t WHERE t.rollout_id = w.rollout_id AND t.wave = w.number"
            " AND t.released_at IS NULL)"
        ),
        {"rollout": rollout_id},
    )


def _waiting(session: Session, rollout_id: UUID) -> bool:
    """Whether a wave is left that has not been told entirely."""
    left = session.execute(
        text("SELECT 1 FROM rollout_wave WHERE rollout_id = :rollout AND released_at IS NULL LIMIT 1"),
        {"rollout": rollout_id},
    )
    return left.first() is not None
