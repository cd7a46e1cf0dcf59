"""Who is spoken to by which revisions and exceptions: the SQL from tablets to chains, and the reading of what is said.

Tablets are grouped by the database, so 15,000 of them are a few hundred rows here. It decides and compiles nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from mdm import clock
from mdm.devices.models import EnrollmentStatus
from mdm.platform import Platform
from profiles import drafts, sealing
from profiles.drafts import Chain, Name
from profiles.layers import Excepted, Said
from profiles.policy import Layer
from profiles.sections import Sections

# A policy's base is the latest rollout that has reached its whole layer; what was rolled out before it does not matter
# any more. Since then, a tablet has the revision of the latest rollout that has told it so: ids are UUIDv7, so they
# order by time, and a wave that goes out late never overrides a rollout that was started later. Tablets that were left
# out of the base by hand keep what they had. Written from few rollouts to rows by key: age costs nothing.
PINS = """
base AS (
    SELECT DISTINCT ON (policy_id) policy_id, id, revision FROM rollout
    WHERE whole_layer AND layer_released_at IS NOT NULL AND state NOT IN ('halted', 'aborted', 'rolled_back')
    ORDER BY policy_id, id DESC
), live AS (
    SELECT r.id, r.policy_id, r.revision, b.id IS NOT DISTINCT FROM r.id AS is_base
    FROM rollout r LEFT JOIN base b USING (policy_id)
    WHERE b.id IS NULL OR r.id > b.id OR (r.id = b.id AND r.leaves_out)
), pin AS (
    SELECT DISTINCT ON (t.device_id, l.policy_id) t.device_id, l.policy_id,
           CASE WHEN t.wave IS NULL THEN t.kept ELSE l.revision END AS revision
    FROM live l JOIN rollout_target t ON t.rollout_id = l.id AND t.device_id = ANY(CAST(:ids AS bigint[]))
    WHERE CASE WHEN t.wave IS NULL THEN l.is_base
          ELSE (t.released_at IS NOT NULL AND t.withdrawn_at IS NULL) OR l.id = CAST(:assumed AS uuid) END
    ORDER BY t.device_id, l.policy_id, l.id DESC
)
"""
_GROUPS = f"""
WITH {PINS}, asked AS (
    SELECT d.id, d.school_id, h.class_id FROM device d LEFT JOIN holder h ON h.id = d.holder_id WHERE d.id = ANY(:ids)
), spoken AS (
    SELECT d.id AS device_id, p.id AS policy_id FROM asked d CROSS JOIN policy p WHERE p.layer = 'fleet'
    UNION ALL
    SELECT d.id, p.id FROM asked d JOIN policy p ON p.school_id = d.school_id WHERE p.layer = 'school'
    UNION ALL
    SELECT d.id, p.id FROM asked d JOIN policy p ON p.class_id = d.class_id WHERE p.layer = 'class'
    UNION ALL
    SELECT d.id, p.id FROM asked d JOIN policy p ON p.device_id = d.id WHERE p.layer = 'tablet'
), said AS (
    SELECT s.device_id, s.policy_id,
           CASE WHEN pin.device_id IS NULL THEN base.revision ELSE pin.revision END AS revision
    FROM spoken s LEFT JOIN pin USING (device_id, policy_id) LEFT JOIN base ON base.policy_id = s.policy_id
), chain AS (
    SELECT device_id,
           array_agg(policy_id ORDER BY policy_id) AS policies,
           array_agg(revision ORDER BY policy_id) AS revisions
    FROM said WHERE revision IS NOT NULL GROUP BY device_id
), leave AS (
    SELECT * FROM policy_exception WHERE state = 'active' AND expires_at > :now
), excepted AS (
    SELECT device_id, array_agg(id ORDER BY id) AS leaves FROM (
        SELECT d.id AS device_id, x.id FROM asked d JOIN leave x ON x.school_id = d.school_id
        UNION ALL
        SELECT d.id, x.id FROM asked d JOIN leave x ON x.class_id = d.class_id
        UNION ALL
        SELECT d.id, x.id FROM asked d JOIN leave x ON x.device_id = d.id
    ) AS each_leave GROUP BY device_id
)
SELECT d.platform, e.supervised, e.os_version, e.desired_manifest,
       coalesce(chain.policies, '{{}}'), coalesce(chain.revisions, '{{}}'), coalesce(excepted.leaves, '{{}}'),
       array_agg(d.id ORDER BY d.id),
       coalesce(array_agg(d.id ORDER BY d.id) FILTER (WHERE e.status = :active AND d.state <> 'retired'), '{{}}')
