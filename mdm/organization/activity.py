"""What the accounts of a contractor did, out of the audit trail: for the board and for who supervises (R-31, R-53)."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from mdm.auth import Principal
from mdm.organization import six
from mdm.organization.six import View

_ACTS = text(
    "SELECT e.id, e.at, o.id AS organization_id, e.actor, e.action, e.subject, e.details"
    " FROM audit_event e JOIN operator p ON e.actor = 'operator:' || p.name"
    " JOIN organization o ON o.id = p.organization_id"
    " WHERE (o.id = :organization OR o.parent_id = :organization)"
    # Who watches over some schools sees the accounts that can reach no others.
    " AND (CAST(:schools AS bigint[]) IS NULL OR (NOT p.all_schools AND NOT EXISTS ("
    "SELECT 1 FROM operator_school s WHERE s.operator_id = p.id AND s.school_id <> ALL(CAST(:schools AS bigint[])))))"
    " AND (CAST(:before AS bigint) IS NULL OR e.id < :before) ORDER BY e.id DESC LIMIT :limit"
)


@dataclass(frozen=True, slots=True)
class Act:
    """One act on record."""

    id: int
    at: datetime
    organization_id: int
    actor: str
    action: str
    subject: str
    details: dict[str, Any]


def acts(session: Session, principal: Principal, organization_id: int, *, before: int | None, limit: int) -> list[Act]:
    """Return acts of the accounts of an organization and of those below it, newest first, those before `before`."""
    found = session.execute(
        _ACTS,
        {
            "organization": organization_id,
            "schools": principal.scope.parameter,
            "before": before,
            "limit": limit,
        },
    )
    hidden = {"user_id"} if six.view_of(principal) is View.TABLET else set()
    return [
        replace(act, details={name: value for name, value in act.details.items() if name not in hidden})
        for act in (Act(*row) for row in found)
    ]
