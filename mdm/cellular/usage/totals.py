"""What lines used in a billing cycle, added up from the days that are shown. Leaves closed cycles alone."""

from collections.abc import Iterable
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from mdm.cellular import cycles
from mdm.cellular.models import CarrierAccount
from mdm.cellular.usage.sources import BEST_FIRST


def add_up(session: Session, account: CarrierAccount, touched: Iterable[cycles.Cycle]) -> None:
    """Bring the cycles of lines up to date that stand in the table `usage_touched`."""
    for cycle in touched:
        session.execute(
            text(_ADD_UP),
            {
                "account": account.id,
                "start": cycle.start,
                "end": cycle.end,
                "best": BEST_FIRST,
                "begins": cycles.begins(cycle.start, account.billing_tz),
                "ends": cycles.begins(cycle.end, account.billing_tz),
            },
        )


_ADD_UP: Final = """
INSERT INTO usage_cycle AS k
    (sim_id, cycle_start, cycle_end, account_id, plan_id, pool_id, source, bytes_total, updated_at)
SELECT u.sim_id, :start, :end, :account, s.plan_id, (
        SELECT m.pool_id FROM pool_membership m WHERE m.sim_id = u.sim_id AND m.valid_from < :ends
            AND (m.valid_to IS NULL OR m.valid_to > greatest(least(now(), CAST(:ends AS timestamptz)
                - interval '1 second'), CAST(:begins AS timestamptz))) ORDER BY m.valid_from LIMIT 1),
    (CAST(:best AS text[]))[u.best], u.total, now()
FROM (
    SELECT t.sim_id, coalesce(sum(d.bytes_total), 0) AS total,
        min(CASE d.source WHEN 'bill' THEN 1 WHEN 'hours' THEN 2 WHEN 'api' THEN 3 WHEN 'csv' THEN 4 ELSE 5 END) AS best
    FROM usage_touched t LEFT JOIN usage_daily d ON d.sim_id = t.sim_id AND d.usage_date >= :start
        AND d.usage_date < :end AND NOT d.superseded
    WHERE t.cycle_start = :start GROUP BY t.sim_id
) u JOIN sim s ON s.id = u.sim_id
ON CONFLICT (sim_id, cycle_start) DO UPDATE SET bytes_total = excluded.bytes_total, source = excluded.source,
    plan_id = excluded.plan_id, pool_id = excluded.pool_id, updated_at = excluded.updated_at
WHERE k.closed_at IS NULL AND (k.bytes_total, k.source, k.plan_id, k.pool_id)
    IS DISTINCT FROM (excluded.bytes_total, excluded.source, excluded.plan_id, excluded.pool_id)
"""
