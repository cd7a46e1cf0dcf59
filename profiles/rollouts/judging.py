"""What a snapshot would do to its tablets: harms, changes and bytes, as if every wave had been told. It stores nothing.

It looks at some thousand tablets at a time, so that a large fleet needs no more memory than a small one.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlmodel import Session, select

from profiles import consequences, plans, progress, targets
from profiles.consequences import Finding, SchoolLoad
from profiles.lint import Code
from profiles.models import PolicyRevision, Rollout
from profiles.progress import Stage
from profiles.rollouts import snapshot
from profiles.targets import Group


@dataclass(frozen=True, slots=True)
class Judged:
    """What it would do."""

    tablets: int
    """Whom it is about; those that are left out by hand are not among them."""
    changed: int
    """Those that are to hold something else."""
    harms: list[Finding]
    loads: list[SchoolLoad]
    """What reachable tablets fetch, by school."""


def judge(session: Session, rollout_id: UUID) -> Judged:
    """Compare what the tablets of a snapshot should hold now and once all of them have been told."""
    tablets = changed = 0
    harms: Counter[Finding] = Counter()
    schools: defaultdict[str, list[SchoolLoad]] = defaultdict(list)
    for ids, left_out in snapshot.pages(session, rollout_id):
        before = targets.groups(session, ids)
        after = targets.groups(session, ids, assumed=rollout_id)
        tablets += len(ids)
        changed += sum(len(group.device_ids) for group in after if group.changes)
        for harm in consequences.harm_done(before, after, plans.own_host()):
            harms[replace(harm, tablets=0)] += harm.tablets
        for load in consequences.loads(session, before, _only(after, lambda device: device not in left_out)):  # noqa: B023 - used at once
            schools[load.school].append(load)
    return Judged(
        tablets,
        changed,
        [replace(harm, tablets=number) for harm, number in harms.items()],
        [_together(parts) for _, parts in sorted(schools.items())],
    )


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


def _only(groups: Sequence[Group], wanted: Callable[[int], bool]) -> list[Group]:
    return [replace(each, device_ids=tuple(filter(wanted, each.device_ids))) for each in groups]


def _together(parts: Sequence[SchoolLoad]) -> SchoolLoad:
    return SchoolLoad(
        parts[0].school,
        sum(part.tablets for part in parts),
        max(part.bytes_each for part in parts),
        sum(part.bytes_in_all for part in parts),
    )
