"""What people are shown of rollouts, always counted and never guessed. It changes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlmodel import Session, col, select

from mdm import clock
from mdm.auth.principal import Principal
from mdm.errors import NotFound
from profiles import policies, progress
from profiles.models import Policy, Rollout, RolloutState
from profiles.progress import Stage


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


def show(session: Session, principal: Principal, rollout_id: UUID) -> ShownRollout:
    """Return one rollout, its numbers counted over the caller's schools; NotFound."""
    row = session.exec(
        select(Rollout, Policy).join(Policy, col(Policy.id) == col(Rollout.policy_id)).where(Rollout.id == rollout_id)
    ).first()
    if row is None:
        raise NotFound("there is no such rollout")
    policies.find(session, principal.scope, row[1].name)
    return _shown(session, principal, *row)


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


def _shown(session: Session, principal: Principal, rollout: Rollout, policy: Policy) -> ShownRollout:
    assert rollout.id is not None
    frozen = rollout.counts if principal.scope.all_schools else None
    counts = frozen or {
        stage.value: number for stage, number in progress.count(session, rollout.id, principal.scope).items()
    }
    return ShownRollout(
        rollout.id,
        policy.name,
        rollout.revision,
        rollout.target,
        rollout.whole_layer,
        RolloutState(rollout.state),
        rollout.created_at,
        rollout.ended_at,
        counts,
        {status.value: n for status, n in progress.proofs(session, rollout.id, principal.scope).items()},
        progress.reasons(session, rollout.id, principal.scope),
        progress.cannot(session, rollout.id, principal.scope),
        None if rollout.ended_at else _expected_end(rollout.created_at, counts),
    )


def _expected_end(started_at: datetime, counts: Mapping[str, int]) -> datetime | None:
    """Where the rate since the start leads; the last tablets of a real fleet take longer, because they are off."""
    done = counts[Stage.INSTALLED] + counts[Stage.FAILED]
    left = counts[Stage.PENDING] + counts[Stage.WOKEN]
    if not done or not left:
        return None
    now = clock.now()
    return now + timedelta(seconds=(now - started_at).total_seconds() / done * left)
