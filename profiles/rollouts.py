"""Rollouts: one policy revision to one target in one wave, and how far it has come, always counted and never guessed.

Starting one sets what tablets should hold and makes them due a wake-up; it waits for nothing and sends nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, select

from mdm import clock, jobs
from mdm.audit import chain
from mdm.auth.principal import Principal
from mdm.devices.models import Lane
from mdm.errors import Conflict, Forbidden, Invalid, NotFound
from mdm.jobs import Job
from profiles import places, plans, policies, progress, targets
from profiles.consequences import Severity, harm_done
from profiles.lint import Code
from profiles.models import Layer as LayerColumn
from profiles.models import Policy, PolicyRevision, Rollout, RolloutState
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


def start(
    session: Session,
    principal: Principal,
    *,
    policy: str,
    target: str,
    revision: int | None = None,
    overrides: plans.Overrides = plans.NONE,
) -> ShownRollout:
    """Roll a revision (the latest by default) out to the tablets of its layer that lie in the target and in scope.

    A target that covers the whole layer releases the revision: tablets that come later get it too. A smaller target
    pins it to the tablets of this moment. What had failed on them is tried again.

    Raises NotFound, Invalid (nobody there, or a target not understood), Forbidden (the fleet's policy by an operator
    of some schools who asks for the fleet) and Harmful (a lint stops it that was not overridden, here or when the
    revision was stored; a change of the tablets' line to a whole layer wants a smaller rollout that has landed).
    """
    overrides.checked()
    targets.serialise(session)
    row = policies.find(session, principal.scope, policy)
    number = _revision(session, row, revision)
    layer = places.parse(target)
    at, speaks_for = places.find(session, layer, principal.scope), policies.place_of(session, row)
    if at.layer is LayerColumn.FLEET and speaks_for.layer is LayerColumn.FLEET and not principal.scope.all_schools:
        raise Forbidden("the fleet is for operators of all schools; name a school")
    whole = at.covers(speaks_for)
    device_ids = places.members(session, at, speaks_for, scope=principal.scope)
    if not device_ids and not whole:
        raise Invalid(f"no tablet of {layer} is spoken to by policy `{policy}`")
    advance(session)
    before = targets.groups(session, device_ids)
    rollout_id = _record(session, principal, row, number, target=str(layer), whole=whole)
    _snapshot(session, rollout_id, device_ids)
    found = harm_done(before, targets.groups(session, device_ids), plans.own_host())
    excused = {*overrides.codes, *_excused(session, row, number)}
    plans.refuse_harm(found, excused, at=Severity.ROLLOUT if whole else Severity.STOP)
    changed = targets.retarget(session, device_ids, lane=Lane.BULK) if device_ids else 0
    targets.try_again(session, device_ids, lane=Lane.BULK)
    _remember_manifests(session, rollout_id)
    jobs.ring(session, Job.ADVANCE_ROLLOUTS)
    details: dict[str, object] = {
        "policy": policy,
        "revision": number,
        "target": str(layer),
        "tablets": len(device_ids),
        "changed": changed,
    }
    chain.record(session, principal, "rollout.start", f"rollout:{rollout_id}", details)
    if overrides.codes:
        plans.record_overrides(session, principal, f"rollout:{rollout_id}", overrides)
    return show(session, principal, rollout_id)


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


def _revision(session: Session, policy: Policy, revision: int | None) -> int:
    numbers = select(PolicyRevision.number).where(PolicyRevision.policy_id == policy.id)
    known = session.exec(numbers.order_by(col(PolicyRevision.number).desc())).all()
    if revision is not None and revision not in known:
        raise NotFound(f"policy `{policy.name}` has no revision {revision}")
    return revision if revision is not None else known[0]


def _excused(session: Session, policy: Policy, revision: int) -> set[str]:
    """The stops that were overridden when the revision was stored, and the canary's once it has landed somewhere."""
    row = session.exec(
        select(PolicyRevision).where(PolicyRevision.policy_id == policy.id, PolicyRevision.number == revision)
    ).one()
    codes = {each["code"] for each in row.overrides}
    smaller = select(Rollout.id, Rollout.counts).where(
        Rollout.policy_id == policy.id, Rollout.revision == revision, ~col(Rollout.whole_layer)
    )
    for rollout_id, counts in session.exec(smaller):
        assert rollout_id is not None
        if counts[Stage.INSTALLED] if counts else progress.count(session, rollout_id)[Stage.INSTALLED]:
            codes.add(Code.NO_CANARY)
    return codes


def _record(session: Session, principal: Principal, policy: Policy, revision: int, *, target: str, whole: bool) -> UUID:
    """Insert the rollout, dated by the database's clock as the wake-ups are, and release what goes to a whole layer."""
    row = session.execute(
        text(
            "INSERT INTO rollout (policy_id, revision, target, whole_layer, state, created_by)"
            " VALUES (:policy, :revision, :target, :whole, 'running', :operator) RETURNING id"
        ),
        {
            "policy": policy.id,
            "revision": revision,
            "target": target,
            "whole": whole,
            "operator": principal.id,
        },
    ).one()
    if whole:
        policy.released = revision
        session.add(policy)
        session.flush()
    return UUID(str(row[0]))


def _snapshot(session: Session, rollout_id: UUID, device_ids: list[int]) -> None:
    """Keep who is in, and why a tablet is left out of the numbers. It still gets the policy when it comes back."""
    session.execute(
        text(
            "INSERT INTO rollout_target (rollout_id, device_id, excluded)"
            " SELECT :rollout, d.id, CASE WHEN d.state IN ('lost', 'returned', 'retired') THEN d.state"
            " WHEN e.status <> 'active' THEN 'not enrolled' END"
            " FROM device d JOIN enrollment e ON e.device_id = d.id WHERE d.id = ANY(:ids)"
        ),
        {"rollout": rollout_id, "ids": device_ids},
    )


def _remember_manifests(session: Session, rollout_id: UUID) -> None:
    session.execute(
        text(
            "UPDATE rollout_target t SET manifest = e.desired_manifest FROM enrollment e"
            " WHERE t.rollout_id = :rollout AND e.device_id = t.device_id"
            " AND t.manifest IS DISTINCT FROM e.desired_manifest"
        ),
        {"rollout": rollout_id},
    )


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
