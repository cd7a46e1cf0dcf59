"""What moves a rollout without anybody: the next tablets, the next wave, a halt, the end.

The worker calls it again and again; each call reads what is due from the rows, so it may come twice, late, or die.
"""

from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, select

from mdm import jobs
from mdm.audit import chain
from mdm.jobs import Job
from profiles import progress
from profiles.models import Rollout, RolloutState, RolloutWave
from profiles.progress import Stage
from profiles.rollouts import bases, falling, release, settling, states, thresholds, wakes
from profiles.rollouts.thresholds import Consequence, Halt, Thresholds
from profiles.rollouts.waves import WaveKind

_ACTOR = "job:rollouts"
_MOVES = 200
"""Pieces of wake-ups moved in one look; rows that somebody else holds wait for the next."""


def advance(session: Session) -> int:
    """Tell whom is to be told, and look once at every rollout under way; returns how many ended.

    All in one transaction, for a handful of tablets; the worker takes it piece by piece (`step`, `under_way`, `look`).
    """
    step = Step()
    while step.take(session):
        pass
    return sum(look(session, rollout_id) for rollout_id in under_way(session))


def under_way(session: Session) -> list[UUID]:
    """Return the rollouts that something may have to be noted or decided about, the oldest first."""
    for rollout_id in states.expire(session):
        chain.record(session, _ACTOR, "rollout.expire", f"rollout:{rollout_id}")
    statement = select(Rollout.id).where(col(Rollout.state).in_(states.UNDER_WAY)).order_by(col(Rollout.id))
    return [rollout_id for rollout_id in session.exec(statement) if rollout_id is not None]


class Step:
    """Telling and taking back, some hundred tablets a call. It only remembers where it was; forgetting costs a look."""

    def __init__(self) -> None:
        self._after: dict[UUID, int] = {}
        self._given_up: set[UUID] = set()
        self.at: UUID | None = None
        """The rollout whose piece is being done, or was the last."""

    def give_up(self) -> None:
        """Leave out, from now on, the rollout whose piece failed: the others go on."""
        if self.at is not None:
            self._given_up.add(self.at)

    def take(self, session: Session) -> int:
        """Do the next piece of the first rollout that has one; returns how many tablets it was, 0 when all is done."""
        self.at = None
        for rollout_id, falls in _with_work(session):
            if rollout_id in self._given_up:
                continue
            self.at = rollout_id
            act = falling.chunk if falls else release.chunk
            done = act(session, rollout_id, after=self._after.get(rollout_id, 0))
            self._after[rollout_id] = done[-1] if len(done) >= release.AT_ONCE else 0
            if done:
                return len(done)
        return 0


def look(session: Session, rollout_id: UUID) -> bool:
    """Note what tablets of a rollout have reported, and decide: stop, open the next wave, or end. Says if it ended."""
    rollout, limits = _noted(session, rollout_id)
    if rollout is not None and rollout.state == RolloutState.RUNNING:
        for _ in range(_MOVES):
            if wakes.move(session, rollout) < wakes.AT_ONCE:
                break
        if _ended(session, rollout, limits):
            return True
        _decide(session, rollout, limits)
    return False


def settle_up(session: Session, rollout_id: UUID) -> bool:
    """Note what tablets have reported, and end the rollout if it is through; nothing else. Says if it ended."""
    rollout, limits = _noted(session, rollout_id)
    return rollout is not None and rollout.state == RolloutState.RUNNING and _ended(session, rollout, limits)


def _noted(session: Session, rollout_id: UUID) -> tuple[Rollout | None, Thresholds]:
    rollout = states.locked(session, rollout_id, *states.UNDER_WAY)
    limits = Thresholds.model_validate(rollout.thresholds if rollout is not None else {})
    if rollout is not None:
        settling.note(session, rollout_id, limits)
    return rollout, limits


