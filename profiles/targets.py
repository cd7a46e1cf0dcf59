"""Who should have what: from policies and the ledger to the desired manifest of each tablet, set by set.

Tablets are grouped in SQL by the chain of revisions that speaks to them and by their facts, so 15,000 of them compile a
handful of manifests. It wakes who must change, and sends nothing itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

from mdm import jobs
from mdm.commands import artifacts
from mdm.devices import wakeups
from mdm.devices.models import EnrollmentStatus, Lane
from mdm.jobs import Job
from mdm.platform import Platform
from profiles.compilers import compiler
from profiles.layers import Effective, Said, check_sizes, effective
from profiles.policy import read

BULK_FROM = 100
"""Changes to this many tablets or more wait behind people's single requests."""

# A tablet gets of each policy the revision of the latest rollout that named it, unless a later one released the
# policy to its whole layer. Rollout ids are UUIDv7, so they order by time.
_GROUPS = """
WITH pin AS (
    SELECT DISTINCT ON (t.device_id, r.policy_id) t.device_id, r.policy_id, r.revision
    FROM rollout r JOIN rollout_target t ON t.rollout_id = r.id
    WHERE NOT r.whole_layer AND t.device_id = ANY(:ids)
      AND NOT EXISTS (SELECT 1 FROM rollout w WHERE w.policy_id = r.policy_id AND w.whole_layer AND w.id > r.id)
    ORDER BY t.device_id, r.policy_id, r.id DESC
), spoken AS (
    SELECT d.id AS device_id, p.id AS policy_id, p.released
    FROM device d CROSS JOIN policy p WHERE d.id = ANY(:ids) AND p.layer = 'fleet'
    UNION ALL
    SELECT d.id, p.id, p.released
    FROM device d JOIN policy p ON p.school_id = d.school_id WHERE d.id = ANY(:ids) AND p.layer = 'school'
    UNION ALL
    SELECT d.id, p.id, p.released
    FROM device d JOIN holder h ON h.id = d.holder_id JOIN policy p ON p.class_id = h.class_id
    WHERE d.id = ANY(:ids) AND p.layer = 'class'
    UNION ALL
    SELECT d.id, p.id, p.released
    FROM device d JOIN policy p ON p.device_id = d.id WHERE d.id = ANY(:ids) AND p.layer = 'tablet'
), chain AS (
    SELECT device_id,
           array_agg(policy_id ORDER BY policy_id) AS policies,
           array_agg(coalesce(pin.revision, released) ORDER BY policy_id) AS revisions
    FROM spoken LEFT JOIN pin USING (device_id, policy_id)
    WHERE coalesce(pin.revision, released) IS NOT NULL
    GROUP BY device_id
)
SELECT d.platform, e.supervised, e.os_version, e.desired_manifest,
       coalesce(chain.policies, '{}'), coalesce(chain.revisions, '{}'),
       array_agg(d.id ORDER BY d.id),
       coalesce(array_agg(d.id ORDER BY d.id) FILTER (WHERE e.status = :active AND d.state <> 'retired'), '{}')
FROM device d JOIN enrollment e ON e.device_id = d.id LEFT JOIN chain ON chain.device_id = d.id
WHERE d.id = ANY(:ids)
GROUP BY 1, 2, 3, 4, 5, 6
"""


@dataclass(frozen=True, slots=True)
class Group:
    """Tablets that nothing relevant tells apart, with what they should hold now."""

    chain: tuple[tuple[int, int], ...]
    """Pairs of policy id and revision number."""
    held: bytes | None
    """Their desired manifest until now."""
    wanted: artifacts.Draft
    device_ids: tuple[int, ...]
    active_ids: tuple[int, ...]
    """Those of them that can be woken."""

    @property
    def changes(self) -> bool:
        """Whether they are to hold something else. Who was never told anything need not be told "nothing"."""
        silent = not self.wanted.parcels and not self.wanted.cannot
        return self.wanted.sha256 != self.held and not (self.held is None and silent)


def serialise(session: Session) -> None:
    """Let one transaction at a time decide what tablets should be; held until its end."""
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('tabane.profiles'))"))


