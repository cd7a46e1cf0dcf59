"""Settles whether tablets are what they should be, from what they have said. It asks nothing and sends nothing.

What drifted is handed over again, once for each manifest; what drifted still is reported and left alone.
"""

from collections import Counter
from typing import Final

from sqlmodel import Session

from mdm import jobs
from mdm.audit import chain
from mdm.commands import artifacts, verification
from mdm.commands.verification import Answered, Finding, Settled
from mdm.devices import wakeups
from mdm.devices.models import Lane, VerificationStatus
from mdm.jobs import Job
from profiles.verification import UNPROVED, Difference, Wanted, compare, wanted

AT_ONCE: Final = 500
"""Tablets compared in one transaction."""
_MOST: Final = 50
"""Findings kept of one tablet."""


def check(session: Session, *, limit: int = AT_ONCE) -> Counter[str]:
    """Compare what up to `limit` tablets have answered, heal or report what drifted; returns tablets by new status."""
    ids = artifacts.hold_still(session, verification.answered(session, limit))
    manifests: dict[bytes, Wanted | None] = {}
    settled: list[Settled] = []
    for one in verification.answers(session, ids):
        if one.manifest not in manifests:
            manifests[one.manifest] = _wanted(session, one.manifest)
        status, differences = judge(manifests[one.manifest], one)
        drifted = {each.identifier for each in differences if each.what not in UNPROVED}
        again = sorted(drifted) if status is VerificationStatus.HEALING else ()
        settled.append(Settled(one, status, [_finding(each) for each in differences[:_MOST]], again))
        if status is VerificationStatus.DRIFTED:
            _report(session, one, differences)
    verification.record(session, settled)
    if healing := verification.forget(session, settled):
        wakeups.mark_due(session, healing, Lane.BULK)
        jobs.ring(session, Job.DISPATCH, lane=int(Lane.BULK))
    return Counter(one.status.value for one in settled)


def judge(manifest: Wanted | None, one: Answered) -> tuple[VerificationStatus, tuple[Difference, ...]]:
    """Say where one tablet stands, and what is not as it should be or not proved. None: nothing can be read off it."""
    if manifest is None:
        return VerificationStatus.UNSUPPORTED, ()
    listed = (one.profiles or {}).get("profiles", [])
    profiles = None if one.profiles is None else listed if isinstance(listed, list) else []
    differences = compare(manifest, profiles=profiles, restrictions=one.restrictions)
    if any(each.what not in UNPROVED for each in differences):
        return (VerificationStatus.DRIFTED if one.healed else VerificationStatus.HEALING), differences
    return (VerificationStatus.UNSUPPORTED if differences else VerificationStatus.VERIFIED), differences


def _wanted(session: Session, manifest: bytes) -> Wanted | None:
    bodies = [artifacts.body(session, artifact) for artifact in artifacts.items(session, manifest).values()]
    try:
        return wanted(bodies)
    except ValueError:
        return None  # of a kind that shows nothing of itself in these answers


def _finding(difference: Difference) -> Finding:
    return Finding(difference.identifier, difference.key, difference.what.value)


def _report(session: Session, one: Answered, differences: tuple[Difference, ...]) -> None:
    drifted = [f"{d.identifier}{f' {d.key}' if d.key else ''}: {d.what}" for d in differences if d.what not in UNPROVED]
    details = {"manifest": one.manifest.hex(), "drifted": drifted[:_MOST]}
    chain.record(session, "job:verify", "profile.drift", f"device:{one.device_id}", details)
