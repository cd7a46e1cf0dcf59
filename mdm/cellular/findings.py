"""What does not fit together: seen, opened once it is sure enough, gone by itself, or closed by a person.

One live row for each thing (kind and subject). Looks for nothing itself and acts on nothing: reconciliation and the
anomaly rules say what they see, people close it. Details hold ids and figures, never numbers of lines or names.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlmodel import Session

from mdm import clock
from mdm.audit import chain
from mdm.cellular.models import FindingState
from mdm.errors import Conflict, NotFound
from mdm.safeguards import notices

FORGET_AFTER: Final = timedelta(days=90)
"""What was only suspected and went away is deleted then."""
_LISTED: Final = 50


class Severity(StrEnum):
    """How soon somebody must look."""

    HIGH = "high"
    """Whoever is on duty is called."""
    NORMAL = "normal"
    LOW = "low"


class Kind(StrEnum):
    """What does not fit."""

    SWAPPED_PAIR = "swapped_pair"
    """Two tablets' SIMs have changed places."""
    IN_OTHER_TABLET = "in_other_tablet"
    """The SIM is in another tablet of ours than the ledger says."""
    IN_FOREIGN_DEVICE = "in_foreign_device"
    """The network sees the SIM in a radio that is no tablet of ours."""
    FOREIGN_SIM = "foreign_sim"
    """One of our tablets has a SIM that is not ours."""
    NOT_SEEN = "not_seen"
    """Neither carrier nor tablet has said anything of it for thirty days."""
    NOT_IN_LEDGER = "not_in_ledger"
    """It is active and used, and in no tablet as far as the ledger knows."""
    ROAMING = "roaming"
    USED_WHILE_IDLE = "used_while_idle"
    """It is used while the ledger has its tablet in stock, in repair or returned."""
    USED_AFTER_SUSPENSION = "used_after_suspension"
    """It is used although we asked for its suspension."""
    SILENT_LINE = "silent_line"
    """It is paid for and never used."""
    UNUSUAL_USE = "unusual_use"
    NIGHT_USE = "night_use"
    SCHOOL_STEP = "school_step"
    """A whole school uses far more than before: one finding, not one for each tablet."""


