"""How good forecasts were: fills in what cycles came to, scores what was kept, and looks back over past cycles."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from mdm.cellular import cycles
from mdm.cellular.forecast import making, series
from mdm.cellular.forecast.series import NO_SCHOOL, Counts
from mdm.cellular.forecast.weighing import many
from mdm.cellular.models import Watched
from mdm.organization import calendars

LATE: Final = timedelta(days=2)
"""The last days of a cycle come in so late."""
KEPT_FOR: Final = timedelta(days=400)
"""So long, then those of single lines are deleted; those of pools, schools and the fleet stay."""
KEPT_DAYS: Final = (5, 10, 15, 20)
"""Of single lines only the forecasts of these days of a cycle are kept, once it is over."""
_DAYS: Final = "u.usage_date >= :start AND u.usage_date < :end"
_OF: Final = {
    Watched.SIM: "SELECT s.id, sum(u.bytes_total) AS total FROM usage_shown u JOIN sim s ON s.id = u.sim_id"
    f" WHERE s.account_id = :account AND {_DAYS} GROUP BY 1",
    Watched.POOL: "SELECT m.pool_id AS id, sum(u.bytes_total) AS total FROM usage_shown u"
    " JOIN sim s ON s.id = u.sim_id AND s.account_id = :account JOIN pool_membership m ON m.sim_id = s.id"
    " AND m.valid_from <= u.usage_date::timestamp AT TIME ZONE :zone"
    f" AND (m.valid_to IS NULL OR m.valid_to > u.usage_date::timestamp AT TIME ZONE :zone) WHERE {_DAYS} GROUP BY 1",
    Watched.SCHOOL: "SELECT d.school_id AS id, sum(u.bytes_total) AS total FROM usage_shown u JOIN sim_binding b"
    f" ON b.sim_id = u.sim_id AND b.valid_to IS NULL JOIN device d ON d.id = b.device_id WHERE {_DAYS} GROUP BY 1",
    Watched.FLEET: f"SELECT 0 AS id, sum(u.bytes_total) AS total FROM usage_shown u WHERE {_DAYS}",
}
"""What cycles came to. A school's lines are those that it has now."""


def fill(session: Session, now: datetime) -> int:
    """Write down what the last cycles came to, again when corrections came in; return how many forecasts changed."""
    made, changed = making.day_of(now), 0
    session.execute(
        text("DELETE FROM forecast_snapshot WHERE scope = 'sim' AND made_on < :day"), {"day": made - KEPT_FOR}
    )
    held = session.execute(text("SELECT id, cycle_anchor_day, billing_tz FROM carrier_account")).all()
    month = cycles.before(cycles.of_day(made, 1), 1)
    for scope in (Watched.SCHOOL, Watched.FLEET):
        changed += _fill(session, made, scope, month, account=None, zone=None)
    for account in held:
        cycle = cycles.before(cycles.of_day(made, account.cycle_anchor_day), account.cycle_anchor_day)
        for scope in (Watched.POOL, Watched.SIM):
            changed += _fill(session, made, scope, cycle, account=account.id, zone=account.billing_tz)
    return changed


def _fill(
    session: Session, made: date, scope: Watched, cycle: cycles.Cycle, *, account: int | None, zone: str | None
) -> int:
    if made < cycle.end + LATE:
        return 0
    parameters = {"start": cycle.start, "end": cycle.end, "scope": scope.value, "account": account, "zone": zone}
    if scope is Watched.SIM:
        kept = [cycle.start + timedelta(days=day) for day in KEPT_DAYS]
        session.execute(
            text(
                "DELETE FROM forecast_snapshot f USING sim s WHERE f.scope = 'sim' AND f.cycle_start = :start"
                " AND s.id = f.scope_id AND s.account_id = :account AND f.made_on <> ALL (CAST(:kept AS date[]))"
            ),
            {**parameters, "kept": kept},
        )
    done = session.execute(
        text(
            f"UPDATE forecast_snapshot f SET actual_bytes = x.total FROM ({_OF[scope]}) x WHERE f.scope = :scope"
            " AND f.scope_id = x.id AND f.cycle_start = :start AND f.actual_bytes IS DISTINCT FROM x.total"
        ),
        parameters,
    )
    return int(done.rowcount)  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Score:
    """How good the forecasts of one kind were that were made on one day of their cycle."""

    scope: Watched
    day: int
    """Days of the cycle that were over."""
    forecasts: int
    error: float
    """Median of how far the middle was off, as a part of what it came to."""
    bias: float
    """The same with its sign: above zero is too high."""
    inside: float
    """How many lay between p10 and p90; eight in ten would be right."""
    run_rate: float | None = None
    """The error of going on straight at the rate so far."""
    last_cycle: float | None = None
    """The error of saying that it will be as in the last cycle."""


