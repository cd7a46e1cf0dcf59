"""Who should have what: from policies and the ledger to the desired manifest of each tablet, set by set.

Tablets that the same revisions and exceptions speak to share one manifest; what has been compiled before is not
compiled again (`drafts`). It wakes who must change, and sends nothing itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

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


def groups(session: Session, device_ids: Sequence[int], *, strict: bool = False) -> list[Group]:
    """Return what each of these tablets should hold, grouped; nothing is stored.

    `strict` refuses layers that are too long together (Invalid); otherwise the compiler cuts and says so.
    """
    found = chains.spoken_to(session, device_ids)
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


def retarget(session: Session, device_ids: Sequence[int] | None = None, *, lane: Lane | None = None) -> int:
    """Recompute what these tablets (None: all that are stale or whose hour has come) should hold; wake who changes.

    Returns how many changed. Running rollouts follow: a tablet whose facts changed is still the same rollout's.
    """
    serialise(session)
    ids = artifacts.hold_still(session, _due(session) if device_ids is None else device_ids)
    if not ids:
        return 0
    changed: list[int] = []
    woken: list[int] = []
    found = groups(session, ids)
    _remember_turns(session, ids, found)
    for group in found:
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


def _due(session: Session) -> list[int]:
    """The tablets that are marked stale, and those whose examination or exception has begun or run out."""
    rows = session.execute(
        text(
            "WITH turned AS (DELETE FROM policy_turn WHERE at <= :now RETURNING device_id)"
            " SELECT device_id FROM turned UNION SELECT device_id FROM enrollment WHERE desired_stale ORDER BY 1"
        ),
        {"now": clock.now()},
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
