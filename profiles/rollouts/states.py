"""The states of a rollout: one function for each change, guarded where it writes, so that of two at once one does it.

It changes rows of rollouts and nothing else; what tablets should hold follows in `release` and `falling`.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, select

from profiles import progress
from profiles.models import Rollout, RolloutState
from profiles.rollouts.thresholds import Halt

APPROVAL: Final = timedelta(hours=24)
"""How long a held rollout waits for a second operator."""
UNDER_WAY: Final = (RolloutState.RUNNING, RolloutState.PAUSED)
OVER: Final = (
    RolloutState.FINISHED,
    RolloutState.SUPERSEDED,
    RolloutState.ABORTED,
    RolloutState.ROLLED_BACK,
    RolloutState.EXPIRED,
)


def locked(session: Session, rollout_id: UUID, *states: RolloutState) -> Rollout | None:
    """Lock a rollout's row if it is in one of these states (none named: in any); None otherwise."""
    statement = select(Rollout).where(Rollout.id == rollout_id).with_for_update(key_share=True)
    row = session.exec(statement.execution_options(populate_existing=True)).first()
    return row if row is not None and (not states or row.state in states) else None


def approve(session: Session, rollout_id: UUID, operator_id: int) -> bool:
    """A second operator agreed in time."""
    return _turn(
        session,
        rollout_id,
        (RolloutState.HELD,),
        RolloutState.RUNNING,
        setting="approved_by = :operator, approved_at = now()",
        guard="expires_at > now()",
        operator=operator_id,
    )


def expire(session: Session) -> list[UUID]:
    """End the held rollouts that nobody approved in time; returns them."""
    rows = session.execute(
        text(
            "UPDATE rollout SET state = 'expired', ended_at = now() WHERE state = 'held' AND expires_at <= now()"
            " RETURNING id"
        )
    )
    return [UUID(str(each)) for (each,) in rows]


def pause(session: Session, rollout_id: UUID) -> bool:
    """Nobody further is woken or told anything."""
    return _turn(session, rollout_id, (RolloutState.RUNNING,), RolloutState.PAUSED)


def resume(session: Session, rollout_id: UUID) -> bool:
    """It goes on where it was paused."""
    return _turn(session, rollout_id, (RolloutState.PAUSED,), RolloutState.RUNNING)


def halt(session: Session, rollout_id: UUID, why: Halt, reasons: Sequence[Mapping[str, Any]]) -> bool:
    """It stops by itself; its numbers freeze, with what tablets said."""
    told = {
        "code": why.code.value,
        "wave": why.wave,
        "counted": why.counted,
        "of": why.of,
        "threshold": why.threshold,
        "consequence": why.consequence.value,
        "detail": why.sentence,
        "reasons": [dict(each) for each in reasons],
    }
    return _turn(
        session,
        rollout_id,
        (RolloutState.RUNNING,),
        RolloutState.HALTED,
        setting="halt = CAST(:halt AS jsonb), counts = coalesce(counts, CAST(:counts AS jsonb)), fallen_back_at = NULL",
        halt=json.dumps(told),
        counts=_counted(session, rollout_id),
    )


def abort(session: Session, rollout_id: UUID) -> bool:
    """Somebody stops it; its numbers freeze. A held one has changed nothing that could fall back."""
    return _turn(
        session,
        rollout_id,
        (RolloutState.HELD, *UNDER_WAY, RolloutState.HALTED),
        RolloutState.ABORTED,
        setting="ended_at = now(), counts = coalesce(counts, CAST(:counts AS jsonb))",
        counts=_counted(session, rollout_id),
    )


def roll_back(session: Session, rollout_id: UUID) -> bool:
    """All its tablets go back; it may have ended long ago."""
    ended = (RolloutState.FINISHED, RolloutState.SUPERSEDED, RolloutState.ABORTED)
    return _turn(
        session,
        rollout_id,
        (*UNDER_WAY, RolloutState.HALTED, *ended),
        RolloutState.ROLLED_BACK,
        setting="ended_at = coalesce(ended_at, now()), fallen_back_at = NULL,"
        " counts = coalesce(counts, CAST(:counts AS jsonb))",
        counts=_counted(session, rollout_id),
    )


def end(session: Session, rollout_id: UUID, state: RolloutState) -> bool:
    """It has come to its end, or somebody calls it that; its numbers freeze."""
    assert state in (RolloutState.FINISHED, RolloutState.SUPERSEDED)
    return _turn(
        session,
        rollout_id,
        UNDER_WAY,
        state,
        setting="ended_at = now(), counts = CAST(:counts AS jsonb)",
        counts=_counted(session, rollout_id),
    )


def open_wave(session: Session, rollout_id: UUID, number: int) -> bool:
    """Let a wave be told, if those before it are open; False when it is open already."""
    opened = session.execute(
        text(
            "UPDATE rollout_wave w SET opened_at = now() WHERE w.rollout_id = :rollout AND w.number = :number"
            " AND w.opened_at IS NULL AND NOT EXISTS (SELECT FROM rollout_wave e WHERE e.rollout_id = w.rollout_id"
            " AND e.number < w.number AND e.opened_at IS NULL) RETURNING 1"
        ),
        {"rollout": rollout_id, "number": number},
    )
    return opened.first() is not None


def _turn(
    session: Session,
    rollout_id: UUID,
    since: Sequence[RolloutState],
    state: RolloutState,
    *,
    setting: str = "",
    guard: str = "true",
    **values: object,
) -> bool:
    session.flush()
    assignments = f"state = :state, {setting}" if setting else "state = :state"
    turned = session.execute(
        text(
            f"UPDATE rollout SET {assignments} WHERE id = :rollout AND state = ANY(CAST(:since AS text[]))"
            f" AND {guard} RETURNING 1"
        ),
        {"rollout": rollout_id, "state": state.value, "since": [each.value for each in since], **values},
    ).first()
    session.expire_all()
    return turned is not None


def _counted(session: Session, rollout_id: UUID) -> str:
    return json.dumps({stage.value: number for stage, number in progress.count(session, rollout_id).items()})
