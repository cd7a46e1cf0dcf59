"""Who should have what: from policies and the ledger to the desired manifest of each tablet, set by set.

Tablets that the same revisions and exceptions speak to share one manifest; what has been compiled before is not
compiled again (`drafts`). It wakes who must change, and sends nothing itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from mdm import clock, jobs
from mdm.commands import artifacts
from mdm.devices import wakeups
from mdm.devices.models import Lane
from mdm.jobs import Job
from mdm.platform import Platform
from profiles import chains, drafts
from profiles.compiled import Facts
from profiles.compilers import compiler
from profiles.layers import Effective, Excepted, Said, check_sizes, effective
from profiles.sections import Sections

BULK_FROM = 100
"""Changes to this many tablets or more wait behind people's single requests."""

AT_ONCE = 1000
"""Tablets recomputed in one transaction by jobs."""


@dataclass(frozen=True, slots=True)
class Group:
    """Tablets that nothing relevant tells apart, with what they should hold now."""

    platform: Platform
    facts: Facts
    chain: tuple[tuple[int, int], ...]
    """Pairs of policy id and revision number."""
    names: drafts.Chain
    policy: Effective
    held: bytes | None
    """Their desired manifest until now."""
    wanted: artifacts.Draft
    turns_at: datetime | None
    """When the clock alone changes what they should hold."""
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


def groups(
    session: Session, device_ids: Sequence[int], *, strict: bool = False, assumed: UUID | None = None
) -> list[Group]:
    """Return what each of these tablets should hold, grouped; nothing is stored.

    `strict` refuses layers that are too long together (Invalid); otherwise the compiler cuts and says so. `assumed`
    is a rollout that is taken as if all its tablets had been told.
    """
    found = chains.spoken_to(session, device_ids, assumed=assumed)
    names = chains.learn(session, found)
    return [group for spoken in found for group in _grouped(session, spoken, names, strict=strict)]


def _grouped(session: Session, spoken: chains.Spoken, names: chains.Names, *, strict: bool) -> list[Group]:
    chain = names.chain(spoken)
    policy = drafts.merged(chain)
    if strict:
        check_sizes(policy.sections)
    sections, turns_at = at_this_hour(policy.sections, clock.now())
    turns = [moment for moment in (turns_at, names.expires_at(spoken)) if moment is not None]
    facts = compiler(spoken.platform).facts(supervised=spoken.supervised, os_version=spoken.os_version)
    return [
        Group(
            platform=spoken.platform,
            facts=each,
            chain=spoken.revisions,
            names=chain,
            policy=policy,
            held=spoken.held,
            wanted=drafts.draft(spoken.platform, chain, each, sections, at_exam=sections.exam is not None),
            turns_at=min(turns, default=None),
            device_ids=device_ids,
            active_ids=active_ids,
        )
        for each, device_ids, active_ids in _apart(session, spoken, facts, sections)
    ]


def at_this_hour(sections: Sections, now: datetime) -> tuple[Sections, datetime | None]:
    """Leave out an examination that is not on at this moment, and say when that turns. Compilers know no clock."""
    sitting = None if sections.exam is None else sections.exam.single_app
    if sitting is None:
        return sections, None
    turns_at = sitting.next_change(now)
    return (sections if sitting.in_force(now) else sections.model_copy(update={"exam": None})), turns_at


def retarget(
    session: Session,
    device_ids: Sequence[int] | None = None,
    *,
    lane: Lane | None = None,
) -> int:
    """Recompute what these tablets (None: all that are stale or whose hour has come) should hold.

    Wakes who changes and returns how many changed. Running rollouts follow: a tablet whose facts changed is still the
    same rollout's.
    """
    serialise(session)
    changed, woken = recompute(session, due(session) if device_ids is None else device_ids)
    wake(session, woken, lane)
    return changed


def catch_up(session: Session, limit: int = AT_ONCE) -> tuple[int, bool]:
    """Recompute some of the tablets that are stale or whose hour has come; returns changes, and whether more may be."""
    serialise(session)
    ids = due(session, limit)
    changed, woken = recompute(session, ids)
    wake(session, woken)
    return changed, len(ids) >= limit


def recompute(session: Session, device_ids: Sequence[int]) -> tuple[int, list[int]]:
    """Set what these tablets should hold; returns how many change, and those of them that can be woken.

    Only after `serialise`. Whom it is called for is all that counts: its time does not grow with the fleet.
    """
    ids = artifacts.hold_still(session, device_ids)
    if not ids:
        return 0, []
    changed = 0
    woken: list[int] = []
    found = groups(session, ids)
    _remember_turns(session, ids, found)
    for group in found:
        if not group.changes:
            artifacts.settled(session, group.device_ids)
            continue
        artifacts.want(session, artifacts.put(session, group.wanted), group.device_ids)
        changed += len(group.device_ids)
        woken += group.active_ids
    _follow(session, found)
    return changed, woken


def try_again(session: Session, device_ids: Sequence[int], *, lane: Lane | None = None) -> int:
    """Let tablets that refused an artifact be handed it once more; returns how many those are."""
    artifacts.hold_still(session, device_ids)
    failed = artifacts.forgive(session, device_ids)
    wake(session, failed, lane)
    return len(failed)


