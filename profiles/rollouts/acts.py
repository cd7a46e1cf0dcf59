"""What operators do with a rollout that exists: pause, resume, abort, roll back, end, release a wave, approve.

Each is on record and needs every school that the rollout reaches. Asked for twice, it changes nothing the second time.
"""

from collections.abc import Callable
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, select

from mdm import clock, jobs
from mdm.audit import chain
from mdm.auth import Action, Principal
from mdm.auth.models import Operator
from mdm.errors import Conflict, Forbidden, Invalid, NotFound
from mdm.jobs import Job
from mdm.safeguards.approvals import SelfApproval, SubjectChanged
from profiles import targets
from profiles.models import Rollout, RolloutState, RolloutWave
from profiles.progress import Stage
from profiles.rollouts import bases, snapshot, start, states, wakes
from profiles.rollouts.shown import ShownRollout, show


def pause(session: Session, principal: Principal, rollout_id: UUID, *, reason: str) -> ShownRollout:
    """Tell nobody further, and take back what was not sent. A tablet that asks by itself gets what it should hold."""
    row = _mine(session, principal, rollout_id, reason)
    if row.state == RolloutState.PAUSED:
        return show(session, principal, rollout_id)
    _must(states.pause(session, rollout_id), row, "only a running rollout can be paused")
    withdrawn = wakes.withdraw(session, rollout_id)
    return _done(session, principal, rollout_id, "rollout.pause", reason, withdrawn=withdrawn)


def resume(session: Session, principal: Principal, rollout_id: UUID, *, reason: str) -> ShownRollout:
    """Go on where it was paused; who was not woken is planned anew."""
    row = _mine(session, principal, rollout_id, reason)
    if row.state == RolloutState.RUNNING:
        return show(session, principal, rollout_id)
    if row.state == RolloutState.HALTED:
        raise Conflict("a halted rollout does not go on: start another, with other thresholds if these are wrong")
    _must(states.resume(session, rollout_id), row, "only a paused rollout can be resumed")
    jobs.ring(session, Job.ADVANCE_ROLLOUTS)
    return _done(session, principal, rollout_id, "rollout.resume", reason)


def abort(session: Session, principal: Principal, rollout_id: UUID, *, reason: str) -> ShownRollout:
    """Stop for good: tablets that have not installed it fall back, the others keep it. A held one is thus declined."""
    return _stop(session, principal, rollout_id, reason, RolloutState.ABORTED)


def roll_back(session: Session, principal: Principal, rollout_id: UUID, *, reason: str) -> ShownRollout:
    """Take the revision away from all its tablets: each goes back to what speaks to it without this rollout."""
    return _stop(session, principal, rollout_id, reason, RolloutState.ROLLED_BACK)


def finish(session: Session, principal: Principal, rollout_id: UUID) -> ShownRollout:
    """End a rollout by hand: its numbers freeze, its tablets keep what they should hold. Conflict if over."""
    row = _mine(session, principal, rollout_id)
    waiting = session.exec(
        select(RolloutWave.number).where(RolloutWave.rollout_id == rollout_id, RolloutWave.released_at == None)  # noqa: E711 - SQL
    ).first()
    if waiting is not None and row.state in states.UNDER_WAY:
        raise Conflict(f"wave {waiting} has not been told yet: release it, or abort the rollout")
    if not states.end(session, rollout_id, RolloutState.FINISHED):
        raise Conflict("this rollout is over" if row.state in states.OVER else f"this rollout is {row.state}")
    wakes.unbind(session, rollout_id)
    return _done(session, principal, rollout_id, "rollout.finish", None)


def release_wave(session: Session, principal: Principal, rollout_id: UUID, number: int) -> ShownRollout:
    """Open a wave by hand, before its time or because its rollout waits for hands. The waves before it come first."""
    row = _mine(session, principal, rollout_id)
    wave = session.exec(
        select(RolloutWave).where(RolloutWave.rollout_id == rollout_id, RolloutWave.number == number)
    ).first()
    if wave is None:
        raise NotFound(f"this rollout has no wave {number}")
    if wave.opened_at is not None:
        return show(session, principal, rollout_id)
    if row.state != RolloutState.RUNNING:
        raise Conflict(f"this rollout is {RolloutState(row.state).value}; waves open while it is running")
    if not states.open_wave(session, rollout_id, number):
        raise Conflict(f"the waves before wave {number} come first")
    start.tell(session, row)
    return _done(session, principal, rollout_id, "rollout.release", None, wave=number)


