"""Starting a rollout: one policy revision to one target in one wave.

It sets what tablets should hold and makes them due a wake-up; it waits for nothing and sends nothing.
"""

from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, select

from mdm import jobs
from mdm.audit import chain
from mdm.auth.principal import Principal
from mdm.devices.models import Lane
from mdm.errors import Forbidden, Invalid, NotFound
from mdm.jobs import Job
from profiles import places, plans, policies, progress, targets
from profiles.consequences import Severity, harm_done
from profiles.lint import Code
from profiles.models import Layer as LayerColumn
from profiles.models import Policy, PolicyRevision, Rollout
from profiles.progress import Stage
from profiles.rollouts.advance import advance
from profiles.rollouts.shown import ShownRollout, show


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