FROM device d JOIN enrollment e ON e.device_id = d.id
LEFT JOIN chain ON chain.device_id = d.id LEFT JOIN excepted ON excepted.device_id = d.id
WHERE d.id = ANY(:ids)
GROUP BY 1, 2, 3, 4, 5, 6, 7
"""


@dataclass(frozen=True, slots=True)
class Spoken:
    """Tablets that nothing tells apart which matters to a policy."""

    platform: Platform
    supervised: bool | None
    os_version: str | None
    held: bytes | None
    """Their desired manifest until now."""
    revisions: tuple[tuple[int, int], ...]
    """Pairs of policy id and revision number that speak to them."""
    leaves: tuple[UUID, ...]
    """The exceptions that hold for them now."""
    device_ids: tuple[int, ...]
    active_ids: tuple[int, ...]
    """Those of them that can be woken."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names under which `drafts` keeps what is said, and when each exception runs out."""

    revisions: Mapping[tuple[int, int], Name]
    expiries: Mapping[UUID, datetime]

    def chain(self, spoken: Spoken) -> Chain:
        """The chain of one group of tablets."""
        said = sorted(self.revisions[pair] for pair in spoken.revisions)
        return (*said, *(leave.bytes for leave in spoken.leaves))

    def expires_at(self, spoken: Spoken) -> datetime | None:
        """When the first of its exceptions runs out."""
        return min((self.expiries[leave] for leave in spoken.leaves), default=None)


def spoken_to(session: Session, device_ids: Sequence[int], *, assumed: UUID | None = None) -> list[Spoken]:
    """Group these tablets by platform, facts, held manifest, revisions and exceptions.

    `assumed` is a rollout that is taken as if it had told all its tablets already.
    """
    rows = session.execute(
        text(_GROUPS),
        {
            "ids": list(device_ids),
            "active": EnrollmentStatus.ACTIVE.value,
            "now": clock.now(),
            "assumed": assumed,
        },
    )
    return [
        Spoken(
            platform=Platform(platform),
            supervised=supervised,
            os_version=os_version or None,
            held=None if held is None else bytes(held),
            revisions=tuple(zip(policies, revisions, strict=True)),
            leaves=tuple(UUID(str(leave)) for leave in leaves),
            device_ids=tuple(ids),
            active_ids=tuple(active),
        )
        for platform, supervised, os_version, held, policies, revisions, leaves, ids, active in rows
    ]


def revisions(session: Session, policy_id: int, device_ids: Sequence[int]) -> dict[int, list[int]]:
    """Return which of these tablets have which revision of a policy that speaks to them; who has none is left out."""
    rows = session.execute(
        text(
            f"WITH {PINS} SELECT CASE WHEN pin.device_id IS NULL THEN base.revision ELSE pin.revision END,"
            " array_agg(a.id ORDER BY a.id) FROM unnest(CAST(:ids AS bigint[])) AS a (id)"
            " LEFT JOIN pin ON pin.device_id = a.id AND pin.policy_id = :policy"
            " LEFT JOIN base ON base.policy_id = :policy GROUP BY 1"
        ),
        {"ids": list(device_ids), "assumed": None, "policy": policy_id},
    )
    return {revision: list(ids) for revision, ids in rows if revision is not None}


def learn(session: Session, found: Iterable[Spoken]) -> Names:
    """Read what these groups' revisions and exceptions say, as far as it is not known yet, and name it."""
    groups = list(found)
    pairs = sorted({pair for group in groups for pair in group.revisions})
    leaves = sorted({leave for group in groups for leave in group.leaves})
    rows = session.execute(
        text(
            "SELECT r.policy_id, r.number, r.sha256 FROM policy_revision r"
            " JOIN unnest(CAST(:policies AS bigint[]), CAST(:numbers AS int[])) AS c (policy_id, number)"
            " ON r.policy_id = c.policy_id AND r.number = c.number"
        ),
        {"policies": [policy for policy, _ in pairs], "numbers": [number for _, number in pairs]},
    )
    revisions = {(policy_id, number): bytes(sha256) for policy_id, number, sha256 in rows}
    _learn_revisions(session, drafts.unknown(revisions.values()))
    expiries: dict[UUID, datetime] = {}
    for leave, expires_at, place, document in session.execute(
        text("SELECT id, expires_at, place, document FROM policy_exception WHERE id = ANY(CAST(:ids AS uuid[]))"),
        {"ids": [str(leave) for leave in leaves]},
    ):
        expiries[leave] = expires_at
        if drafts.unknown([leave.bytes]):
            drafts.learn(leave.bytes, excepted(leave, place, document))
    return Names(revisions, expiries)


def excepted(leave: UUID, place: str, stored: Mapping[str, Any]) -> Excepted:
    """What a stored exception says."""
    replacing, without = (
        Sections() if stored.get(part) is None else sealing.opened(stored[part]).sections()
        for part in ("set", "without")
    )
    return Excepted(f"exception {leave}", Layer.parse(place), replacing, without)


def _learn_revisions(session: Session, digests: Iterable[Name]) -> None:
    wanted = sorted(digests)
    if not wanted:
        return
    rows = session.execute(
        text("SELECT DISTINCT ON (sha256) sha256, document FROM policy_revision WHERE sha256 = ANY(:digests)"),
        {"digests": wanted},
    )
    for sha256, document in rows:
        policy = sealing.opened(document)
        drafts.learn(bytes(sha256), Said(policy.name, policy.layer, policy.sections()))
