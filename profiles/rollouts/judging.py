"""What a snapshot would do to its tablets: harms, changes and bytes, as if every wave had been told. It stores nothing.

It looks at some thousand tablets at a time, so that a large fleet needs no more memory than a small one.
"""

from collections import Counter
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session, select

from mdm.platform import Platform
from profiles import consequences, plans, progress, targets
from profiles.consequences import Finding
from profiles.lint import Code
from profiles.models import PolicyRevision, Rollout
from profiles.progress import Stage
from profiles.rollouts import snapshot
from profiles.rollouts.costs import Load


@dataclass(frozen=True, slots=True)
class Judged:
    """What it would do."""

    tablets: int
    """Whom it is about; those that are left out by hand are not among them."""
    changed: int
    """Those that are to hold something else."""
    harms: list[Finding]
    loads: list[Load]
    """What reachable tablets fetch."""


def judge(session: Session, rollout_id: UUID) -> Judged:
    """Compare what the tablets of a snapshot should hold now and once all of them have been told."""
    tablets = changed = 0
    harms: Counter[Finding] = Counter()
    loads: Counter[Load] = Counter()
    for ids, left_out in snapshot.pages(session, rollout_id):
        before = targets.groups(session, ids)
        after = targets.groups(session, ids, assumed=rollout_id)
        fetched = consequences.fetches(before, after)
        tablets += len(ids)
        changed += len(fetched)
        for harm in consequences.harm_done(before, after, plans.own_host()):
            harms[replace(harm, tablets=0)] += harm.tablets
        loads.update(_loads(session, {device: size for device, size in fetched.items() if device not in left_out}))
    return Judged(
        tablets,
        changed,
        [replace(harm, tablets=number) for harm, number in harms.items()],
        [replace(load, tablets=number) for load, number in loads.items()],
    )


def _loads(session: Session, fetched: dict[int, int]) -> Counter[Load]:
    """Count the tablets of one school and platform that fetch the same."""
    rows = session.execute(
        text(
            "SELECT d.id, s.id, s.code, d.platform FROM device d JOIN school s ON s.id = d.school_id"
            " WHERE d.id = ANY(CAST(:ids AS bigint[])) ORDER BY d.id"
        ),
        {"ids": list(fetched)},
    )
    return Counter(Load(school, code, Platform(kind), 0, fetched[device]) for device, school, code, kind in rows)


def excused(session: Session, rollout: Rollout) -> set[str]:
    """The stops that were overridden when the revision was stored, and the canary's once it has landed somewhere."""
    row = session.exec(
        select(PolicyRevision).where(
            PolicyRevision.policy_id == rollout.policy_id, PolicyRevision.number == rollout.revision
        )
    ).one()
    codes = {each["code"] for each in row.overrides}
    smaller = select(Rollout.id, Rollout.counts, Rollout.whole_layer).where(
        Rollout.policy_id == rollout.policy_id, Rollout.revision == rollout.revision, Rollout.id != rollout.id
    )
    for rollout_id, counts, whole in session.exec(smaller):
        assert rollout_id is not None
        if whole:
            continue
        if counts[Stage.INSTALLED] if counts else progress.count(session, rollout_id)[Stage.INSTALLED]:
            codes.add(Code.NO_CANARY)
    return codes
