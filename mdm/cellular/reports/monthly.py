"""What lines used and cost, by month and school: from bills, else from plans' terms; pools' extras are shared out.

A month is the billing cycle that begins in it. A line counts for the school of the tablet it was in last in the cycle.
Its cost is its bill's; where none came, its plan's price by the terms of that cycle and, where the plan charges for it,
what went over its allowance. What was bought on top for a pool is shared out by use, to the sen. Without tax.
"""

import calendar
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session, select

from mdm.auth.principal import SCOPE_SQL, Scope
from mdm.cellular import cycles
from mdm.cellular.models import CarrierAccount
from mdm.errors import Invalid

MOST_MONTHS: Final = 24


@dataclass(frozen=True, slots=True)
class Month:
    """One school's month; without a school: lines that were in no tablet."""

    month: str
    """2026-11."""
    school_code: str | None
    school_name: str | None
    lines: int
    used_lines: int
    """Those that used anything."""
    bytes_total: int
    late_bytes: int
    """What came in after a cycle was closed, and is not in the total."""
    allowance_bytes: int
    """The sum of the lines' plans."""
    billed_lines: int
    unpriced_lines: int
    """Lines with neither a bill nor a plan with a price: they cost nothing here, and something in fact."""
    billed_yen: Decimal
    plan_yen: Decimal
    overage_yen: Decimal
    extra_yen: Decimal

    @property
    def total_yen(self) -> Decimal:
        """What it comes to."""
        return self.billed_yen + self.plan_yen + self.overage_yen + self.extra_yen


def month_of(written: str) -> date:
    """Read `2026-11` and return its first day; `Invalid` otherwise."""
    try:
        return datetime.strptime(written, "%Y-%m").replace(day=1).date()  # noqa: DTZ007 - a month has no time zone
    except ValueError:
        raise Invalid("a month is written 2026-11") from None


def report(session: Session, scope: Scope, first: date, last: date, *, school: str | None = None) -> list[Month]:
    """Return the months from the first to the last, by school, within the scope. `Invalid` for more than two years."""
    months = _months(first, last)
    held = session.exec(select(CarrierAccount)).all()
    spans = [(account, month, _cycle_in(month, account)) for account in held for month in months]
    parameters: dict[str, Any] = {
        "accounts": [account.id for account, _, _ in spans],
        "months": [month for _, month, _ in spans],
        "starts": [cycle.start for _, _, cycle in spans],
        "begins": [cycles.begins(cycle.start, account.billing_tz) for account, _, cycle in spans],
        "ends": [cycles.begins(cycle.end, account.billing_tz) for account, _, cycle in spans],
        "schools": scope.parameter,
        "school": school,
    }
    return [Month(**row._mapping) for row in session.execute(text(_REPORT), parameters)]  # noqa: SLF001 - a public name