def groups(session: Session, device_ids: Sequence[int], *, strict: bool = False) -> list[Group]:
    """Return what each of these tablets should hold, grouped; nothing is stored.

    `strict` refuses layers that are too long together (Invalid); otherwise the compiler cuts and says so.
    """
    rows = session.execute(text(_GROUPS), {"ids": list(device_ids), "active": EnrollmentStatus.ACTIVE.value}).all()
    chains = {_chain(row[4], row[5]) for row in rows}
    merged = _effective(session, chains)
    if strict:
        for policy in merged.values():
            check_sizes(policy.sections)
    drafts: dict[tuple[object, ...], artifacts.Draft] = {}
    found = []
    for platform_name, supervised, os_version, held, policies, revisions, ids, active in rows:
        platform, chain = Platform(platform_name), _chain(policies, revisions)
        compiling = compiler(platform)
        facts = compiling.facts(supervised=supervised, os_version=os_version or None)
        if (platform, chain, facts) not in drafts:
            outcome = compiling.compile_policy(merged[chain].sections, facts)
            drafts[platform, chain, facts] = artifacts.draft(
                platform,
                [artifacts.Parcel(artifact.identifier, artifact.body) for artifact in outcome.artifacts],
                [(wish.pointer, wish.reason) for wish in outcome.cannot],
            )
        wanted = drafts[platform, chain, facts]
        found.append(Group(chain, None if held is None else bytes(held), wanted, tuple(ids), tuple(active)))
    return found


def retarget(session: Session, device_ids: Sequence[int] | None = None, *, lane: Lane | None = None) -> int:
    """Recompute what these tablets (None: all that are marked stale) should hold, and make those due that change.

    Returns how many changed. Running rollouts follow: a tablet whose facts changed is still the same rollout's.
    """
    serialise(session)
    ids = artifacts.hold_still(session, device_ids)
    if not ids:
        return 0
    changed: list[int] = []
    woken: list[int] = []
    for group in groups(session, ids):
        if not group.changes:
            artifacts.settled(session, group.device_ids)
            continue
        manifest = artifacts.put(session, group.wanted)
        artifacts.want(session, manifest, group.device_ids)
        _follow(session, group, manifest)
        changed += group.device_ids
        woken += group.active_ids
    _wake(session, woken, lane)
    return len(changed)


def try_again(session: Session, device_ids: Sequence[int], *, lane: Lane | None = None) -> int:
    """Let tablets that refused an artifact be handed it once more; returns how many those are."""
    artifacts.hold_still(session, device_ids)
    failed = artifacts.forgive(session, device_ids)
    _wake(session, failed, lane)
    return len(failed)


def _wake(session: Session, device_ids: Sequence[int], lane: Lane | None) -> None:
    if device_ids:
        lane = lane or (Lane.BULK if len(device_ids) >= BULK_FROM else Lane.NORMAL)
        wakeups.mark_due(session, sorted(device_ids), lane)
        jobs.ring(session, Job.DISPATCH, lane=int(lane))


def effective_of(session: Session, device_id: int) -> Effective:
    """The merged policy of one tablet, with the names of the policies that decided each field."""
    for group in groups(session, [device_id]):
        return _effective(session, {group.chain})[group.chain]
    return effective([])


def _follow(session: Session, group: Group, manifest: bytes) -> None:
    session.execute(
        text(
            "UPDATE rollout_target t SET manifest = :manifest"
            " FROM rollout r, unnest(CAST(:policies AS bigint[]), CAST(:revisions AS int[])) AS c (policy_id, revision)"
            " WHERE r.id = t.rollout_id AND r.state = 'running' AND t.device_id = ANY(:ids)"
            " AND r.policy_id = c.policy_id AND r.revision = c.revision"
        ),
        {
            "manifest": manifest,
            "policies": [policy for policy, _ in group.chain],
            "revisions": [revision for _, revision in group.chain],
            "ids": list(group.device_ids),
        },
    )


def _chain(policies: Sequence[int], revisions: Sequence[int]) -> tuple[tuple[int, int], ...]:
    return tuple(zip(policies, revisions, strict=True))


def _effective(
    session: Session, chains: set[tuple[tuple[int, int], ...]]
) -> Mapping[tuple[tuple[int, int], ...], Effective]:
    """Merge each chain once; the documents of all chains come in one statement."""
    pairs = sorted({pair for chain in chains for pair in chain})
    rows = session.execute(
        text(
            "SELECT r.policy_id, r.number, r.document FROM policy_revision r"
            " JOIN unnest(CAST(:policies AS bigint[]), CAST(:numbers AS int[])) AS c (policy_id, number)"
            " ON r.policy_id = c.policy_id AND r.number = c.number"
        ),
        {"policies": [policy for policy, _ in pairs], "numbers": [number for _, number in pairs]},
    )
    said = {}
    for policy_id, number, document in rows:
        policy = read(document)
        said[policy_id, number] = Said(policy.name, policy.layer, policy.sections())
    return {chain: effective([said[pair] for pair in chain]) for chain in chains}
