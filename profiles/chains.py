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

# Of each policy a tablet has the revision of the latest rollout that has told it so, or that has reached its whole
# layer, unless it was left out of that by hand: ids are UUIDv7, so they order by time, and a wave that goes out late
# never overrides a rollout that was started later. What was stopped or rolled back is as if it had not been.
# A policy's base is the latest rollout to its whole layer: only for the few tablets that were left out of it one looks
# further back, as far as the floor, of which nobody was left out. From few rollouts to rows by key: age costs nothing.
_GIVEN = "whole_layer AND layer_released_at IS NOT NULL AND state NOT IN ('halted', 'aborted', 'rolled_back')"
_TOLD = "(t.released_at IS NOT NULL AND t.withdrawn_at IS NULL)"
_SAID = f"""
base AS (
    SELECT DISTINCT ON (policy_id) policy_id, id, revision, leaves_out FROM rollout WHERE {_GIVEN}
    ORDER BY policy_id, id DESC
), floor AS (
    SELECT DISTINCT ON (policy_id) policy_id, id FROM rollout WHERE {_GIVEN} AND NOT leaves_out
    ORDER BY policy_id, id DESC
), apart AS (
    SELECT t.device_id, b.policy_id, b.id AS before
    FROM base b JOIN rollout_target t ON t.rollout_id = b.id AND t.device_id = ANY(CAST(:ids AS bigint[]))
    WHERE b.leaves_out AND t.wave IS NULL
), pin AS (
    SELECT DISTINCT ON (device_id, policy_id) device_id, policy_id, revision FROM (
        SELECT t.device_id, r.policy_id, r.revision, r.id
        FROM rollout r LEFT JOIN base b USING (policy_id)
        JOIN rollout_target t ON t.rollout_id = r.id AND t.device_id = ANY(CAST(:ids AS bigint[]))
        WHERE (b.id IS NULL OR r.id > b.id)
          AND ({_TOLD} OR (r.id = CAST(:assumed AS uuid) AND t.wave IS NOT NULL))
        UNION ALL
        SELECT a.device_id, r.policy_id, r.revision, r.id
        FROM apart a JOIN rollout r ON r.policy_id = a.policy_id AND r.id < a.before
        LEFT JOIN floor f ON f.policy_id = a.policy_id
        LEFT JOIN rollout_target t ON t.rollout_id = r.id AND t.device_id = a.device_id
        WHERE (f.id IS NULL OR r.id >= f.id)
          AND ({_TOLD} OR ({_GIVEN} AND (t.device_id IS NULL OR t.wave IS NOT NULL)))
    ) AS told ORDER BY device_id, policy_id, id DESC
)"""
_GROUPS = f"""
WITH {_SAID.strip()}, asked AS (
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
           CASE WHEN pin.device_id IS NOT NULL THEN pin.revision
                WHEN apart.device_id IS NULL THEN base.revision END AS revision
    FROM spoken s LEFT JOIN pin USING (device_id, policy_id) LEFT JOIN apart USING (device_id, policy_id)
    LEFT JOIN base ON base.policy_id = s.policy_id
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