def _with_work(session: Session) -> list[tuple[UUID, bool]]:
    """The rollouts that have tablets to tell, and those whose tablets fall back (first: something is wrong there)."""
    rows = session.execute(
        text(
            "SELECT id, true FROM rollout WHERE state IN ('halted', 'aborted', 'rolled_back')"
            " AND fallen_back_at IS NULL UNION ALL"
            " SELECT r.id, false FROM rollout r WHERE r.state = 'running' AND EXISTS ("
            " SELECT FROM rollout_wave w WHERE w.rollout_id = r.id AND w.opened_at IS NOT NULL"
            " AND w.released_at IS NULL) ORDER BY 2 DESC, 1"
        )
    )
    return [(UUID(str(rollout_id)), falls) for rollout_id, falls in rows]


def _ended(session: Session, rollout: Rollout, limits: Thresholds) -> bool:
    """End it if a later one has taken its layer over, or if all its tablets are told, settled and proved."""
    assert rollout.id is not None
    if bases.is_overtaken(session, rollout):
        wakes.unbind(session, rollout.id)
        return states.end(session, rollout.id, RolloutState.SUPERSEDED)
    if any(wave.released_at is None for wave in _waves(session, rollout.id)):
        return False
    numbers = settling.numbers(session, rollout.id)
    every = thresholds.together(numbers)
    if thresholds.judge(numbers, limits) or every.settled < every.released or (limits.proof and every.unproved):
        return False
    counts = progress.count(session, rollout.id)
    ending = RolloutState.SUPERSEDED if counts[Stage.SUPERSEDED] else RolloutState.FINISHED
    return states.end(session, rollout.id, ending)


def _decide(session: Session, rollout: Rollout, limits: Thresholds) -> None:
    """Stop it at its thresholds, or open its next wave."""
    assert rollout.id is not None
    numbers = settling.numbers(session, rollout.id)
    if stop := thresholds.judge(numbers, limits):
        _halt(session, rollout, stop)
        return
    waves = _waves(session, rollout.id)
    newest = max((wave.number for wave in waves if wave.opened_at is not None), default=0)
    if newest == len(waves) or rollout.waves.get("kind") == WaveKind.BY_HAND:
        return
    latest = next((each for each in numbers if each.wave == newest), thresholds.Numbers(newest, 0, 0, 0, 0, 0, 0))
    released_for_s = _released_for(session, rollout.id, newest)
    if thresholds.may_open_next(latest, limits, released_for_s=released_for_s):
        states.open_wave(session, rollout.id, newest + 1)
        jobs.ring(session, Job.ADVANCE_ROLLOUTS)


def _halt(session: Session, rollout: Rollout, why: Halt) -> None:
    """Stop, and go back where the rollout's own rule says so; the tablets follow some hundred at a time."""
    assert rollout.id is not None
    reasons = [
        {"reason": each.reason, "tablets": each.tablets}
        for each in progress.reasons(session, rollout.id)
        if each.stage is Stage.FAILED
    ]
    wakes.withdraw(session, rollout.id)
    if not states.halt(session, rollout.id, why, reasons[:5]):
        return
    goes_back = why.consequence is Consequence.ROLL_BACK and states.roll_back(session, rollout.id)
    bases.refresh(session, rollout)
    jobs.ring(session, Job.ADVANCE_ROLLOUTS)
    # On record last: whoever writes there waits for this commit, and must hold nothing that this still wants.
    details = {"code": why.code.value, "wave": why.wave, "counted": why.counted, "of": why.of}
    chain.record(session, _ACTOR, "rollout.halt", f"rollout:{rollout.id}", details)
    if goes_back:
        chain.record(session, _ACTOR, "rollout.roll_back", f"rollout:{rollout.id}", {"because": why.code.value})


def _waves(session: Session, rollout_id: UUID) -> list[RolloutWave]:
    statement = select(RolloutWave).where(RolloutWave.rollout_id == rollout_id).order_by(col(RolloutWave.number))
    return list(session.exec(statement.execution_options(populate_existing=True)))


def _released_for(session: Session, rollout_id: UUID, number: int) -> float | None:
    row = session.execute(
        text(
            "SELECT extract(epoch FROM now() - released_at)::float8 FROM rollout_wave"
            " WHERE rollout_id = :rollout AND number = :number"
        ),
        {"rollout": rollout_id, "number": number},
    ).first()
    return None if row is None else row[0]