def of_kept(session: Session, *, since: date) -> list[Score]:
    """Score the forecasts that were kept of cycles that began since a day."""
    rows = session.execute(
        text(
            "SELECT scope, made_on - cycle_start AS day, count(*) AS forecasts,"
            " percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(p50::float8 / actual_bytes - 1)) AS error,"
            " percentile_cont(0.5) WITHIN GROUP (ORDER BY p50::float8 / actual_bytes - 1) AS bias,"
            " avg((actual_bytes BETWEEN p10 AND p90)::int)::float8 AS inside FROM forecast_snapshot"
            " WHERE actual_bytes > 0 AND cycle_start >= :since AND method = :method GROUP BY 1, 2 ORDER BY 1, 2"
        ),
        {"since": since, "method": making.METHOD},
    )
    return [Score(Watched(row.scope), row.day, row.forecasts, row.error, row.bias, row.inside) for row in rows]


def back(session: Session, now: datetime, *, count: int, days: Iterable[int]) -> list[Score]:
    """Say what would have been forecast on some days of the last `count` whole cycles, beside two simple ways.

    Uses nothing that lay ahead then, but lines are taken to have been in the pools and schools they are in now, and
    corrections to have been there from the beginning. Each pool and school needs a cycle before the one that is scored.
    """
    made = making.day_of(now)
    oldest = cycles.of_day(made, 1)
    for _ in range(count):
        oldest = cycles.before(oldest, 1)
    window = (made - oldest.start).days + series.BACK
    first = made - timedelta(days=window)
    read = series.read(session, made, now, back=window, as_now=True)
    held = calendars.calendars_of(session, {NO_SCHOOL, *read.schools})
    anchors, of_pools = series.anchors(session), making.pools_of(session)
    scopes = [(Watched.FLEET, 0, 1, list(read.schools.items()))]
    scopes += [(Watched.SCHOOL, each, 1, [(each, counts)]) for each, counts in read.schools.items() if each]
    scopes += [(Watched.POOL, each, anchors[of_pools[each]], of) for each, of in making.by_pool(read).items()]
    found: dict[tuple[Watched, int], list[tuple[float, ...]]] = {}
    for scope, _, anchor, members in scopes:
        cycle = cycles.of_day(made, anchor)
        for _ in range(count):
            cycle = cycles.before(cycle, anchor)
            for day in days:
                if (one := _once(cycle, day, members, held, first=first, anchor=anchor)) is not None:
                    found.setdefault((scope, day), []).append(one)
    return [_score(scope, day, errors) for (scope, day), errors in sorted(found.items())]


def _once(
    cycle: cycles.Cycle,
    day: int,
    members: list[tuple[int, Counts]],
    held: making.Calendars,
    *,
    first: date,
    anchor: int,
) -> tuple[float, ...] | None:
    """Return the signed error, whether it was inside, and the errors of both simple ways; None without a past."""
    made = cycle.start + timedelta(days=day)
    before = cycles.before(cycle, anchor)

    def total(begin: date, end: date) -> int:
        span = range((end - begin).days)
        return sum(counts.totals.get(begin + timedelta(days=n), 0) for _, counts in members for n in span)

    actual, last, used = total(cycle.start, cycle.end), total(before.start, cycle.start), total(cycle.start, made)
    if not 0 < day < cycle.days or actual == 0 or last == 0:
        return None
    frame = series.frame_of(made, anchor, first=max(first, made - timedelta(days=series.BACK)))
    forecast = many(frame, making.parts(members, frame, held), seed=f"{made}").forecast
    straight = used / day * cycle.days
    inside = float(forecast.p10 <= actual <= forecast.p90)
    return forecast.p50 / actual - 1, inside, straight / actual - 1, last / actual - 1


def _score(scope: Watched, day: int, errors: list[tuple[float, ...]]) -> Score:
    def off(which: int) -> float:
        return median(abs(each[which]) for each in errors)

    inside = sum(each[1] for each in errors) / len(errors)
    return Score(scope, day, len(errors), off(0), median(each[0] for each in errors), inside, off(2), off(3))
