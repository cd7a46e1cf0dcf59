"""Lines one by one: which used most, which are paid for and idle, and what one used. By control number, never a name.

Reads the figures that are shown (`usage_shown`); within the scope of the tablet that the line is in.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session

from mdm.auth.principal import SCOPE_SQL, Scope
from mdm.cellular import sims
from mdm.cellular.models import UsageSource
from mdm.cellular.usage import reading
from mdm.cellular.usage.reading import DayUsed


@dataclass(frozen=True, slots=True)
class Top:
    """One of the lines that used most in a span of days."""

    sim_id: int
    control_number: str | None
    device_id: int | None
    school_code: str | None
    account: str
    plan: str | None
    bytes_total: int
    bytes_before: int
    """In as many days before."""
    days: int
    """Days on which it used anything."""


@dataclass(frozen=True, slots=True)
class Idle:
    """A line that is active and has used nothing for so long."""

    sim_id: int
    control_number: str | None
    device_id: int | None
    device_state: str | None
    school_code: str | None
    account: str
    plan: str | None
    price_yen: Decimal | None
    """What its plan costs in a cycle."""
    last_used_on: date | None
    last_online_at: datetime | None


@dataclass(frozen=True, slots=True)
class Cycle:
    """One billing cycle of a line."""

    cycle_start: date
    cycle_end: date
    source: UsageSource | None
    bytes_total: int
    billed_yen: Decimal | None
    closed_at: datetime | None
    late_bytes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What one line used."""

    sim_id: int
    control_number: str | None
    account: str
    plan: str | None
    pool: str | None
    days: list[DayUsed]
    cycles: list[Cycle]


def top(session: Session, scope: Scope, first: date, last: date, *, school: str | None, limit: int) -> list[Top]:
    """Return the lines that used most from the first day to the last, most first."""
    days = (last - first).days + 1
    parameters = {
        "first": first,
        "last": last,
        "before": first - timedelta(days=days),
        "schools": scope.parameter,
        "school": school,
        "limit": limit,
        "within": not scope.all_schools or school is not None,
    }
    return [Top(**row._mapping) for row in session.execute(text(_TOP), parameters)]  # noqa: SLF001 - a public name


def idle(
    session: Session, scope: Scope, since: date, *, school: str | None, after: int | None, limit: int
) -> list[Idle]:
    """Return active lines that have used nothing since a day, by id; those that are known longer than that."""
    parameters = {
        "since": since,
        "schools": scope.parameter,
        "school": school,
        "after": after or 0,
        "limit": limit,
    }
    return [Idle(**row._mapping) for row in session.execute(text(_IDLE), parameters)]  # noqa: SLF001 - as above


def of_line(session: Session, scope: Scope, sim_id: int, first: date, last: date) -> Usage:
    """Return one line's days of a span and its cycles that touch it; `NotFound` outside the scope."""
    found = sims.one(session, scope, sim_id)
    parameters: dict[str, Any] = {"sim": sim_id, "first": first, "last": last}
    days = reading.of_line(session, sim_id, first, last)[::-1]
    kept = [
        Cycle(**{**row._mapping, "source": None if row.source is None else UsageSource(row.source)})  # noqa: SLF001 - as above
        for row in session.execute(text(_CYCLES), parameters)
    ]
    return Usage(sim_id, found.control_number, found.account, found.plan, found.pool, days, kept)


# A line is asked for by where it is now. Without a bound on schools the most are found before anything is joined.
_TOP: Final = f"""
WITH most AS MATERIALIZED (
    SELECT sim_id, CAST(sum(bytes_total) AS bigint) AS bytes, count(*) FILTER (WHERE bytes_total > 0) AS days
    FROM usage_shown WHERE usage_date BETWEEN :first AND :last AND (NOT :within OR sim_id IN (
        SELECT b.sim_id FROM sim_binding b JOIN device d ON d.id = b.device_id JOIN school c ON c.id = d.school_id
        WHERE b.valid_to IS NULL AND {SCOPE_SQL.format(column="d.school_id")}
            AND (CAST(:school AS text) IS NULL OR c.code = :school)))
    GROUP BY sim_id HAVING sum(bytes_total) > 0 ORDER BY bytes DESC, sim_id LIMIT :limit
), earlier AS (
    SELECT sim_id, CAST(sum(bytes_total) AS bigint) AS bytes FROM usage_shown
    WHERE usage_date >= :before AND usage_date < :first AND sim_id IN (SELECT sim_id FROM most) GROUP BY sim_id
)
SELECT m.sim_id, d.control_number, d.id AS device_id, c.code AS school_code, a.name AS account, p.code AS plan,
    m.bytes AS bytes_total, coalesce(e.bytes, 0) AS bytes_before, m.days
FROM most m JOIN sim s ON s.id = m.sim_id JOIN carrier_account a ON a.id = s.account_id
LEFT JOIN plan p ON p.id = s.plan_id LEFT JOIN earlier e ON e.sim_id = m.sim_id
LEFT JOIN sim_binding b ON b.sim_id = s.id AND b.valid_to IS NULL LEFT JOIN device d ON d.id = b.device_id
LEFT JOIN school c ON c.id = d.school_id
ORDER BY m.bytes DESC, m.sim_id
"""
_IDLE: Final = f"""
WITH used AS MATERIALIZED (
    SELECT DISTINCT sim_id FROM usage_shown WHERE usage_date >= :since AND bytes_total > 0
)
SELECT s.id AS sim_id, d.control_number, d.id AS device_id, d.state AS device_state, c.code AS school_code,
    a.name AS account, p.code AS plan, v.price_yen, u.day AS last_used_on, s.last_online_at
FROM sim s JOIN carrier_account a ON a.id = s.account_id LEFT JOIN plan p ON p.id = s.plan_id
LEFT JOIN plan_version v ON v.plan_id = s.plan_id AND v.valid_from <= now()
    AND (v.valid_to IS NULL OR v.valid_to > now())
LEFT JOIN sim_binding b ON b.sim_id = s.id AND b.valid_to IS NULL LEFT JOIN device d ON d.id = b.device_id
LEFT JOIN school c ON c.id = d.school_id
LEFT JOIN LATERAL (SELECT x.usage_date AS day FROM usage_shown x WHERE x.sim_id = s.id AND x.bytes_total > 0
    ORDER BY x.usage_date DESC LIMIT 1) u ON true
WHERE s.id > :after AND s.effective_status IN ('active', 'unknown')
    AND (s.created_at < :since OR u.day IS NOT NULL)
    AND s.id NOT IN (SELECT sim_id FROM used) AND {SCOPE_SQL.format(column="d.school_id")}
    AND (CAST(:school AS text) IS NULL OR c.code = :school)
ORDER BY s.id LIMIT :limit
"""
_CYCLES: Final = """
SELECT k.cycle_start, k.cycle_end, k.source, k.bytes_total, k.billed_yen, k.closed_at,
    CAST(coalesce((SELECT sum(a.delta_bytes) FROM usage_adjustment a
        WHERE a.sim_id = k.sim_id AND a.cycle_start = k.cycle_start), 0) AS bigint) AS late_bytes
FROM usage_cycle k WHERE k.sim_id = :sim AND k.cycle_end > :first AND k.cycle_start <= :last ORDER BY k.cycle_start DESC
"""
