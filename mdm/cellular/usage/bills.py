"""A cycle's bill: closes the cycle of each line that it names. What comes in later stands beside it.

Changes no day: the days stay as they were told.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final, NamedTuple

from sqlalchemy import text
from sqlmodel import Session

from mdm.cellular.cycles import Cycle
from mdm.cellular.models import CarrierAccount
from mdm.cellular.usage import stage, totals
from mdm.cellular.usage.ledger import Recorded, Telling


class Billed(NamedTuple):
    """What the bill says of one line; None where it does not say."""

    sim_id: int
    total: int | None
    yen: Decimal | None


def close(
    session: Session, account: CarrierAccount, cycle: Cycle, telling: Telling, billed: Iterable[Billed]
) -> Recorded:
    """Close a cycle of lines. What was closed before stays, and a bill that says otherwise now is an adjustment."""
    for statement in _TABLES.split(";"):
        session.execute(text(statement))
    connection: Any = session.connection().connection.driver_connection
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for each in billed:
            copy.write_row(each)
    return close_staged(session, account, cycle, telling)


def close_staged(session: Session, account: CarrierAccount, cycle: Cycle, telling: Telling) -> Recorded:
    """Close with what stands in the table `usage_bill`."""
    stage.hold(session, account)
    parameters = {"start": cycle.start, "as_of": telling.as_of, "raw": telling.raw_id}
    for statement in _TOUCH.split(";"):
        session.execute(text(statement), parameters)
    totals.add_up(session, account, [cycle])
    row = session.execute(text(_CLOSE), parameters).one()
    return Recorded(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it


_TABLES: Final = """
DROP TABLE IF EXISTS pg_temp.usage_bill;
CREATE TEMPORARY TABLE usage_bill (n integer GENERATED ALWAYS AS IDENTITY, sim_id bigint, total bigint,
    yen numeric(14, 2)) ON COMMIT DROP
"""
_COPY: Final = "COPY usage_bill (sim_id, total, yen) FROM STDIN"
_TOUCH: Final = """
DROP TABLE IF EXISTS pg_temp.usage_touched;
CREATE TEMPORARY TABLE usage_touched (sim_id bigint, cycle_start date) ON COMMIT DROP;
INSERT INTO usage_touched SELECT DISTINCT sim_id, CAST(:start AS date) FROM usage_bill
"""
_CLOSE: Final = """
WITH bill AS (
    SELECT DISTINCT ON (sim_id) * FROM usage_bill ORDER BY sim_id, n DESC
), judged AS MATERIALIZED (
    SELECT b.sim_id, b.total, b.yen, k.closed_at IS NOT NULL AS closed, k.billed_bytes, k.billed_yen,
        b.total - coalesce(k.billed_bytes, k.bytes_total) - coalesce((SELECT sum(a.delta_bytes) FROM usage_adjustment a
            WHERE k.closed_at IS NOT NULL AND a.sim_id = b.sim_id AND a.cycle_start = :start AND a.source = 'bill'), 0)
            AS delta
    FROM bill b JOIN usage_cycle k ON k.sim_id = b.sim_id AND k.cycle_start = :start
), closing AS (
    UPDATE usage_cycle k SET billed_bytes = j.total, billed_yen = j.yen, closed_at = :as_of, updated_at = now(),
        bytes_total = coalesce(j.total, k.bytes_total),
        source = CASE WHEN j.total IS NULL THEN k.source ELSE 'bill' END
    FROM judged j WHERE NOT j.closed AND k.sim_id = j.sim_id AND k.cycle_start = :start
), late AS (
    SELECT sim_id, coalesce(delta, 0) AS delta, CASE WHEN yen IS DISTINCT FROM billed_yen AND yen IS NOT NULL
        THEN format('another bill: %s yen, not %s', yen, coalesce(CAST(billed_yen AS text), 'none'))
        ELSE 'another bill' END AS reason, yen IS DISTINCT FROM billed_yen AND yen IS NOT NULL AS costs
    FROM judged WHERE closed
), adjusted AS (
    INSERT INTO usage_adjustment (sim_id, cycle_start, source, delta_bytes, raw_id, reason, made_at)
    SELECT sim_id, :start, 'bill', delta, :raw, reason, :as_of FROM late l
    WHERE delta <> 0 OR (costs AND NOT EXISTS (SELECT FROM usage_adjustment a WHERE a.sim_id = l.sim_id
        AND a.cycle_start = :start AND a.source = 'bill' AND a.reason = l.reason))
    RETURNING 1
), counted AS (
    SELECT count(*) FILTER (WHERE NOT closed) AS new, count(*) AS "all", (SELECT count(*) FROM adjusted) AS adjusted
    FROM judged
)
SELECT new, "all" - new - adjusted AS same, adjusted FROM counted
"""
