"""What a check has found so far, tablet by tablet: its list and the evidence. Reads only, within scope."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from mdm.auth.principal import SCOPE_SQL, Principal, Scope
from mdm.auth.rights import Action, allowed
from mdm.checks.models import EvidenceKind, Hand
from mdm.checks.sought import STANDS
from mdm.devices import identifiers


class Status(StrEnum):
    """Where a tablet stands in a check."""

    VERIFIED = "verified"
    UNVERIFIED = "unverified"
    EXCLUDED = "excluded"


@dataclass(frozen=True, slots=True)
class Filters:
    """Which tablets of a check; all that is given must fit."""

    status: Status | None = None
    school: str | None = None
    year: int | None = None
    class_name: str | None = None
    control_number: str | None = None


@dataclass(frozen=True, slots=True)
class TaskLine:
    """A tablet of a check: no name, and the holder's user id only for those who may know who has it."""

    device_id: int
    control_number: str
    school_code: str
    school_name: str
    year: int | None
    class_name: str | None
    user_id: str | None
    state: str
    """In the ledger, when the check began."""
    state_now: str
    """In the ledger now, or when the check was closed; `case`: in an open case of loss."""
    hand: Hand | None
    excluded: str | None
    last_contact: datetime | None
    """When it last spoke with us, as of now or of the closing."""
    verified_at: datetime | None
    verified_by: EvidenceKind | None
    found_at: datetime | None
    """When it was last scanned without being verified by it: excluded, or by another school."""
    found_elsewhere: bool
    found_school: str | None
    """Where, if that school is in scope."""

    @property
    def status(self) -> Status:
        """Where it stands."""
        if self.excluded is not None:
            return Status.EXCLUDED
        return Status.UNVERIFIED if self.verified_at is None else Status.VERIFIED


@dataclass(frozen=True, slots=True)
class EvidenceLine:
    """One sign that a tablet is there."""

    id: int
    control_number: str
    kind: EvidenceKind
    seen_at: datetime
    recorded_at: datetime
    actor: str
    school: str | None
    hint: bool


def may_know_holders(principal: Principal) -> bool:
    """Say whether the principal may see who has a tablet."""
    return allowed(principal.role, Action.READ_NAME)


_AT_ONCE: Final = 5000
_STATUS: Final = {
    Status.VERIFIED: "t.verified_at IS NOT NULL",
    Status.UNVERIFIED: "t.verified_at IS NULL AND t.excluded IS NULL",
    Status.EXCLUDED: "t.excluded IS NOT NULL",
}
_TASKS: Final = f"""
SELECT d.id AS device_id, d.control_number, s.code AS school_code, s.name AS school_name, t.year, t.class_name,
    CASE WHEN :holders THEN h.user_id END AS user_id, t.state, coalesce(t.closed_state, {STANDS}) AS state_now, t.hand,
    t.excluded, CASE WHEN t.closed_state IS NULL THEN e.last_seen_at ELSE t.closed_seen_at END AS last_contact,
    t.verified_at, t.verified_by, f.seen_at AS found_at, coalesce(f.school_id <> t.school_id, false) AS found_elsewhere,
    CASE WHEN {SCOPE_SQL.format(column="f.school_id")} THEN w.code END AS found_school
FROM check_task t JOIN device d ON d.id = t.device_id JOIN school s ON s.id = t.school_id
    LEFT JOIN holder h ON h.id = t.holder_id LEFT JOIN enrollment e ON e.device_id = t.device_id
    LEFT JOIN LATERAL (
        SELECT v.seen_at, v.school_id FROM check_evidence v
        WHERE v.check_id = t.check_id AND v.device_id = t.device_id AND t.verified_at IS NULL ORDER BY v.id DESC LIMIT 1
    ) f ON true LEFT JOIN school w ON w.id = f.school_id
WHERE t.check_id = :id AND {SCOPE_SQL.format(column="t.school_id")}
"""


def tasks(
    session: Session,
    scope: Scope,
    check_id: UUID,
    filters: Filters,
    *,
    holders: bool,
    after: tuple[str, str] | None,
    limit: int,
) -> list[TaskLine]:
    """Return tablets of a check in the order of school and control number, those after `after` only."""
    conditions = [_TASKS]
    parameters: dict[str, Any] = {"id": check_id, "schools": scope.parameter, "holders": holders, "limit": limit}
    if filters.status is not None:
        conditions.append(_STATUS[filters.status])
    number = filters.control_number
    exact = {
        "s.code": filters.school,
        "t.year": filters.year,
        "t.class_name": filters.class_name,
        "d.control_number": None if number is None else identifiers.control_number(number),
    }
    for place, (column, value) in enumerate(exact.items()):
        if value is not None:
            conditions.append(f"{column} = :exact{place}")
            parameters[f"exact{place}"] = value
    if after is not None:
        conditions.append("(s.code, d.control_number) > (:after_code, :after_number)")
        parameters |= {"after_code": after[0], "after_number": after[1]}
    statement = " AND ".join(conditions) + " ORDER BY s.code, d.control_number LIMIT :limit"
    return [_task(dict(row._mapping)) for row in session.execute(text(statement), parameters)]  # noqa: SLF001 - SQLAlchemy's public name for it


def _task(row: dict[str, Any]) -> TaskLine:
    hand = None if row["hand"] is None else Hand(row["hand"])
    kind = None if row["verified_by"] is None else EvidenceKind(row["verified_by"])
    return TaskLine(**{**row, "hand": hand, "verified_by": kind})


def each(session: Session, scope: Scope, check_id: UUID, filters: Filters, *, holders: bool) -> Iterator[TaskLine]:
    """Yield all tablets of a check that fit, some thousand at a time."""
    after: tuple[str, str] | None = None
    while True:
        batch = tasks(session, scope, check_id, filters, holders=holders, after=after, limit=_AT_ONCE)
        yield from batch
        if len(batch) < _AT_ONCE:
            return
        after = (batch[-1].school_code, batch[-1].control_number)


def evidence(
    session: Session,
    scope: Scope,
    check_id: UUID,
    *,
    control_number: str | None,
    kind: EvidenceKind | None,
    before: int | None,
    limit: int,
) -> list[EvidenceLine]:
    """Return the evidence of tablets in scope, newest first."""
    statement = (
        "SELECT v.id, d.control_number, v.kind, v.seen_at, v.recorded_at, v.actor,"
        f" CASE WHEN {SCOPE_SQL.format(column='v.school_id')} THEN s.code END, v.hint"
        " FROM check_evidence v JOIN check_task t ON t.check_id = v.check_id AND t.device_id = v.device_id"
        " JOIN device d ON d.id = v.device_id LEFT JOIN school s ON s.id = v.school_id"
        f" WHERE v.check_id = :id AND {SCOPE_SQL.format(column='t.school_id')}"
        " AND (CAST(:number AS text) IS NULL OR d.control_number = :number)"
        " AND (CAST(:kind AS text) IS NULL OR v.kind = :kind)"
        " AND (CAST(:before AS bigint) IS NULL OR v.id < :before) ORDER BY v.id DESC LIMIT :limit"
    )
    parameters = {
        "id": check_id,
        "schools": scope.parameter,
        "number": None if control_number is None else identifiers.control_number(control_number),
        "kind": None if kind is None else kind.value,
        "before": before,
        "limit": limit,
    }
    rows = session.execute(text(statement), parameters)
    return [EvidenceLine(id_, number, EvidenceKind(what), *rest) for id_, number, what, *rest in rows]
