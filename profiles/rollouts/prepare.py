"""Everything a rollout is before it tells anybody: its row, its snapshot, what it would do and cost.

`start` lets it run, an estimate throws it away again: both come from the same work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, col, select

from mdm import clock
from mdm.auth.principal import Principal
from mdm.errors import Forbidden, Invalid, NotFound
from profiles import places, policies
from profiles.models import Layer as LayerColumn
from profiles.models import Policy, PolicyRevision, Rollout, RolloutState
from profiles.rollouts import estimates, judging, rings, snapshot, wakes, waves
from profiles.rollouts.estimates import Estimate
from profiles.rollouts.judging import Judged
from profiles.rollouts.schedules import Schedule
from profiles.rollouts.snapshot import Frame
from profiles.rollouts.thresholds import Thresholds
from profiles.rollouts.waves import Rest, Wave, WaveKind, Waves


@dataclass(frozen=True, slots=True)
class Options:
    """How a rollout goes out, beyond what goes to whom; None is the default for its size."""

    exclude: Sequence[str] = ()
    """Places that are left out: their tablets keep what they have."""
    waves: Waves | None = None
    schedule: Schedule | None = None
    thresholds: Thresholds | None = None
    reason: str | None = None


PLAIN = Options()


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be rolled out to whom."""

    policy: str
    target: str
    revision: int | None = None
    """The latest when absent."""
    options: Options = PLAIN


@dataclass(frozen=True, slots=True)
class Prepared:
    """A rollout that stands in the tables, held, and has told nobody."""

    rollout: Rollout
    rollout_id: UUID
    waves: list[Wave]
    judged: Judged
    estimate: Estimate
    left_out: int
    """Tablets left out by hand."""


def prepare(session: Session, principal: Principal, asked: Asked) -> Prepared:
    """Write a rollout with its snapshot and weigh it. Raises NotFound, Invalid and Forbidden as `start` says."""
    row = policies.find(session, principal.scope, asked.policy)
    assert row.id is not None
    number = _revision(session, row, asked.revision)
    layer = places.parse(asked.target)
    at, speaks_for = places.find(session, layer, principal.scope), policies.place_of(session, row)
    if at.layer is LayerColumn.FLEET and speaks_for.layer is LayerColumn.FLEET and not principal.scope.all_schools:
        raise Forbidden("the fleet is for operators of all schools; name a school")
    barred = snapshot.named(session, asked.options.exclude, principal.scope, at="/exclude")
    for place, listed in enumerate(asked.options.waves.lists if asked.options.waves else ()):
        snapshot.named(session, listed, principal.scope, at=f"/waves/lists/{place}")
    frame = Frame((at, speaks_for), principal.scope, barred)
    found = snapshot.survey(session, frame)
    way = _decided(asked.options, sum(group.tablets for group in found if group.excluded is None))
    whole = at.covers(speaks_for) and not (way.waves.kind is WaveKind.BY_HAND and way.waves.rest is Rest.NEVER)
    if not found and not whole:
        raise Invalid(f"no tablet of {layer} is spoken to by policy `{asked.policy}`")
    rollout = Rollout(
        policy_id=row.id,
        revision=number,
        target=str(layer),
        whole_layer=whole,
        state=RolloutState.HELD,
        created_by=principal.id,
        created_at=clock.now(),
    )
    rollout_id = _insert(session, rollout, way, asked.options.reason)
    first = [waves.Ring(ring.name, ring.places) for ring in rings.ordered(session)]
    drafts = waves.drafts(way.waves, rings=first, schools=sorted({group.school for group in found}))
    made = snapshot.take(session, rollout_id, frame, drafts)
    left_out = sum(group.tablets for group in found if (group.excluded or "").startswith("left out"))
    rollout.leaves_out = left_out > 0
    judged = judging.judge(session, rollout_id)
    shut = wakes.shut(session, way.schedule, {load.school_id for load in judged.loads}, rollout_id=rollout_id)
    if shut is not None:
        raise Invalid("nobody could be woken", errors=[{"pointer": "/schedule", "detail": shut.why.value}])
    cost = estimates.estimate(session, rollout, found, made, judged)
    rollout.estimate, rollout.digest = cost.as_json(), snapshot.digest(session, rollout_id)
    session.add(rollout)
    session.flush()
    return Prepared(rollout, rollout_id, made, judged, cost, left_out)


@dataclass(frozen=True, slots=True)
class _Way:
    """How it goes out, with nothing left open."""

    waves: Waves
    schedule: Schedule
    thresholds: Thresholds


def _decided(options: Options, reachable: int) -> _Way:
    """With what was left open decided by the number of tablets that can be reached."""
    divided = options.waves or Waves(kind=waves.default_kind(reachable))
    staged = divided.kind is WaveKind.STAGED
    limits = options.thresholds or Thresholds()
    return _Way(
        divided,
        options.schedule or wakes.schedule_for(reachable),
        limits.settled_for(staged=staged, proof=staged or reachable >= waves.PROOF_FROM),
    )


def _revision(session: Session, policy: Policy, revision: int | None) -> int:
    numbers = select(PolicyRevision.number).where(PolicyRevision.policy_id == policy.id)
    known = session.exec(numbers.order_by(col(PolicyRevision.number).desc())).all()
    if revision is not None and revision not in known:
        raise NotFound(f"policy `{policy.name}` has no revision {revision}")
    return revision if revision is not None else known[0]


def _insert(session: Session, rollout: Rollout, way: _Way, reason: str | None) -> UUID:
    """Insert the row, dated by the database's clock as the wake-ups are. It has told nobody and no layer."""
    rollout.waves = way.waves.model_dump(mode="json")
    rollout.schedule = way.schedule.model_dump(mode="json")
    rollout.thresholds = way.thresholds.model_dump(mode="json")
    rollout.reason = (reason or "").strip()[:400] or None
    session.add(rollout)
    session.flush()
    # The default of the column is for the former version, and an object does not say NULL where there is a default.
    session.execute(
        text("UPDATE rollout SET layer_released_at = NULL, created_at = now() WHERE id = :id"), {"id": rollout.id}
    )
    session.refresh(rollout)
    assert rollout.id is not None
    return rollout.id