def wake(session: Session, device_ids: Sequence[int], lane: Lane | None = None) -> None:
    """Make tablets due a push now, in the lane for so many of them unless one is named."""
    if device_ids:
        lane = lane or lane_for(len(device_ids))
        wakeups.mark_due(session, sorted(device_ids), lane)
        jobs.ring(session, Job.DISPATCH, lane=int(lane))


def lane_for(tablets: int) -> Lane:
    """The lane in which a change to so many tablets goes out."""
    return Lane.BULK if tablets >= BULK_FROM else Lane.NORMAL


@dataclass(frozen=True, slots=True)
class Explained:
    """What one tablet should be, with everything that speaks to it."""

    effective: Effective
    voices: list[Said | Excepted]
    platform: Platform
    supervised: bool | None
    os_version: str | None
    cannot: tuple[tuple[str, str], ...]


def explained(session: Session, device_id: int) -> Explained | None:
    """Return the merge of one tablet's layers, who speaks, and what the tablet cannot do; None for an unknown one."""
    spoken = chains.spoken_to(session, [device_id])
    names = chains.learn(session, spoken)
    for each in spoken:
        (group,) = _grouped(session, each, names, strict=False)
        heard = drafts.voices(group.names)
        cannot = group.wanted.cannot
        return Explained(group.policy, heard, each.platform, each.supervised, each.os_version, cannot)
    return None


def effective_of(session: Session, device_id: int) -> Effective:
    """The merged policy of one tablet, with the names of the policies that decided each field."""
    found = explained(session, device_id)
    return effective([]) if found is None else found.effective


def _apart(
    session: Session, spoken: chains.Spoken, facts: Facts, sections: Sections
) -> list[tuple[Facts, tuple[int, ...], tuple[int, ...]]]:
    """One set for all, unless a text on the screen names each tablet: then each has a manifest of its own."""
    if sections.screen is None or not sections.screen.per_tablet:
        return [(facts, spoken.device_ids, spoken.active_ids)]
    rows = session.execute(
        text("SELECT id, control_number FROM device WHERE id = ANY(:ids) ORDER BY id"), {"ids": list(spoken.device_ids)}
    )
    active = set(spoken.active_ids)
    return [
        (replace(facts, control_number=number), (device_id,), (device_id,) if device_id in active else ())
        for device_id, number in rows
    ]


def due(session: Session, limit: int | None = None) -> list[int]:
    """Take the tablets that are marked stale, and those whose examination or exception has begun or run out."""
    rows = session.execute(
        text(
            "WITH turned AS (DELETE FROM policy_turn WHERE device_id IN ("
            " SELECT device_id FROM policy_turn WHERE at <= :now ORDER BY at LIMIT :limit) RETURNING device_id)"
            " SELECT device_id FROM turned"
            " UNION (SELECT device_id FROM enrollment WHERE desired_stale ORDER BY device_id LIMIT :limit) ORDER BY 1"
        ),
        {"now": clock.now(), "limit": limit},
    )
    return [device_id for (device_id,) in rows]


def _remember_turns(session: Session, device_ids: Sequence[int], found: Sequence[Group]) -> None:
    session.execute(text("DELETE FROM policy_turn WHERE device_id = ANY(:ids)"), {"ids": list(device_ids)})
    for group in found:
        if group.turns_at is not None:
            session.execute(
                text("INSERT INTO policy_turn (device_id, at) SELECT unnest(CAST(:ids AS bigint[])), :at"),
                {"ids": list(group.device_ids), "at": group.turns_at},
            )


# From the few rollouts under way to their rows by key; what was rolled out in former years is not looked at.
_FOLLOW = """
WITH said AS (
    SELECT * FROM unnest(CAST(:said_by AS int[]), CAST(:policies AS bigint[]), CAST(:revisions AS int[]))
        AS s (number, policy_id, revision)
), wanted AS (
    SELECT w.device_id, w.number, m.manifest
    FROM unnest(CAST(:ids AS bigint[]), CAST(:numbers AS int[])) AS w (device_id, number)
    JOIN unnest(CAST(:groups AS int[]), CAST(:manifests AS bytea[])) AS m (number, manifest) USING (number)
), live AS (
    SELECT id, policy_id, revision FROM rollout WHERE state IN ('held', 'running', 'paused', 'halted')
)
UPDATE rollout_target t SET manifest = wanted.manifest
FROM live r JOIN said s ON s.policy_id = r.policy_id AND s.revision = r.revision
JOIN wanted ON wanted.number = s.number
WHERE t.rollout_id = r.id AND t.device_id = wanted.device_id
  AND t.released_at IS NOT NULL AND t.withdrawn_at IS NULL AND t.manifest IS DISTINCT FROM wanted.manifest
"""


def _follow(session: Session, found: Sequence[Group]) -> None:
    """Let rollouts under way expect the manifests that bring their revision from now on."""
    held = [(group.wanted.sha256 if group.changes else group.held) for group in found]
    said = [(number, *pair) for number, group in enumerate(found) for pair in group.chain]
    members = [(device_id, number) for number, group in enumerate(found) for device_id in group.device_ids]
    session.execute(
        text(_FOLLOW),
        {
            "said_by": [number for number, _, _ in said],
            "policies": [policy for _, policy, _ in said],
            "revisions": [revision for _, _, revision in said],
            "ids": [device_id for device_id, _ in members],
            "numbers": [number for _, number in members],
            "groups": list(range(len(found))),
            "manifests": held,
        },
    )
