"""Days into the ledger: what differs is changed and the former figure kept, closed cycles get adjustments beside them.

The natural key is line, day and source, so the same figures twice change nothing, and of two tellings the later counts
in whichever order they come in. Where a figure goes back to what it was (100, 120, 100) and the tellings come in out of
order, the next reading mends it: what is told again unchanged is not written.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from mdm.cellular.models import CarrierAccount, UsageSource
from mdm.cellular.usage import stage, totals
from mdm.cellular.usage.sources import better_than, worse_than
from mdm.cellular.usage.stage import PlainTold, Span, Told


@dataclass(frozen=True, slots=True)
class Recorded:
    """What figures did, in rows."""

    new: int = 0
    changed: int = 0
    same: int = 0
    """Also those that were told earlier than what stands, and came in after it."""
    adjusted: int = 0
    """Came after the cycle's bill: the difference stands beside it."""
    unknown: int = 0
    """Of lines that the account does not have in the inventory."""
    refused: int = 0
    """Cannot be: a day to come, one that is no longer kept, more than a radio can carry."""

    def __add__(self, other: "Recorded") -> "Recorded":
        """Add up what two lots did."""
        names = self.__slots__
        return Recorded(*(getattr(self, name) + getattr(other, name) for name in names))


@dataclass(frozen=True, slots=True)
class Telling:
    """Who said it, when, and what it was read from."""

    source: UsageSource
    as_of: datetime
    raw_id: int | None = None


def record(session: Session, account: CarrierAccount, telling: Telling, told: Iterable[Told | PlainTold]) -> Recorded:
    """Bring days into the ledger; `stage.load` and `record_told` in one."""
    stage.load(session, told)
    return record_told(session, account, telling)


