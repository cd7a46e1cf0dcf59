"""The regular round of the audit trail: verify what is new, sign how far it is whole, bring that elsewhere.

Verifying and signing are one transaction, shipping comes after its commit. It must not mend anything it finds.
"""

from typing import Final

import structlog
from sqlmodel import Session

from mdm import db
from mdm.audit import chain, checkpoints, inspection
from mdm.audit.checkpoints import Checkpoint
from mdm.audit.inspection import Verdict
from mdm.safeguards import notices
from mdm.settings import get_settings

_log = structlog.get_logger(__name__)
_ACTOR: Final = "job:audit"


def look() -> tuple[Verdict, Checkpoint | None]:
    """Do one round; the checkpoint is None for a trail that is broken or empty, or without a key to sign with."""
    with db.transaction() as session:
        if chain.is_unsealed(session):
            # The past has no seals: one event that has one fixes it as it is now.
            chain.record(session, _ACTOR, "audit.seal", "audit")
    with db.transaction() as session:
        verdict = inspection.verify_new(session)
        signed = _signed(session, verdict) if verdict.intact else None
    if not verdict.intact:
        counts = [f"{finding.fault} at {finding.place or '?'}" for finding in verdict.findings]
        _log.error("audit_trail_broken", count=verdict.faults, detail=", ".join(counts))
        with db.transaction() as session:
            _page(session, verdict)
    elif signed is not None:
        checkpoints.ship(signed)
    return verdict, signed


def _signed(session: Session, verdict: Verdict) -> Checkpoint | None:
    key = get_settings().audit.signing_key_file
    if verdict.last == 0:
        return None
    if key is None:
        _log.warning("audit_not_signed", reason="no audit.signing_key_file is set")
        return None
    checkpoint = checkpoints.sign(verdict.last, verdict.head, key)
    checkpoints.add(session, checkpoint, walked_to=verdict.walked_to)
    return checkpoint


def _page(session: Session, verdict: Verdict) -> None:
    """Page once for each thing that is wrong; it is found again every five minutes."""
    matters = [f"audit:{each.fault.value}:{each.place}:{each.event_id}" for each in verdict.findings]
    if new := notices.not_yet_told(session, matters):
        details = {"faults": verdict.faults, "findings": [each.removeprefix("audit:") for each in new]}
        notices.page(session, "audit.broken", "The audit trail does not hold: somebody has changed it", details)
