"""Counters that run through a cycle: readings are kept, and days are the differences between them.

A cycle's total is what its counter last said. A fall is never negative use: either the carrier has corrected the
counter, and no earlier reading counts for more than a later one, or it began the next cycle before we did, and what
follows is of that one. Days are made anew from all readings of the cycle, so these may come in in any order.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import text
from sqlmodel import Session

from mdm import clock
from mdm.cellular import cycles
from mdm.cellular.models import CarrierAccount
from mdm.cellular.usage import ledger, stage
from mdm.cellular.usage.ledger import Recorded, Telling

EARLY: Final = timedelta(hours=48)
"""A carrier's counter may start anew so long before the cycle ends by the account's own clock."""


class Reading(NamedTuple):
    """What a line's counter stood at."""

    sim_id: int
    taken_at: datetime
    cycle_start: date
    total: int
    sessions: int | None
    final: bool


def record(session: Session, account: CarrierAccount, telling: Telling, readings: Iterable[Reading]) -> Recorded:
    """Keep readings and bring the days they make into the ledger; counts the readings."""
    _load(session, readings)
    stage.hold(session, account)
    row = session.execute(text(_KEEP), {"raw": telling.raw_id}).one()
    stage.begin(session)
    starts = session.execute(text("SELECT DISTINCT cycle_start FROM usage_moved_reading ORDER BY 1")).scalars()
    for start in list(starts):
        cycle = cycles.of_day(start, account.cycle_anchor_day)
        session.execute(
            text(_DAYS),
            {
                "start": start,
                "end": cycle.end,
                "begins": cycles.begins(start, account.billing_tz),
                "ends": cycles.begins(cycle.end, account.billing_tz),
                "early": EARLY,
                "tz": account.billing_tz,
                "source": telling.source.value,
            },
        )
    derived = replace(telling, as_of=max(telling.as_of, clock.now()))
    days = ledger.record_told(session, account, derived)
    return Recorded(new=row.new, changed=row.changed, same=row.told - row.new - row.changed, adjusted=days.adjusted)


def _load(session: Session, readings: Iterable[Reading]) -> None:
    for statement in _TABLES.split(";"):
        session.execute(text(statement))
    connection: Any = session.connection().connection.driver_connection
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for each in readings:
            copy.write_row(each)


_TABLES: Final = """
DROP TABLE IF EXISTS pg_temp.usage_told_reading, pg_temp.usage_moved_reading;
CREATE TEMPORARY TABLE usage_told_reading (n integer GENERATED ALWAYS AS IDENTITY, sim_id bigint, taken_at timestamptz,
    cycle_start date, total bigint, sessions integer, final boolean) ON COMMIT DROP;
CREATE TEMPORARY TABLE usage_moved_reading (sim_id bigint, cycle_start date) ON COMMIT DROP
"""
_COPY: Final = "COPY usage_told_reading (sim_id, taken_at, cycle_start, total, sessions, final) FROM STDIN"
_KEEP: Final = """
WITH told AS (
    SELECT DISTINCT ON (taken_at, sim_id) * FROM usage_told_reading ORDER BY taken_at, sim_id, n DESC
), written AS (
    INSERT INTO usage_snapshot AS s (taken_at, sim_id, cycle_start, bytes_total, sessions, final, raw_id)
    SELECT taken_at, sim_id, cycle_start, total, sessions, final, :raw FROM told
    ON CONFLICT (taken_at, sim_id) DO UPDATE SET bytes_total = excluded.bytes_total, sessions = excluded.sessions,
        cycle_start = excluded.cycle_start, final = excluded.final, raw_id = excluded.raw_id
    WHERE (s.bytes_total, s.sessions, s.cycle_start, s.final)
        IS DISTINCT FROM (excluded.bytes_total, excluded.sessions, excluded.cycle_start, excluded.final)
    RETURNING new.sim_id, new.cycle_start, old.cycle_start AS former, old.sim_id IS NULL AS fresh
), moved AS (
    INSERT INTO usage_moved_reading SELECT sim_id, cycle_start FROM written
    UNION SELECT sim_id, former FROM written WHERE former IS NOT NULL
)
SELECT count(*) FILTER (WHERE fresh) AS new, count(*) FILTER (WHERE NOT fresh) AS changed,
    (SELECT count(*) FROM told) AS told FROM written
"""
# What lies between two readings is of the day in which the middle between them lies: one that is taken after midnight
# tells mostly of the day before.
_DAYS: Final = """
INSERT INTO usage_told (sim_id, day, total, utc_offset)
WITH line AS (
    SELECT sim_id FROM usage_moved_reading WHERE cycle_start = :start
), reading AS (
    SELECT s.sim_id, s.taken_at, s.bytes_total, s.final, lag(s.bytes_total) OVER w AS before
    FROM usage_snapshot s WHERE s.sim_id IN (SELECT sim_id FROM line) AND s.cycle_start = :start
        AND s.taken_at >= CAST(:begins AS timestamptz) - interval '2 days'
    WINDOW w AS (PARTITION BY s.sim_id ORDER BY s.taken_at)
), own AS (
    SELECT *, min(taken_at) FILTER (WHERE NOT final AND bytes_total * 2 < before
        AND taken_at > CAST(:ends AS timestamptz) - CAST(:early AS interval)) OVER (PARTITION BY sim_id) AS next_from
    FROM reading
), settled AS (
    SELECT sim_id, least(taken_at, :ends) AS taken_at, min(bytes_total) OVER (PARTITION BY sim_id
        ORDER BY taken_at DESC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS total
    FROM own WHERE final OR next_from IS NULL OR taken_at < next_from
), step AS (
    SELECT sim_id, total - lag(total, 1, CAST(0 AS bigint)) OVER w AS total, taken_at,
        lag(taken_at, 1, CAST(:begins AS timestamptz)) OVER w AS since
    FROM settled WINDOW w AS (PARTITION BY sim_id ORDER BY taken_at, total)
), dated AS (
    SELECT sim_id, least(greatest(CAST((since + (taken_at - since) / 2) AT TIME ZONE :tz AS date), :start),
        CAST(:end AS date) - 1) AS day, sum(total) AS total FROM step GROUP BY 1, 2
), had AS (
    SELECT d.sim_id, d.usage_date AS day FROM usage_daily d WHERE d.source = :source AND d.usage_date >= :start
        AND d.usage_date < :end AND d.sim_id IN (SELECT sim_id FROM line)
)
SELECT sim_id, day, coalesce(total, 0),
    extract(epoch FROM CAST(day AS timestamp) AT TIME ZONE 'UTC' - CAST(day AS timestamp) AT TIME ZONE :tz) / 60
FROM dated FULL JOIN had USING (sim_id, day) WHERE total > 0 OR had.day IS NOT NULL
"""
