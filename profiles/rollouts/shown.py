"""What people are shown of rollouts, always counted and never guessed. It changes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, select

from mdm import clock
from mdm.auth.models import Operator
from mdm.auth.principal import SCOPE_SQL, Principal
from mdm.errors import NotFound
from profiles import policies, progress
from profiles.models import Policy, Rollout, RolloutState, RolloutWave
from profiles.progress import Stage
from profiles.rollouts.estimates import Estimate, of_json
from profiles.rollouts.schedules import Schedule
from profiles.rollouts.thresholds import Thresholds

_FELL = (RolloutState.HALTED, RolloutState.ABORTED, RolloutState.ROLLED_BACK)


class WaveState(StrEnum):
    """Where a wave stands."""

    WAITING = "waiting"
    """Not opened yet."""
    OPEN = "open"
    """Its tablets are being told."""
    RELEASED = "released"
    """All of them have been told what to hold; how far they are is in its counts."""


@dataclass(frozen=True, slots=True)
class ShownWave:
    """One wave with its numbers."""

    number: int
    name: str
    state: WaveState
    size: int
    """Tablets that could be reached at the start, of all schools."""
    counts: Mapping[str, int]
    opened_at: datetime | None
    released_at: datetime | None


@dataclass(frozen=True, slots=True)
class Restored:
    """How far tablets have fallen back after a halt, an abort or a roll back."""

    asked: int
    """Tablets from which the revision was taken."""
    answered: int
    """Those of them that have been heard since."""
    restored: int
    """Those that hold again what they should."""


@dataclass(frozen=True, slots=True)
class ShownRollout:
    """One rollout with its numbers."""

    id: UUID
    policy: str
    revision: int
    target: str
    whole_layer: bool
    state: RolloutState
    started_at: datetime
    ended_at: datetime | None
    counts: Mapping[str, int]
    """Tablets by stage (see `progress.Stage`); every stage is present."""
    proofs: Mapping[str, int]
    """Installed tablets by what their own lists prove (see `VerificationStatus`); every status is present."""
    reasons: list[progress.Reason]
    cannot: list[progress.Shortfall]
    """What its tablets cannot do, counted even where everything else is installed."""
    expected_end: datetime | None
    """From the rate so far; None before the first tablet and after the end."""
    waves: list[ShownWave]
    """Only on the rollout's own page; empty in lists."""
    halt: dict[str, Any] | None
    """Why it stopped by itself: code, wave, numbers, and what tablets said."""
    restored: Restored | None
    """After a halt, an abort or a roll back."""
    schedule: Schedule
    thresholds: Thresholds
    estimate: Estimate | None
    """What was expected at the start; only on the rollout's own page, for operators of all schools."""
    reason: str | None
    started_by: str | None
    approved_by: str | None
    approve_until: datetime | None
    """While it is held for a second operator."""


def show(session: Session, principal: Principal, rollout_id: UUID) -> ShownRollout:
    """Return one rollout, its numbers counted over the caller's schools; NotFound."""
    row = session.exec(
        select(Rollout, Policy).join(Policy, col(Policy.id) == col(Rollout.policy_id)).where(Rollout.id == rollout_id)
    ).first()
    if row is None or not policies.visible(session, principal.scope, row[1].name):
        raise NotFound("there is no such rollout")
    return _shown(session, principal, *row, own_page=True)


def overview(
    session: Session, principal: Principal, *, limit: int = 50, before: UUID | None = None
) -> list[ShownRollout]:
    """Return the newest rollouts of policies in scope; `before` continues after the last one seen."""
    names = {shown.name for shown in policies.overview(session, principal)}
    query = select(Rollout, Policy).join(Policy, col(Policy.id) == col(Rollout.policy_id))
    query = query.where(col(Policy.name).in_(sorted(names)))
    if before is not None:
        query = query.where(col(Rollout.id) < before)
    rows = session.exec(query.order_by(col(Rollout.id).desc()).limit(limit)).all()
    return [_shown(session, principal, rollout, policy) for rollout, policy in rows]


