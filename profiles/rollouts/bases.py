"""What a policy's whole layer has: the base on which tablets stand that no rollout speaks to (see `chains`).

It keeps `policy.released`, which people see, in step, and marks who came after the snapshot; it compiles nothing.
"""

from sqlalchemy import text
from sqlmodel import Session

from mdm import jobs
from mdm.auth.principal import Scope
from mdm.jobs import Job
from profiles import places, policies
from profiles.models import Policy, Rollout


def give_to_layer(session: Session, rollout: Rollout) -> None:
    """All waves have been told: from now on a tablet that comes to the layer gets the revision. Once only."""
    given = session.execute(
        text(
            "UPDATE rollout SET layer_released_at = now() WHERE id = :rollout AND whole_layer"
            " AND layer_released_at IS NULL AND state = 'running' RETURNING 1"
        ),
        {"rollout": rollout.id},
    )
    if given.first() is not None:
        refresh(session, rollout)


def refresh(session: Session, rollout: Rollout) -> None:
    """After the base may have changed: show it, and have the layer's tablets outside the snapshot looked at."""
    session.execute(
        text(
            "UPDATE policy SET released = (SELECT revision FROM rollout r WHERE r.policy_id = policy.id"
            " AND r.whole_layer AND r.layer_released_at IS NOT NULL"
            " AND r.state NOT IN ('halted', 'aborted', 'rolled_back') ORDER BY r.id DESC LIMIT 1) WHERE id = :policy"
        ),
        {"policy": rollout.policy_id},
    )
    session.expire_all()
    if rollout.layer_released_at is None:
        return
    policy = session.get_one(Policy, rollout.policy_id)
    condition, values = places.condition(policies.place_of(session, policy), scope=Scope(all_schools=True))
    marked = session.execute(
        text(
            "WITH others AS (SELECT e.device_id FROM device d JOIN enrollment e ON e.device_id = d.id"
            f" LEFT JOIN holder h ON h.id = d.holder_id WHERE {condition} AND NOT e.desired_stale AND NOT EXISTS ("
            " SELECT FROM rollout_target t WHERE t.rollout_id = :rollout AND t.device_id = d.id)"
            " ORDER BY e.device_id FOR NO KEY UPDATE OF e)"
            " UPDATE enrollment e SET desired_stale = true FROM others o WHERE o.device_id = e.device_id RETURNING 1"
        ),
        {**values, "rollout": rollout.id},
    )
    if marked.first() is not None:
        jobs.ring(session, Job.RETARGET)


def is_overtaken(session: Session, rollout: Rollout) -> bool:
    """Whether a later rollout has reached the whole layer, so that this one cannot change anything any more."""
    later = session.execute(
        text(
            "SELECT 1 FROM rollout WHERE policy_id = :policy AND id > :rollout AND whole_layer"
            " AND layer_released_at IS NOT NULL AND state NOT IN ('halted', 'aborted', 'rolled_back') LIMIT 1"
        ),
        {"policy": rollout.policy_id, "rollout": rollout.id},
    )
    return later.first() is not None
