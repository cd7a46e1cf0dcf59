"""Starting a rollout: its snapshot, what it would do and cost, and its first wave.

It sends nothing and waits for nothing. A handful of tablets is told in the same transaction; more by the worker.
"""

from sqlalchemy import text
from sqlmodel import Session, col, select

from mdm import clock, jobs
from mdm.audit import chain
from mdm.auth.principal import Principal
from mdm.jobs import Job
from profiles import plans, policies, targets
from profiles.consequences import Severity
from profiles.models import Rollout, RolloutState
from profiles.rollouts import judging, release, shown, states
from profiles.rollouts.advance import settle_up
from profiles.rollouts.estimates import Estimate
from profiles.rollouts.prepare import PLAIN, Asked, Options, Prepared, prepare
from profiles.rollouts.shown import ShownRollout
from profiles.rollouts.waves import WaveKind


def start(
    session: Session,
    principal: Principal,
    *,
    policy: str,
    target: str,
    revision: int | None = None,
    overrides: plans.Overrides = plans.NONE,
    options: Options = PLAIN,
) -> ShownRollout:
    """Roll a revision (the latest by default) out to the tablets of its layer that lie in the target and in scope.

    A target that covers the whole layer gives the revision to the layer with its last wave: tablets that come later
    get it too. A smaller target pins it to the tablets of this moment. What had failed on them is tried again. One
    that costs more than the gate lets through is held for a second operator.

    Raises NotFound, Invalid (nobody there, or something not understood), Forbidden (the fleet's policy by an operator
    of some schools who asks for the fleet) and Harmful (a lint stops it that was not overridden, here or when the
    revision was stored; a change of the tablets' line to a whole layer wants a smaller wave first).
    """
    overrides.checked()
    targets.serialise(session)
    _settle_others(session, principal, policy)
    made = prepare(session, principal, Asked(policy, target, revision, options))
    at = Severity.ROLLOUT if made.rollout.whole_layer and len(made.waves) == 1 else Severity.STOP
    plans.refuse_harm(made.judged.harms, {*overrides.codes, *judging.excused(session, made.rollout)}, at=at)
    if made.estimate.needs_approval:
        made.rollout.expires_at = clock.now() + states.APPROVAL
    else:
        made.rollout.state = RolloutState.RUNNING
    session.add(made.rollout)
    session.flush()
    if not made.estimate.needs_approval:
        begin(session, made.rollout)
    _record(session, principal, policy, made)
    if overrides.codes:
        plans.record_overrides(session, principal, f"rollout:{made.rollout_id}", overrides)
    return shown.show(session, principal, made.rollout_id)


def estimate(
    session: Session,
    principal: Principal,
    *,
    policy: str,
    target: str,
    revision: int | None = None,
    options: Options = PLAIN,
) -> Estimate:
    """Say whom a rollout would reach, in which waves, and at what cost; nothing of it stays. Raises as `start`."""
    targets.serialise(session)
    with session.begin_nested() as trial:
        made = prepare(session, principal, Asked(policy, target, revision, options))
        trial.rollback()
    return made.estimate


def begin(session: Session, rollout: Rollout) -> None:
    """Open the first wave, unless each waits for a hand; a handful of tablets is told at once."""
    assert rollout.id is not None
    if rollout.waves.get("kind") != WaveKind.BY_HAND:
        states.open_wave(session, rollout.id, 1)
    tell(session, rollout)


def tell(session: Session, rollout: Rollout) -> None:
    """Have the tablets of open waves told: here if they are a handful, else by the worker."""
    assert rollout.id is not None
    size = session.execute(
        text("SELECT count(*) FROM rollout_target WHERE rollout_id = :rollout AND wave IS NOT NULL"),
        {"rollout": rollout.id},
    ).scalar_one()
    if size < targets.BULK_FROM:
        release.chunk(session, rollout.id, limit=targets.BULK_FROM)
    jobs.ring(session, Job.ADVANCE_ROLLOUTS)


def _settle_others(session: Session, principal: Principal, policy: str) -> None:
    """Let earlier rollouts of the policy end that are through, before this one takes their tablets over."""
    row = policies.find(session, principal.scope, policy)
    running = select(Rollout.id).where(Rollout.policy_id == row.id, Rollout.state == RolloutState.RUNNING)
    for rollout_id in session.exec(running.order_by(col(Rollout.id))).all():
        assert rollout_id is not None
        settle_up(session, rollout_id)


def _record(session: Session, principal: Principal, policy: str, made: Prepared) -> None:
    details: dict[str, object] = {
        "policy": policy,
        "revision": made.rollout.revision,
        "target": made.rollout.target,
        "tablets": made.judged.tablets,
        "changed": made.judged.changed,
    }
    if len(made.waves) > 1:
        details["waves"] = len(made.waves)
    if made.left_out:
        details["left_out"] = made.left_out
    if made.estimate.needs_approval:
        details["held"] = True
    chain.record(session, principal, "rollout.start", f"rollout:{made.rollout_id}", details)
