"""Hours into the ledger, and the exact days of the billing time zone that they add up to.

Where an interface's own days are UTC's, a day of these replaces it in what is shown. The day that an hour is in by the
source's clock is added up as well, even to nothing: otherwise its usage would show on two days.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import text
from sqlmodel import Session

from mdm import clock
from mdm.cellular.models import CarrierAccount, UsageSource
from mdm.cellular.usage import bounds, ledger, stage
from mdm.cellular.usage.ledger import Recorded, Telling


class ToldHour(NamedTuple):
    """What an interface says of one line's hour."""

    sim_id: int
    start: datetime
    total: int
    up: int | None
    down: int | None


def record(session: Session, account: CarrierAccount, telling: Telling, told: Iterable[ToldHour]) -> Recorded:
    """Bring hours into the ledger, then the days they are in; counts the hours."""
    _load(session, told)
    stage.hold(session, account)
    row = session.execute(text(_RECORD), {"source": telling.source.value}).one()
    stage.begin(session)
    parameters = {
        "source": telling.source.value,
        "tz": account.billing_tz,
        "own_tz": account.usage_tz,
        "kept": bounds.hours_kept(clock.now())[0],
    }
    for statement in (_TOUCHED, _ADD_UP):
        session.execute(text(statement), parameters)
    # Made from all hours there are, so nothing that was told before is newer.
    derived = replace(telling, source=UsageSource.HOURS, as_of=max(telling.as_of, clock.now()))
    days = ledger.record_told(session, account, derived)
    return Recorded(new=row.new, changed=row.changed, same=row.told - row.new - row.changed, adjusted=days.adjusted)


def _load(session: Session, told: Iterable[ToldHour]) -> None:
    for statement in _TABLES.split(";"):
        session.execute(text(statement))
    connection: Any = session.connection().connection.driver_connection
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for each in told:
            copy.write_row(each)


_TABLES: Final = """
DROP TABLE IF EXISTS pg_temp.usage_told_hour, pg_temp.usage_moved_hour, pg_temp.usage_touched_day;
CREATE TEMPORARY TABLE usage_told_hour (n integer GENERATED ALWAYS AS IDENTITY, sim_id bigint, start timestamptz,
    total bigint, up bigint, down bigint) ON COMMIT DROP;
CREATE TEMPORARY TABLE usage_moved_hour (sim_id bigint, start timestamptz) ON COMMIT DROP
"""
_COPY: Final = "COPY usage_told_hour (sim_id, start, total, up, down) FROM STDIN"
_RECORD: Final = """
WITH told AS (
    SELECT DISTINCT ON (start, sim_id) * FROM usage_told_hour ORDER BY start, sim_id, n DESC
), written AS (
    INSERT INTO usage_hourly AS h (hour_start, sim_id, source, bytes_total, bytes_up, bytes_down)
    SELECT start, sim_id, :source, total, up, down FROM told
    ON CONFLICT (hour_start, sim_id, source) DO UPDATE
    SET bytes_total = excluded.bytes_total, bytes_up = excluded.bytes_up, bytes_down = excluded.bytes_down
    WHERE (h.bytes_total, h.bytes_up, h.bytes_down)
        IS DISTINCT FROM (excluded.bytes_total, excluded.bytes_up, excluded.bytes_down)
    RETURNING new.sim_id, new.hour_start, old.sim_id IS NULL AS fresh
), moved AS (
    INSERT INTO usage_moved_hour SELECT sim_id, hour_start FROM written
)
SELECT count(*) FILTER (WHERE fresh) AS new, count(*) FILTER (WHERE NOT fresh) AS changed,
    (SELECT count(*) FROM told) AS told FROM written
"""
_TOUCHED: Final = """
CREATE TEMPORARY TABLE usage_touched_day ON COMMIT DROP AS
SELECT sim_id, CAST(start AT TIME ZONE :tz AS date) AS day FROM usage_moved_hour
UNION SELECT sim_id, CAST(start AT TIME ZONE :own_tz AS date) FROM usage_moved_hour
"""
# A day whose first hours are no longer kept cannot be added up any more, and stays as it is.
_ADD_UP: Final = """
INSERT INTO usage_told (sim_id, day, total, up, down, utc_offset)
WITH whole AS (
    SELECT * FROM usage_touched_day WHERE CAST(day AS timestamp) AT TIME ZONE :tz >= :kept
), hours AS (
    SELECT h.sim_id, CAST(h.hour_start AT TIME ZONE :tz AS date) AS day, sum(h.bytes_total) AS total,
        CASE WHEN count(h.bytes_up) = count(*) THEN sum(h.bytes_up) END AS up,
        CASE WHEN count(h.bytes_down) = count(*) THEN sum(h.bytes_down) END AS down
    FROM usage_hourly h WHERE h.source = :source AND h.sim_id IN (SELECT sim_id FROM whole)
        AND h.hour_start >= (SELECT CAST(min(day) AS timestamp) AT TIME ZONE :tz FROM whole)
        AND h.hour_start < (SELECT CAST(max(day) + 1 AS timestamp) AT TIME ZONE :tz FROM whole)
    GROUP BY 1, 2
)
SELECT w.sim_id, w.day, coalesce(h.total, 0), coalesce(h.up, CASE WHEN h.total IS NULL THEN 0 END),
    coalesce(h.down, CASE WHEN h.total IS NULL THEN 0 END),
    extract(epoch FROM CAST(w.day AS timestamp) AT TIME ZONE 'UTC' - CAST(w.day AS timestamp) AT TIME ZONE :tz) / 60
FROM whole w LEFT JOIN hours h ON h.sim_id = w.sim_id AND h.day = w.day
"""
