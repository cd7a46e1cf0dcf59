"""Finds limits that were passed, in SQL, and writes each down once per rule, subject, cycle and level. Acts on nothing.

What fired stays fired: when a correction brings a value below its limit again, that is noted beside it (A3.3). Only the
present cycle is looked at; what comes in later about a cycle that is over fires nothing any more.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session

from mdm import clock
from mdm.cellular import cycles, pools
from mdm.cellular.forecast.making import METHOD, day_of
from mdm.cellular.models import Watched
from mdm.cellular.stages.rules import Metric

_LAST_DAYS: Final = 3
"""Figures of a day come in so late."""
_PRESENT: Final = "k.cycle_start <= :today AND k.cycle_end > :today"
_LINE: Final = (
    " JOIN sim s ON s.id = {sim} LEFT JOIN plan_version v ON v.plan_id = s.plan_id AND v.valid_from <= :now"
    " AND (v.valid_to IS NULL OR v.valid_to > :now)"
)
_POOLS: Final = "unnest(CAST(:pools AS bigint[]), CAST(:allowances AS bigint[])) a (id, allowance)"
_MONTH: Final = "u.usage_date >= :month AND u.usage_date <= :today"


def _forecast(scope: Watched, column: str) -> str:
    allowance = {
        Watched.SIM: ("v.allowance_bytes", _LINE.format(sim="f.scope_id")),
        Watched.POOL: ("a.allowance", f" LEFT JOIN {_POOLS} ON a.id = f.scope_id"),
    }.get(scope, ("NULL::bigint", ""))
    return (
        f"SELECT f.scope_id AS id, f.cycle_start, f.{column} AS value, {allowance[0]} AS allowance"
        f" FROM forecast_snapshot f{allowance[1]} WHERE f.scope = '{scope.value}' AND f.method = '{METHOD}'"
        " AND f.made_on = :today"
    )


VALUES: Final[Mapping[tuple[Watched, Metric], str]] = {
    (Watched.SIM, Metric.USED): "SELECT k.sim_id AS id, k.cycle_start, k.bytes_total AS value,"
    " v.allowance_bytes AS allowance FROM usage_cycle k" + _LINE.format(sim="k.sim_id") + f" WHERE {_PRESENT}",
    (Watched.SIM, Metric.DAY): "SELECT k.sim_id AS id, k.cycle_start, u.value, v.allowance_bytes AS allowance FROM ("
    "SELECT sim_id, max(bytes_total) AS value FROM usage_shown WHERE usage_date >= :recent GROUP BY 1) u"
    f" JOIN usage_cycle k ON k.sim_id = u.sim_id AND {_PRESENT}" + _LINE.format(sim="k.sim_id"),
    (Watched.POOL, Metric.USED): "SELECT k.pool_id AS id, k.cycle_start, sum(k.bytes_total)::bigint AS value,"
    f" min(a.allowance) AS allowance FROM usage_cycle k LEFT JOIN {_POOLS} ON a.id = k.pool_id"
    f" WHERE k.pool_id IS NOT NULL AND {_PRESENT} GROUP BY 1, 2",
    (Watched.SCHOOL, Metric.USED): "SELECT d.school_id AS id, CAST(:month AS date) AS cycle_start,"
    " sum(u.bytes_total)::bigint AS value, NULL::bigint AS allowance FROM usage_shown u JOIN sim_binding b"
    f" ON b.sim_id = u.sim_id AND b.valid_to IS NULL JOIN device d ON d.id = b.device_id WHERE {_MONTH} GROUP BY 1",
    (Watched.FLEET, Metric.USED): "SELECT 0::bigint AS id, CAST(:month AS date) AS cycle_start,"
    f" coalesce(sum(u.bytes_total), 0)::bigint AS value, NULL::bigint AS allowance FROM usage_shown u WHERE {_MONTH}",
    **{
        (scope, metric): _forecast(scope, column)
        for scope in (Watched.SIM, Watched.POOL, Watched.SCHOOL, Watched.FLEET)
        for metric, column in ((Metric.FORECAST, "p50"), (Metric.FORECAST_HIGH, "p90"))
    },
}
"""How to find each value: id, cycle, value and allowance of every subject."""
_LIMIT: Final = "coalesce(r.limit_bytes, (x.allowance::numeric * r.limit_percent / 100)::bigint)"
_FIRE: Final = f"""
INSERT INTO threshold_event (rule_id, scope, scope_id, cycle_start, level, value_bytes, limit_bytes, action, fired_at)
SELECT r.id, r.scope, x.id, x.cycle_start, r.level, x.value, {_LIMIT}, r.action, :now
FROM threshold_rule r JOIN ({{values}}) x ON r.scope_id IS NULL OR r.scope_id = x.id
WHERE r.active AND r.scope = :scope AND r.metric = :metric AND x.value >= {_LIMIT} AND {_LIMIT} > 0
    AND (r.parameters ->> 'after_days' IS NULL OR EXISTS (SELECT FROM threshold_event e JOIN threshold_rule o
        ON o.id = e.rule_id WHERE o.scope = r.scope AND o.metric = r.metric AND o.level < r.level
        AND e.scope_id = x.id AND e.cycle_start = x.cycle_start
        AND e.fired_at <= :now - make_interval(days => (r.parameters ->> 'after_days')::int)))
ORDER BY r.level, x.id ON CONFLICT DO NOTHING RETURNING id
"""
_ANNOTATE: Final = """
UPDATE threshold_event e SET note = CASE WHEN x.value < e.limit_bytes
    THEN 'corrected since: ' || x.value || ' bytes, below the limit' ELSE '' END
FROM threshold_rule r, ({values}) x
WHERE r.id = e.rule_id AND r.scope = :scope AND r.metric = :metric AND x.id = e.scope_id
    AND x.cycle_start = e.cycle_start AND (x.value < e.limit_bytes OR e.note <> '')
    AND e.note IS DISTINCT FROM CASE WHEN x.value < e.limit_bytes
        THEN 'corrected since: ' || x.value || ' bytes, below the limit' ELSE '' END
RETURNING e.id
"""


def find(session: Session) -> tuple[int, int]:
    """Write down every limit that is passed now and was not before; return how many fired and how many were annotated.

    Two at once are harmless: the second one finds them written.
    """
    kinds = session.execute(text("SELECT DISTINCT scope, metric FROM threshold_rule WHERE active")).all()
    fired = noted = 0
    parameters = _parameters(session) if kinds else {}
    for scope, metric in sorted(kinds):
        values = VALUES.get((scope, metric))
        if values is None:  # a newer version's
            continue
        given = {**parameters, "scope": scope, "metric": metric}
        fired += len(session.execute(text(_FIRE.format(values=values)), given).all())
        if metric == Metric.USED:
            noted += len(session.execute(text(_ANNOTATE.format(values=values)), given).all())
    return fired, noted


def _parameters(session: Session) -> dict[str, Any]:
    now, allowances = clock.now(), {line.id: line.allowance_bytes for line in pools.every(session)}
    today: date = day_of(now)
    return {
        "now": now,
        "today": today,
        "recent": today - timedelta(days=_LAST_DAYS),
        "month": cycles.of_day(today, 1).start,
        "pools": list(allowances),
        "allowances": [each or None for each in allowances.values()],
    }
