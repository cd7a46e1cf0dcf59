"""Read how tablets stand, for the rule of `fitness`; and which of them a filter means. Changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, text
from sqlmodel import Session, select

from mdm.auth import SCOPE_SQL, Scope
from mdm.campaigns.fitness import Facts, Why, unfit
from mdm.campaigns.terms import MOST, Filter
from mdm.checks.models import EvidenceKind
from mdm.checks.sought import SOUGHT
from mdm.commands.kinds import Kind
from mdm.devices import identifiers
from mdm.devices.models import LedgerState
from mdm.errors import Invalid, NotFound
from mdm.organization import schools
from mdm.safeguards import thresholds
from mdm.safeguards.threshold_values import Name

_FACTS: Final = f"""
WITH scan AS (
    SELECT DISTINCT ON (v.device_id) v.device_id, v.id, v.seen_at, v.school_id
    FROM check_evidence v JOIN check_task t ON t.check_id = v.check_id AND t.device_id = v.device_id
    -- What was scanned before it was returned was scanned in its holder's hands.
    WHERE v.kind = '{EvidenceKind.SCAN.value}' AND NOT v.hint AND t.state = '{LedgerState.RETURNED.value}'
        AND v.device_id = ANY(CAST(:ids AS bigint[]))
    ORDER BY v.device_id, v.id DESC
), place AS (
    SELECT DISTINCT ON (device_id) device_id, id, school_id FROM check_evidence
    WHERE kind = '{EvidenceKind.SCAN.value}' AND school_id IS NOT NULL AND device_id = ANY(CAST(:ids AS bigint[]))
    ORDER BY device_id, id DESC
)
SELECT d.id AS device_id, d.serial, d.control_number, d.school_id, s.code AS school, d.state, d.holder_id,
    coalesce(e.status, 'absent') AS status, coalesce(e.epoch, 0) AS epoch, {SOUGHT} AS sought, scan.id AS scan_id,
    scan.seen_at AS scanned_at, scan.school_id AS scanned_in, place.id AS place_id, place.school_id AS place,
    EXISTS (
        SELECT FROM campaign_tablet t JOIN campaign c ON c.id = t.campaign_id
        WHERE t.device_id = d.id AND t.state IN ('waiting', 'held', 'sent') AND c.id <> CAST(:mine AS uuid)
            AND c.state IN ('requested', 'approved', 'running', 'paused')
    ) AS campaign,
    EXISTS (
        SELECT FROM command w WHERE w.device_id = d.id AND w.kind = '{Kind.WIPE.value}'
            AND w.state IN ('held', 'queued', 'sent', 'delivered', 'not_now')
            AND NOT EXISTS (SELECT FROM campaign_tablet t WHERE t.command_id = w.id)
    ) AS wipe
FROM device d JOIN school s ON s.id = d.school_id LEFT JOIN enrollment e ON e.device_id = d.id
    LEFT JOIN scan ON scan.device_id = d.id LEFT JOIN place ON place.device_id = d.id
WHERE d.id = ANY(CAST(:ids AS bigint[])) ORDER BY d.id
"""
_MEANT: Final = f"""
SELECT d.id, d.control_number,
    (CAST(:codes AS text[]) IS NULL OR s.code = ANY(CAST(:codes AS text[])))
    AND (CAST(:lease AS text) IS NULL OR d.lease_contract = :lease)
    AND (CAST(:check AS uuid) IS NULL OR EXISTS (
        SELECT FROM check_evidence v WHERE v.check_id = CAST(:check AS uuid) AND v.device_id = d.id
            AND v.kind = '{EvidenceKind.SCAN.value}' AND NOT v.hint)) AS chosen
FROM device d JOIN school s ON s.id = d.school_id
WHERE {SCOPE_SQL.format(column="d.school_id")}
    AND CASE WHEN CAST(:numbers AS text[]) IS NULL THEN d.state = '{LedgerState.RETURNED.value}'
        ELSE d.control_number = ANY(CAST(:numbers AS text[])) END
ORDER BY d.id
"""
_NOBODY: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a filter comes to: who is in, and who was meant and is left out."""

    tablets: list[Facts]
    left_out: list[dict[str, str]]
    """`control_number` (or `#3`: the third of a list, which is none) and `reason`."""
    school_ids: list[int]
    """Of all of them that are known."""


def now(session: Session) -> datetime:
    """Return the moment by the database's clock, by which campaigns live."""
    moment: datetime = session.exec(select(func.clock_timestamp())).one()
    return moment


def facts_of(session: Session, device_ids: Sequence[int], *, mine: UUID | None = None) -> dict[int, Facts]:
    """Return how tablets stand, by id; `mine` is the campaign that asks, which is no other one."""
    rows = session.execute(text(_FACTS), {"ids": list(device_ids), "mine": mine or _NOBODY}).mappings()
    return {row["device_id"]: Facts(**row) for row in rows}


def choose(session: Session, scope: Scope, wanted: Filter) -> Chosen:
    """Return which tablets in scope a filter means, and why others are left out. `Invalid` for an unknown school."""
    numbers, spoilt = _numbers(wanted)
    parameters = {
        "codes": _codes(session, scope, wanted),
        "lease": wanted.lease_contract,
        "check": wanted.check,
        "numbers": numbers,
        "schools": scope.parameter,
    }
    meant = session.execute(text(_MEANT), parameters).all()
    found = facts_of(session, [row.id for row in meant])
    days = thresholds.current(session)[Name.CAMPAIGN_STOCKTAKE_DAYS]
    moment = now(session)
    tablets, left_out = [], spoilt
    for row in meant:
        if not row.chosen and numbers is None:
            continue
        why = unfit(found[row.id], now=moment, days=days) if row.chosen else Why.NOT_CHOSEN
        if why is None:
            tablets.append(found[row.id])
        else:
            left_out.append({"control_number": row.control_number, "reason": why.value})
    known = {row.control_number for row in meant}
    missing = [{"control_number": each, "reason": Why.UNKNOWN.value} for each in numbers or () if each not in known]
    if len(tablets) > MOST:
        raise Invalid(f"these are {len(tablets):,} tablets, and a campaign holds {MOST:,} at most; part them")
    said = {each["control_number"] for each in left_out}
    ids = {each.school_id for each in tablets}
    ids |= {found[row.id].school_id for row in meant if row.control_number in said}
    return Chosen(tablets, left_out + missing, sorted(ids))


def _codes(session: Session, scope: Scope, wanted: Filter) -> list[str] | None:
    """Return the codes of the schools as they are written; `Invalid` names one that is not in scope."""
    if wanted.schools is None:
        return None
    codes, errors = [], []
    for place, code in enumerate(wanted.schools):
        try:
            codes.append(schools.find_school(session, scope, code).code)
        except NotFound:
            errors.append({"pointer": f"/filter/schools/{place}", "detail": "there is no such school"})
    if errors:
        raise Invalid("not every school is known", errors=errors)
    return codes


def _numbers(wanted: Filter) -> tuple[list[str] | None, list[dict[str, str]]]:
    """Return the control numbers of a list, each once, and those that are none."""
    if wanted.control_numbers is None:
        return None, []
    numbers: dict[str, None] = {}
    spoilt = []
    for place, given in enumerate(wanted.control_numbers, start=1):
        try:
            numbers[identifiers.control_number(given)] = None
        except Invalid:
            # Not what was given: people paste anything.
            spoilt.append({"control_number": f"#{place}", "reason": Why.MALFORMED.value})
    return list(numbers), spoilt
