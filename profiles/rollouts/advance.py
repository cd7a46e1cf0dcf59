"""How a rollout comes to its end: by itself when no tablet is under way, or by hand. It sets nothing on tablets."""

from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, select

from mdm import clock
from mdm.audit import chain
from mdm.auth.principal import Principal
from mdm.errors import Conflict, Forbidden
from profiles import progress
from profiles.models import Rollout, RolloutState
from profiles.progress import Stage
from profiles.rollouts.shown import ShownRollout, show


def finish(session: Session, principal: Principal, rollout_id: UUID) -> ShownRollout:
    """End a running rollout by hand: its numbers freeze, its tablets keep what they should hold. Conflict if over."""
    show(session, principal, rollout_id)
    if not principal.scope.all_schools and not _within(session, principal, rollout_id):
        raise Forbidden("this rollout reaches schools that are not yours")
    if not _end(session, rollout_id, RolloutState.FINISHED):
        raise Conflict("this rollout is over")
    chain.record(session, principal, "rollout.finish", f"rollout:{rollout_id}")
    return show(session, principal, rollout_id)


def advance(session: Session) -> int:
    """End every running rollout in which no tablet is under way any more; returns how many ended."""
    ended = 0
    running = session.exec(select(Rollout.id).where(Rollout.state == RolloutState.RUNNING).order_by(col(Rollout.id)))
    for rollout_id in running.all():
        assert rollout_id is not None
        counts = progress.count(session, rollout_id)
        if counts[Stage.PENDING] or counts[Stage.WOKEN]:
            continue
        state = RolloutState.SUPERSEDED if counts[Stage.SUPERSEDED] else RolloutState.FINISHED
        ended += _end(session, rollout_id, state)
    return ended


def _end(session: Session, rollout_id: UUID, state: RolloutState) -> bool:
    """Freeze the numbers; guarded, so that of two at once one does it."""
    counts = {stage.value: number for stage, number in progress.count(session, rollout_id).items()}
    rollout = session.exec(
        select(Rollout).where(Rollout.id == rollout_id, Rollout.state == RolloutState.RUNNING).with_for_update()
    ).first()
    if rollout is None:
        return False
    rollout.state, rollout.ended_at, rollout.counts = state, clock.now(), counts
    session.add(rollout)
    session.flush()
    return True


def _within(session: Session, principal: Principal, rollout_id: UUID) -> bool:
    outside = session.execute(
        text(
            "SELECT 1 FROM rollout_target t JOIN device d ON d.id = t.device_id"
            " WHERE t.rollout_id = :rollout AND d.school_id <> ALL(:schools) LIMIT 1"
        ),
        {"rollout": rollout_id, "schools": sorted(principal.scope.school_ids)},
    )
    return outside.first() is None