SEVERITY: Final = {
    Kind.IN_FOREIGN_DEVICE: Severity.HIGH,
    Kind.ROAMING: Severity.HIGH,
    Kind.USED_AFTER_SUSPENSION: Severity.HIGH,
    Kind.SCHOOL_STEP: Severity.HIGH,
    Kind.NOT_SEEN: Severity.LOW,
    Kind.SILENT_LINE: Severity.LOW,
    Kind.NIGHT_USE: Severity.LOW,
}
"""What is not named is normal."""
OF_USE: Final = frozenset(
    {
        Kind.ROAMING,
        Kind.USED_WHILE_IDLE,
        Kind.USED_AFTER_SUSPENSION,
        Kind.SILENT_LINE,
        Kind.UNUSUAL_USE,
        Kind.NIGHT_USE,
        Kind.SCHOOL_STEP,
    }
)
"""Kinds that say what a line is used for; whoever may not see usage beside a person (R-26) does not see these."""
TITLES: Final = {
    Kind.SWAPPED_PAIR: "two tablets' SIMs have changed places",
    Kind.IN_OTHER_TABLET: "a SIM is in another tablet than the ledger says",
    Kind.IN_FOREIGN_DEVICE: "a SIM is in a foreign device",
    Kind.FOREIGN_SIM: "a foreign SIM is in a tablet",
    Kind.NOT_SEEN: "neither tablet nor carrier has seen a SIM for 30 days",
    Kind.NOT_IN_LEDGER: "a SIM is used and in no tablet of the ledger",
    Kind.ROAMING: "a line is used abroad",
    Kind.USED_WHILE_IDLE: "a line is used while its tablet is not handed out",
    Kind.USED_AFTER_SUSPENSION: "a line is used although its suspension was asked for",
    Kind.SILENT_LINE: "a line is paid for and never used",
    Kind.UNUSUAL_USE: "a line uses far more than it usually does",
    Kind.NIGHT_USE: "a line is used at night",
    Kind.SCHOOL_STEP: "a whole school uses far more than before",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing that somebody sees now."""

    subject: str
    """Our own ids, such as `sim:12` or `school:3`; it tells one from another."""
    sim_id: int | None = None
    device_id: int | None = None
    school_id: int | None = None
    """Whose people see it; None: only those of the whole district."""
    details: dict[str, Any] = field(default_factory=dict)
    evidence: str = ""
    """What tells one observation from the next, such as the moment or the day it speaks of; two open the finding."""
    sure: bool = False
    """Open it at once: figures that need no second look."""


def severity(kind: Kind) -> Severity:
    """Return how soon somebody must look at findings of this kind."""
    return SEVERITY.get(kind, Severity.NORMAL)


def see(session: Session, kind: Kind, seen: Iterable[Seen], *, whole: bool = False) -> Counter[str]:
    """Note what is seen now of one kind, and return how many were `new`, `opened` and are `gone`.

    With `whole`, what is not among them has gone. Whoever is on duty is called for high ones, once per call. Things
    that a person has closed for a while stay closed. Call it late in a transaction: it takes the lock of the trail.
    """
    rows = {each.subject: each for each in seen}
    now = clock.now()
    parameters = {"kind": kind.value, "seen": _json(rows.values(), now), "now": now}
    found = session.execute(text(_SEE), parameters).all()
    opened = sorted(row.id for row in found if row.opened_at == now)
    counts = Counter(new=sum(row.first_at == now and row.times == 1 for row in found), opened=len(opened))
    if whole:
        counts["gone"] = _gone(session, kind, sorted(rows), others=True)
    if opened:
        _tell(session, kind, opened)
    return +counts


def gone(session: Session, kind: Kind, subjects: Sequence[str]) -> int:
    """Note that these are no longer so; return how many there were."""
    return _gone(session, kind, subjects, others=False)


def close(session: Session, actor: str, finding_id: int, *, reason: str, quiet_days: int = 7) -> None:
    """Close a finding because a person says so; for `quiet_days` the same thing is not raised again.

    `NotFound`; `Conflict` where it is closed or gone already.
    """
    details = {"quiet_until": (clock.now() + timedelta(days=quiet_days)).isoformat()}
    closed = session.execute(
        text(
            "UPDATE sim_finding SET state = 'closed', closed_at = :now, closed_by = :by, close_reason = :reason,"
            " details = details || CAST(:details AS jsonb) WHERE id = :id AND state IN ('suspected', 'open')"
            " RETURNING kind"
        ),
        {
            "now": clock.now(),
            "by": actor[:80],
            "reason": reason[:400],
            "details": orjson.dumps(details).decode(),
            "id": finding_id,
        },
    ).scalar()
    if closed is None:
        known = session.execute(text("SELECT state FROM sim_finding WHERE id = :id"), {"id": finding_id}).scalar()
        if known is None:
            raise NotFound("there is no such finding")
        raise Conflict(f"the finding is {FindingState(known).value} already")
    # Not the reason: people write names into it, and the trail is for ever.
    record = {"kind": closed, "quiet_days": quiet_days}
    chain.record(session, actor, "sim_finding.close", f"sim_finding:{finding_id}", record)


def forget(session: Session) -> int:
    """Delete what was only ever suspected and went away long ago; return how many."""
    statement = text(
        "DELETE FROM sim_finding WHERE state = 'gone' AND opened_at IS NULL AND closed_at < :before RETURNING id"
    )
    return len(session.execute(statement, {"before": clock.now() - FORGET_AFTER}).all())


def _json(seen: Iterable[Seen], now: datetime) -> str:
    rows = [
        {
            "subject": each.subject[:64],
            "sim_id": each.sim_id,
            "device_id": each.device_id,
            "school_id": each.school_id,
            "details": each.details | {"evidence": each.evidence or now.isoformat()},
            "sure": each.sure,
        }
        for each in seen
    ]
    return orjson.dumps(rows).decode()


def _gone(session: Session, kind: Kind, subjects: Sequence[str], *, others: bool) -> int:
    which = "NOT subject = ANY(CAST(:subjects AS text[]))" if others else "subject = ANY(CAST(:subjects AS text[]))"
    statement = text(
        "UPDATE sim_finding SET state = 'gone', closed_at = :now"
        f" WHERE kind = :kind AND state IN ('suspected', 'open') AND {which} RETURNING id"
    )
    return len(session.execute(statement, {"kind": kind.value, "subjects": list(subjects), "now": clock.now()}).all())


def _tell(session: Session, kind: Kind, opened: Sequence[int]) -> None:
    """Put on record what was opened, and call whoever is on duty where it is high: once, however many there are."""
    details = {"kind": kind.value, "count": len(opened), "findings": list(opened[:_LISTED])}
    if severity(kind) is Severity.HIGH:
        notices.page(session, "sim_finding.open", f"{TITLES[kind]} ({len(opened)})", details)
    chain.record(session, "system:findings", "sim_finding.open", "sim_findings", details)


_NEW_EVIDENCE: Final = "f.details ->> 'evidence' IS DISTINCT FROM EXCLUDED.details ->> 'evidence'"
_SURE: Final = (
    f"EXCLUDED.state = 'open' OR {_NEW_EVIDENCE} OR f.first_at <= EXCLUDED.first_at - make_interval(days => 1)"
)
_SEE: Final = f"""
WITH it AS (SELECT CAST(:kind AS text) AS kind, CAST(:now AS timestamptz) AS now)
INSERT INTO sim_finding AS f
    (kind, subject, sim_id, device_id, school_id, state, details, first_at, last_at, opened_at)
SELECT it.kind, x.subject, x.sim_id, x.device_id, x.school_id, CASE WHEN x.sure THEN 'open' ELSE 'suspected' END,
    x.details, it.now, it.now, CASE WHEN x.sure THEN it.now END
FROM it, jsonb_to_recordset(CAST(:seen AS jsonb)) AS x
    (subject text, sim_id bigint, device_id bigint, school_id bigint, details jsonb, sure boolean)
WHERE NOT EXISTS (SELECT FROM sim_finding c WHERE c.kind = it.kind AND c.subject = x.subject AND c.state = 'closed'
    AND CAST(c.details ->> 'quiet_until' AS timestamptz) > it.now)
ORDER BY x.subject
ON CONFLICT (kind, subject) WHERE state IN ('suspected', 'open') DO UPDATE SET
    sim_id = EXCLUDED.sim_id, device_id = EXCLUDED.device_id, school_id = EXCLUDED.school_id,
    details = EXCLUDED.details, last_at = EXCLUDED.last_at, times = f.times + CAST({_NEW_EVIDENCE} AS integer),
    state = CASE WHEN f.state = 'open' OR {_SURE} THEN 'open' ELSE 'suspected' END,
    opened_at = CASE WHEN f.state = 'open' THEN f.opened_at WHEN {_SURE} THEN EXCLUDED.last_at END
RETURNING id, times, first_at, opened_at
"""
"""A new row is open at once only if it is sure; a live one when there is new evidence, or after a day (A3.4)."""