def record_told(session: Session, account: CarrierAccount, telling: Telling) -> Recorded:
    """Bring what stands in `usage_told` into the ledger, one writer of an account at a time."""
    stage.hold(session, account)
    days = stage.span(session)
    if days is None:
        return Recorded()
    cycles = stage.cycles_of(session, account)
    for statement in _TABLES.split(";"):
        session.execute(text(statement))
    several = _has_several_sources(session, account, telling.source)
    row = session.execute(
        text(_RECORD),
        {
            "source": telling.source.value,
            "as_of": telling.as_of,
            "raw": telling.raw_id,
            "several": several,
            "first": days.first,
            "last": days.last,
        },
    ).one()
    if several:
        _show_the_best(session, telling.source, days)
    totals.add_up(session, account, cycles)
    return Recorded(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it


def _has_several_sources(session: Session, account: CarrierAccount, source: UsageSource) -> bool:
    """Most accounts have one, and need not look at each day whether somebody else has told it too."""
    if source is UsageSource.HOURS:
        return True
    found: bool = session.execute(
        text("SELECT EXISTS (SELECT FROM usage_raw WHERE account_id = :account AND source NOT IN (:source, 'bill'))"),
        {"account": account.id, "source": source.value},
    ).scalar_one()
    return found


def _show_the_best(session: Session, source: UsageSource, days: Span) -> None:
    parameters = {
        "source": source.value,
        "better": better_than(source),
        "worse": worse_than(source),
        "first": days.first,
        "last": days.last,
    }
    session.execute(text("ANALYZE usage_fresh"))
    for condition in (_WORSE, _NOT_BEST):
        session.execute(text(_SUPERSEDE + condition), parameters)


_TABLES: Final = """
DROP TABLE IF EXISTS pg_temp.usage_touched, pg_temp.usage_fresh;
CREATE TEMPORARY TABLE usage_touched (sim_id bigint, cycle_start date) ON COMMIT DROP;
CREATE TEMPORARY TABLE usage_fresh (sim_id bigint, day date) ON COMMIT DROP
"""
# The bounds on `usage_date` are for the planner: without them it reads every month there is.
_RECORD: Final = """
WITH told AS (
    SELECT DISTINCT ON (day, sim_id) * FROM usage_told ORDER BY day, sim_id, n DESC
), held AS (
    SELECT t.sim_id, t.day, y.cycle_start, t.total, t.utc_offset, d.revision, d.raw_id, d.bytes_total,
        coalesce(t.up, CASE WHEN t.total = d.bytes_total THEN d.bytes_up END) AS up,
        coalesce(t.down, CASE WHEN t.total = d.bytes_total THEN d.bytes_down END) AS down,
        coalesce(t.roaming, CASE WHEN t.total = d.bytes_total THEN d.bytes_roaming END) AS roaming,
        coalesce(t.sessions, CASE WHEN t.total = d.bytes_total THEN d.sessions END) AS sessions,
        d.bytes_up, d.bytes_down, d.bytes_roaming, d.sessions AS had_sessions, d.utc_offset AS had_offset,
        coalesce(d.updated_at > :as_of, false) AS outdated, k.sim_id IS NOT NULL AS closed
    FROM told t JOIN usage_day y ON y.day = t.day
    LEFT JOIN usage_cycle k ON k.sim_id = t.sim_id AND k.cycle_start = y.cycle_start AND k.closed_at IS NOT NULL
    LEFT JOIN usage_daily d ON d.usage_date = t.day AND d.sim_id = t.sim_id AND d.source = :source
        AND d.usage_date BETWEEN :first AND :last
), judged AS MATERIALIZED (
    SELECT sim_id, day, cycle_start, total, utc_offset, up, down, roaming, sessions, revision, raw_id, bytes_total,
        outdated, closed, NOT closed AND revision IS NULL AS fresh, NOT closed AND revision IS NOT NULL AND NOT outdated
        AND (total, up, down, roaming, sessions, utc_offset)
        IS DISTINCT FROM (bytes_total, bytes_up, bytes_down, bytes_roaming, had_sessions, had_offset) AS differs
    FROM held
), written AS (
    INSERT INTO usage_daily (usage_date, sim_id, source, bytes_total, bytes_up, bytes_down, bytes_roaming, sessions,
        utc_offset, raw_id, updated_at)
    SELECT day, sim_id, :source, total, up, down, roaming, sessions, utc_offset, :raw, :as_of FROM judged WHERE fresh
), corrected AS (
    UPDATE usage_daily d SET bytes_total = j.total, bytes_up = j.up, bytes_down = j.down, bytes_roaming = j.roaming,
        sessions = j.sessions, utc_offset = j.utc_offset, revision = d.revision + 1, raw_id = :raw, updated_at = :as_of
    FROM judged j WHERE j.differs AND d.usage_date = j.day AND d.sim_id = j.sim_id AND d.source = :source
        AND d.usage_date BETWEEN :first AND :last
), replaced AS (
    INSERT INTO usage_revision (replaced_at, sim_id, usage_date, source, revision, bytes_total, raw_id)
    SELECT clock_timestamp(), sim_id, day, :source, revision, bytes_total, raw_id FROM judged WHERE differs
), late AS (
    SELECT j.sim_id, j.cycle_start, j.day, j.total - coalesce(j.bytes_total, 0) - coalesce(a.told, 0) AS delta
    FROM judged j CROSS JOIN LATERAL (SELECT sum(a.delta_bytes) AS told, max(a.made_at) AS last FROM usage_adjustment a
        WHERE a.sim_id = j.sim_id AND a.cycle_start = j.cycle_start AND a.usage_date = j.day AND a.source = :source) a
    WHERE j.closed AND NOT j.outdated AND coalesce(a.last <= :as_of, true)
), adjusted AS (
    INSERT INTO usage_adjustment (sim_id, cycle_start, usage_date, source, delta_bytes, raw_id, reason, made_at)
    SELECT sim_id, cycle_start, day, :source, delta, :raw, 'came in after the bill', :as_of FROM late WHERE delta <> 0
    RETURNING 1
), touched AS (
    INSERT INTO usage_touched SELECT DISTINCT sim_id, cycle_start FROM judged WHERE fresh OR differs
), new AS (
    INSERT INTO usage_fresh SELECT sim_id, day FROM judged WHERE fresh AND :several
), counted AS (
    SELECT count(*) FILTER (WHERE fresh) AS new, count(*) FILTER (WHERE differs) AS changed, count(*) AS all,
        (SELECT count(*) FROM adjusted) AS adjusted FROM judged
)
SELECT new, changed, "all" - new - changed - adjusted AS same, adjusted FROM counted
"""
_SUPERSEDE: Final = """
UPDATE usage_daily d SET superseded = true FROM usage_fresh f
WHERE d.usage_date = f.day AND d.sim_id = f.sim_id AND d.usage_date BETWEEN :first AND :last AND NOT d.superseded
"""
_WORSE: Final = "AND d.source = ANY(:worse)"
_NOT_BEST: Final = (
    "AND d.source = :source AND EXISTS (SELECT FROM usage_daily o WHERE o.usage_date = f.day AND o.sim_id = f.sim_id"
    " AND o.usage_date BETWEEN :first AND :last AND o.source = ANY(:better))"
)
