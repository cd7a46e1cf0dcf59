"""How far a check is: tablets counted for schools and classes, and who was told. Reads only, within scope."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from mdm.auth.principal import SCOPE_SQL, Scope
from mdm.checks.models import Step


@dataclass(frozen=True, slots=True)
class Counts:
    """Tablets of a check, or of a part of it."""

    listed: int
    """To be verified."""
    verified: int
    by_checkin: int
    by_scan: int
    by_word: int
    unverified: int
    must_be_seen: int
    """Of the unverified: spares and the like, for which a check-in does not do."""
    silent: int
    """Of the unverified: had been silent for long when the check began."""
    excluded: int


_COUNTS: Final = (
    "count(*) FILTER (WHERE t.excluded IS NULL), count(t.verified_at),"
    " count(*) FILTER (WHERE t.verified_by = 'checkin'), count(*) FILTER (WHERE t.verified_by = 'scan'),"
    " count(*) FILTER (WHERE t.verified_by = 'word'),"
    " count(*) FILTER (WHERE t.excluded IS NULL AND t.verified_at IS NULL),"
    " count(*) FILTER (WHERE t.verified_at IS NULL AND t.hand = 'must_be_seen'),"
    " count(*) FILTER (WHERE t.verified_at IS NULL AND t.hand = 'silent'), count(t.excluded)"
)


@dataclass(frozen=True, slots=True)
class SchoolCounts:
    """The counts of one school."""

    school_code: str
    school_name: str
    counts: Counts


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """The counts of one class; both None are the tablets that no class has."""

    year: int | None
    class_name: str | None
    counts: Counts


@dataclass(frozen=True, slots=True)
class StepLine:
    """An escalation that was done."""

    step: Step
    school_code: str | None
    done_at: datetime
    unverified: int


def total(session: Session, scope: Scope, check_id: UUID) -> Counts:
    """Count a check's tablets in scope."""
    statement = (
        f"SELECT {_COUNTS} FROM check_task t WHERE t.check_id = :id AND {SCOPE_SQL.format(column='t.school_id')}"
    )
    return Counts(*session.execute(text(statement), {"id": check_id, "schools": scope.parameter}).one())


def of_schools(session: Session, scope: Scope, check_id: UUID) -> list[SchoolCounts]:
    """Count a check's tablets in scope school by school, in the order of codes."""
    statement = (
        f"SELECT s.code, s.name, {_COUNTS} FROM check_task t JOIN school s ON s.id = t.school_id"
        f" WHERE t.check_id = :id AND {SCOPE_SQL.format(column='t.school_id')} GROUP BY s.id ORDER BY s.code"
    )
    rows = session.execute(text(statement), {"id": check_id, "schools": scope.parameter})
    return [SchoolCounts(code, name, Counts(*counts)) for code, name, *counts in rows]


def of_classes(session: Session, check_id: UUID, school_id: int) -> list[ClassCounts]:
    """Count a check's tablets of one school class by class; those of no class come last."""
    statement = (
        f"SELECT t.year, t.class_name, {_COUNTS} FROM check_task t WHERE t.check_id = :id AND t.school_id = :school"
        " GROUP BY t.year, t.class_name ORDER BY t.year NULLS LAST, t.class_name NULLS LAST"
    )
    rows = session.execute(text(statement), {"id": check_id, "school": school_id})
    return [ClassCounts(year, name, Counts(*counts)) for year, name, *counts in rows]


def steps(session: Session, scope: Scope, check_id: UUID) -> list[StepLine]:
    """Return the escalations that were done, oldest first; the board's only for those who see all schools."""
    statement = (
        "SELECT x.step, s.code, x.done_at, x.unverified FROM check_step x LEFT JOIN school s ON s.id = x.school_id"
        " WHERE x.check_id = :id AND CASE WHEN x.school_id IS NULL THEN CAST(:schools AS bigint[]) IS NULL"
        f" ELSE {SCOPE_SQL.format(column='x.school_id')} END ORDER BY x.id"
    )
    rows = session.execute(text(statement), {"id": check_id, "schools": scope.parameter})
    return [StepLine(Step(step), *rest) for step, *rest in rows]