def _months(first: date, last: date) -> list[date]:
    count = (last.year - first.year) * 12 + last.month - first.month + 1
    if not 0 < count <= MOST_MONTHS:
        raise Invalid(f"from one month to a later one, {MOST_MONTHS} at the most")
    places = [first.year * 12 + first.month - 1 + further for further in range(count)]
    return [date(place // 12, place % 12 + 1, 1) for place in places]


def _cycle_in(month: date, account: CarrierAccount) -> cycles.Cycle:
    """Return the one cycle that begins in a month."""
    last = month.replace(day=calendar.monthrange(month.year, month.month)[1])
    return cycles.of_day(last, account.cycle_anchor_day)


# Lines first, each with its terms and the school it was in; then sums by school and pool, among which the extras are
# shared out by cumulated parts, so that they come to what was paid; then by school, within the scope.
_REPORT: Final = f"""
WITH c AS (
    SELECT * FROM unnest(CAST(:accounts AS bigint[]), CAST(:months AS date[]), CAST(:starts AS date[]),
        CAST(:begins AS timestamptz[]), CAST(:ends AS timestamptz[])) AS c (account_id, month, start, begins, ends)
), terms AS MATERIALIZED (
    SELECT DISTINCT ON (v.plan_id, c.start) v.plan_id, c.start, v.allowance_bytes, v.overage, v.price_yen,
        v.overage_yen_per_gb
    FROM c JOIN plan p ON p.account_id = c.account_id JOIN plan_version v ON v.plan_id = p.id
        AND v.valid_from < c.ends AND (v.valid_to IS NULL OR v.valid_to > c.begins)
    ORDER BY v.plan_id, c.start, v.valid_from
), late AS MATERIALIZED (
    SELECT a.sim_id, a.cycle_start, sum(a.delta_bytes) AS bytes FROM usage_adjustment a
    WHERE a.cycle_start IN (SELECT start FROM c) GROUP BY a.sim_id, a.cycle_start
), line AS MATERIALIZED (
    SELECT c.month, s.id, coalesce(k.bytes_total, 0) AS bytes, k.billed_yen, k.closed_at IS NOT NULL AS closed,
        d.school_id, coalesce(k.pool_id, m.pool_id) AS pool_id, t.allowance_bytes, t.price_yen, t.overage,
        t.overage_yen_per_gb, coalesce(l.bytes, 0) AS late
    FROM c JOIN sim s ON s.account_id = c.account_id
    LEFT JOIN usage_cycle k ON k.sim_id = s.id AND k.cycle_start = c.start
    LEFT JOIN late l ON l.sim_id = s.id AND l.cycle_start = c.start
    LEFT JOIN terms t ON t.plan_id = coalesce(k.plan_id, s.plan_id) AND t.start = c.start
    LEFT JOIN LATERAL (SELECT b.device_id FROM sim_binding b WHERE b.sim_id = s.id AND b.valid_from < c.ends
        AND (b.valid_to IS NULL OR b.valid_to > c.begins) ORDER BY b.valid_from DESC LIMIT 1) b ON true
    LEFT JOIN LATERAL (SELECT m.pool_id FROM pool_membership m WHERE m.sim_id = s.id AND m.valid_from < c.ends
        AND (m.valid_to IS NULL OR m.valid_to > c.begins) ORDER BY m.valid_from LIMIT 1) m ON true
    LEFT JOIN device d ON d.id = b.device_id
    WHERE k.sim_id IS NOT NULL OR (s.created_at < c.ends AND s.effective_status NOT IN ('terminated', 'stock'))
), costed AS (
    SELECT *, CASE WHEN billed_yen IS NULL THEN coalesce(price_yen, 0) ELSE 0 END AS plan_yen,
        CASE WHEN billed_yen IS NULL AND pool_id IS NULL AND overage = 'charge' AND bytes > allowance_bytes
            THEN round((bytes - allowance_bytes) / 1e9 * coalesce(overage_yen_per_gb, 0), 2) ELSE 0 END AS overage_yen
    FROM line
), part AS (
    SELECT month, school_id, pool_id, count(*) AS lines, count(*) FILTER (WHERE bytes > 0) AS used_lines,
        sum(bytes) AS bytes, sum(late) AS late, sum(coalesce(allowance_bytes, 0)) AS allowance,
        count(*) FILTER (WHERE billed_yen IS NOT NULL) AS billed_lines,
        count(*) FILTER (WHERE billed_yen IS NULL AND price_yen IS NULL) AS unpriced,
        sum(coalesce(billed_yen, 0)) AS billed_yen, sum(plan_yen) AS plan_yen, sum(overage_yen) AS overage_yen
    FROM costed GROUP BY month, school_id, pool_id
), extra AS (
    SELECT c.month, x.pool_id, sum(coalesce(x.price_yen, 0)) AS yen FROM c JOIN plan_pool p
        ON p.account_id = c.account_id JOIN pool_extra x ON x.pool_id = p.id AND x.cycle_start = c.start
    GROUP BY c.month, x.pool_id
), weighed AS (
    SELECT *, CASE WHEN sum(bytes) OVER (PARTITION BY month, pool_id) > 0 THEN bytes ELSE lines END AS weight FROM part
), summed AS (
    SELECT *, sum(weight) OVER (PARTITION BY month, pool_id) AS all_weight, sum(weight) OVER (
        PARTITION BY month, pool_id ORDER BY school_id ROWS UNBOUNDED PRECEDING) AS so_far FROM weighed
), shared AS (
    SELECT coalesce(s.month, x.month) AS month, s.school_id, s.lines, s.used_lines, s.bytes, s.late, s.allowance,
        s.billed_lines, s.unpriced, s.billed_yen, s.plan_yen, s.overage_yen, CASE WHEN s.lines IS NULL THEN x.yen
        ELSE round(x.yen * so_far / all_weight, 2) - round(x.yen * (so_far - weight) / all_weight, 2) END AS extra_yen
    FROM summed s FULL JOIN extra x ON x.month = s.month AND x.pool_id = s.pool_id
)
SELECT to_char(r.month, 'YYYY-MM') AS month, c.code AS school_code, c.name AS school_name,
    CAST(coalesce(sum(lines), 0) AS bigint) AS lines, CAST(coalesce(sum(used_lines), 0) AS bigint) AS used_lines,
    CAST(coalesce(sum(bytes), 0) AS bigint) AS bytes_total, CAST(coalesce(sum(late), 0) AS bigint) AS late_bytes,
    CAST(coalesce(sum(allowance), 0) AS bigint) AS allowance_bytes,
    CAST(coalesce(sum(billed_lines), 0) AS bigint) AS billed_lines,
    CAST(coalesce(sum(unpriced), 0) AS bigint) AS unpriced_lines,
    coalesce(sum(billed_yen), 0) AS billed_yen, coalesce(sum(plan_yen), 0) AS plan_yen,
    coalesce(sum(overage_yen), 0) AS overage_yen, coalesce(sum(extra_yen), 0) AS extra_yen
FROM shared r LEFT JOIN school c ON c.id = r.school_id
WHERE {SCOPE_SQL.format(column="r.school_id")} AND (CAST(:school AS text) IS NULL OR c.code = :school)
GROUP BY r.month, c.code, c.name ORDER BY r.month, c.code NULLS LAST
"""