def _shown(
    session: Session, principal: Principal, rollout: Rollout, policy: Policy, *, own_page: bool = False
) -> ShownRollout:
    assert rollout.id is not None
    scope = principal.scope
    frozen = rollout.counts if scope.all_schools else None
    by_wave = progress.count_by_wave(session, rollout.id, scope) if own_page or not frozen else {}
    counts = frozen or {stage.value: sum(each[stage] for each in by_wave.values()) for stage in Stage}
    state = RolloutState(rollout.state)
    return ShownRollout(
        rollout.id,
        policy.name,
        rollout.revision,
        rollout.target,
        rollout.whole_layer,
        state,
        rollout.created_at,
        rollout.ended_at,
        counts,
        {status.value: n for status, n in progress.proofs(session, rollout.id, scope).items()},
        progress.reasons(session, rollout.id, scope),
        progress.cannot(session, rollout.id, scope),
        None if rollout.ended_at else _expected_end(rollout.created_at, counts),
        waves=_waves(session, rollout.id, by_wave) if own_page else [],
        halt=rollout.halt,
        restored=_restored(session, principal, rollout.id) if state in _FELL else None,
        schedule=Schedule.model_validate(rollout.schedule),
        thresholds=Thresholds.model_validate(rollout.thresholds),
        estimate=of_json(rollout.estimate) if own_page and scope.all_schools and rollout.estimate else None,
        reason=rollout.reason,
        started_by=_name(session, rollout.created_by),
        approved_by=_name(session, rollout.approved_by),
        approve_until=rollout.expires_at if state is RolloutState.HELD else None,
    )


def _waves(session: Session, rollout_id: UUID, by_wave: Mapping[int | None, Mapping[Stage, int]]) -> list[ShownWave]:
    statement = select(RolloutWave).where(RolloutWave.rollout_id == rollout_id).order_by(col(RolloutWave.number))
    found = session.exec(statement.execution_options(populate_existing=True))
    nobody = dict.fromkeys(Stage, 0)
    return [
        ShownWave(
            row.number,
            row.name,
            WaveState.RELEASED if row.released_at else WaveState.OPEN if row.opened_at else WaveState.WAITING,
            row.size,
            {stage.value: number for stage, number in by_wave.get(row.number, nobody).items()},
            row.opened_at,
            row.released_at,
        )
        for row in found
    ]


def _restored(session: Session, principal: Principal, rollout_id: UUID) -> Restored:
    row = session.execute(
        text(
            "SELECT count(*), count(*) FILTER (WHERE e.last_seen_at > t.withdrawn_at),"
            " count(*) FILTER (WHERE e.desired_manifest IS NOT DISTINCT FROM e.installed_manifest)"
            " FROM rollout_target t JOIN device d ON d.id = t.device_id JOIN enrollment e ON e.device_id = d.id"
            " WHERE t.rollout_id = :rollout AND t.withdrawn_at IS NOT NULL AND t.excluded IS NULL"
            f" AND {SCOPE_SQL.format(column='d.school_id')}"
        ),
        {"rollout": rollout_id, "schools": principal.scope.parameter},
    ).one()
    return Restored(*(int(number) for number in row))


def _name(session: Session, operator_id: int | None) -> str | None:
    return None if operator_id is None else session.get_one(Operator, operator_id).name


def _expected_end(started_at: datetime, counts: Mapping[str, int]) -> datetime | None:
    """Where the rate since the start leads; the last tablets of a real fleet take longer, because they are off."""
    done = counts[Stage.INSTALLED] + counts[Stage.FAILED]
    left = counts[Stage.PENDING] + counts[Stage.WOKEN]
    if not done or not left:
        return None
    now = clock.now()
    return now + timedelta(seconds=(now - started_at).total_seconds() / done * left)
