"""The report of handling of one contractor (乙) and those below (丙): which handler did and read how much (R-31).

From the trail alone, as `handling` is, and counts only: which tablet or pupil it was stays in the trail.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from mdm.auditor.handling import SORTS, Sort, sort_of
from mdm.auth import Principal
from mdm.csvfile import csv_line
from mdm.organization.models import HandlerKind, Tier


@dataclass(frozen=True, slots=True)
class HandlerLine:
    """One sort of act of one handler's account."""

    organization: str
    tier: Tier
    label: str
    """The handler's number at its organization: no name."""
    kind: HandlerKind
    actor: str
    role: str
    """As it is now."""
    sort: Sort
    action: str
    count: int
    first_at: datetime
    last_at: datetime


_COUNT: Final = """
SELECT g.name, g.tier, h.label, h.kind, e.actor, o.role, e.action, count(*), min(e.at), max(e.at)
FROM audit_event e JOIN operator o ON e.actor = 'operator:' || o.name
JOIN organization g ON g.id = o.organization_id JOIN handler h ON h.id = o.handler_id
WHERE (g.id = :organization OR g.parent_id = :organization) AND e.at >= :since AND e.at < :until
    AND (CAST(:schools AS bigint[]) IS NULL OR (NOT o.all_schools AND NOT EXISTS (
        SELECT 1 FROM operator_school s WHERE s.operator_id = o.id AND s.school_id <> ALL(CAST(:schools AS bigint[])))))
GROUP BY g.id, h.id, o.id, e.actor, e.action ORDER BY g.tier, g.name, h.label, e.actor, e.action
"""
"""Who watches over some schools sees the accounts that can reach no others."""


def report(
    session: Session, principal: Principal, organization_id: int, since: datetime, until: datetime
) -> list[HandlerLine]:
    """Count the acts of a period by handler, account and action, of an organization and of those below it.

    That the caller may know of the organization is the caller's to see to.
    """
    period = {"organization": organization_id, "since": since, "until": until, "schools": principal.scope.parameter}
    return [
        HandlerLine(name, Tier(tier), label, HandlerKind(kind), actor, role, sort_of(action), action, *counted)
        for name, tier, label, kind, actor, role, action, *counted in session.execute(text(_COUNT), period)
    ]


_HEADERS: Final = (
    *("事業者", "区分", "取扱者番号", "取扱者の別", "アカウント", "役割"),
    *("種別", "操作", "件数", "最初", "最後"),
)
_TIERS: Final = {Tier.CONTRACTOR: "乙", Tier.SUBCONTRACTOR: "丙"}
_KINDS: Final = {HandlerKind.RESPONSIBLE: "取扱責任者", HandlerKind.HANDLER: "取扱者"}


def csv_lines(lines: Iterable[HandlerLine]) -> Iterator[str]:
    """Yield the report as CSV, as it is handed in: Japanese headers, UTC."""
    yield csv_line(_HEADERS)
    for line in lines:
        who = (line.organization, _TIERS.get(line.tier, ""), line.label, _KINDS[line.kind])
        what = (line.actor.removeprefix("operator:"), line.role, SORTS[line.sort], line.action, str(line.count))
        yield csv_line((*who, *what, *(each.isoformat(timespec="seconds") for each in (line.first_at, line.last_at))))
