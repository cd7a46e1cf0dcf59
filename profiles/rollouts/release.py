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
    """Tell the next tablets of the open waves, by id from `after` on; returns them, none when there are no more.

    Less than `limit` means that a wave came to its end: the next begins with its lowest id.
    """
    targets.serialise(session)
    rollout = states.locked(session, rollout_id, RolloutState.RUNNING)
    if rollout is None:
        return []
    ids: list[int] = []
    while not ids and (wave := _open_wave(session, rollout_id)) is not None:
        ids, after = _next(session, rollout_id, wave, after, limit), 0
        if ids:
            artifacts.hold_still(session, ids)
            _tell(session, rollout_id, ids)
            _, changed = targets.recompute(session, ids)
            wakes.plan(session, rollout, sorted({*changed, *_failed_before(session, ids)}))
        if len(ids) < limit and not _close(session, rollout_id, wave):
            break  # somebody began in the middle: the next call begins at the beginning
    if len(ids) < limit and not _waiting(session, rollout_id):
        bases.give_to_layer(session, rollout)
    return ids


def _open_wave(session: Session, rollout_id: UUID) -> int | None:
    """The first wave that is being told."""
    row = session.execute(
        text(
            "SELECT number FROM rollout_wave WHERE rollout_id = :rollout AND opened_at IS NOT NULL"
            " AND released_at IS NULL ORDER BY number LIMIT 1"
        ),
        {"rollout": rollout_id},
    ).first()
    return None if row is None else int(row[0])


def _next(session: Session, rollout_id: UUID, wave: int, after: int, limit: int) -> list[int]:
    """By one wave and in the order of its index, so that a large fleet costs no more for each."""
    rows = session.execute(
        text(
            "SELECT device_id FROM rollout_target WHERE rollout_id = :rollout AND wave = :wave"
            " AND released_at IS NULL AND device_id > :after ORDER BY wave, device_id LIMIT :limit"
        ),
        {"rollout": rollout_id, "wave": wave, "after": after, "limit": limit},
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


def _close(session: Session, rollout_id: UUID, wave: int) -> bool:
    """Note that a wave has been told to the last tablet; False if one is left."""
    closed = session.execute(
        text(
            "UPDATE rollout_wave w SET released_at = now() WHERE w.rollout_id = :rollout AND w.number = :wave"
            " AND NOT EXISTS (SELECT FROM rollout_target t WHERE t.rollout_id = :rollout AND t.wave = :wave"
            " AND t.released_at IS NULL) RETURNING 1"
        ),
        {"rollout": rollout_id, "wave": wave},
    )
    return closed.first() is not None


def _waiting(session: Session, rollout_id: UUID) -> bool:
    """Whether a wave is left that has not been told entirely."""
    left = session.execute(
        text("SELECT 1 FROM rollout_wave WHERE rollout_id = :rollout AND released_at IS NULL LIMIT 1"),
        {"rollout": rollout_id},
    )
    return left.first() is not None