def approve(session: Session, principal: Principal, rollout_id: UUID) -> ShownRollout:
    """Let a held rollout run, as a second operator. What runs is the snapshot that was held, nothing else.

    Raises Forbidden (a token, not an administrator of all its schools), SelfApproval, SubjectChanged and Conflict (not
    held, run out, its starter disabled since).
    """
    principal.must(Action.APPROVE_ROLLOUT)
    row = _mine(session, principal, rollout_id)
    if row.created_by == principal.id:
        raise SelfApproval("a second operator must approve; you started this yourself")
    if row.state != RolloutState.HELD:
        raise Conflict("this rollout is not waiting for approval")
    if row.expires_at is None or row.expires_at <= clock.now():
        raise Conflict("nobody approved this rollout in time; start it again")
    starter = session.get_one(Operator, row.created_by)
    if starter.disabled_at is not None:
        raise Conflict("whoever started this may no longer sign in; let somebody else start it again")
    if snapshot.digest(session, rollout_id) != row.digest:
        raise SubjectChanged("what was held has changed since; abort it and start again")
    _must(states.approve(session, rollout_id, principal.id), row, "this rollout is not waiting for approval")
    start.begin(session, session.get_one(Rollout, rollout_id))
    return _done(session, principal, rollout_id, "rollout.approve", None, digest=(row.digest or b"").hex())


def _stop(session: Session, principal: Principal, rollout_id: UUID, reason: str, state: RolloutState) -> ShownRollout:
    row = _mine(session, principal, rollout_id, reason)
    if row.state == state:
        return show(session, principal, rollout_id)
    was = RolloutState(row.state)
    turns: dict[RolloutState, tuple[Callable[[Session, UUID], bool], str]] = {
        RolloutState.ABORTED: (states.abort, "it can be rolled back, not aborted"),
        RolloutState.ROLLED_BACK: (states.roll_back, "there is nothing to roll back"),
    }
    turn, otherwise = turns[state]
    wakes.withdraw(session, rollout_id)
    _must(turn(session, rollout_id), row, otherwise)
    bases.refresh(session, session.get_one(Rollout, rollout_id))
    jobs.ring(session, Job.ADVANCE_ROLLOUTS)
    action = "rollout.abort" if state is RolloutState.ABORTED else "rollout.roll_back"
    return _done(session, principal, rollout_id, action, reason, was=was.value)


def _mine(session: Session, principal: Principal, rollout_id: UUID, reason: str | None = None) -> Rollout:
    """Lock a rollout all of whose tablets are in scope; with a reason where one is asked for."""
    if reason is not None and not reason.strip():
        raise Invalid("this needs a reason", errors=[{"pointer": "/reason", "detail": "say why; it is kept"}])
    principal.must(Action.RUN_ROLLOUTS)
    show(session, principal, rollout_id)
    if not principal.scope.all_schools and not _within(session, principal, rollout_id):
        raise Forbidden("this rollout reaches schools that are not yours")
    targets.serialise(session)
    row = states.locked(session, rollout_id)
    assert row is not None
    return row


def _must(turned: bool, row: Rollout, otherwise: str) -> None:
    if not turned:
        raise Conflict(f"this rollout is {RolloutState(row.state).value}: {otherwise}")


def _done(
    session: Session, principal: Principal, rollout_id: UUID, action: str, reason: str | None, **details: object
) -> ShownRollout:
    """Put the act on record, the reason with the rollout: people write names into it, and the trail is for ever."""
    if reason is not None:
        session.execute(
            text("UPDATE rollout SET reason = :reason WHERE id = :rollout"),
            {"reason": reason.strip()[:400], "rollout": rollout_id},
        )
        session.expire_all()
    found = show(session, principal, rollout_id)
    counts = {"installed": found.counts[Stage.INSTALLED], "failed": found.counts[Stage.FAILED]}
    chain.record(session, principal, action, f"rollout:{rollout_id}", {**details, **counts})
    return found


def _within(session: Session, principal: Principal, rollout_id: UUID) -> bool:
    outside = session.execute(
        text(
            "SELECT 1 FROM rollout_target t JOIN device d ON d.id = t.device_id"
            " WHERE t.rollout_id = :rollout AND d.school_id <> ALL(:schools) LIMIT 1"
        ),
        {"rollout": rollout_id, "schools": sorted(principal.scope.school_ids)},
    )
    return outside.first() is None
