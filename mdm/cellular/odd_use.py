"""Looks for use that cannot be, or is not usual, and says so to `findings`. Acts on nothing (lte-and-usage A3.6).

What cannot be is looked for every hour: abroad, while the tablet is not handed out, after a suspension. What is only
unusual is looked for once a day, when the day before has come in: lines that are paid for and never used, a line far
above its own days, at night, and a whole school, which is one finding and not one for each of its lines.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session

from mdm import clock
from mdm.cellular import cycles, findings, rounds
from mdm.cellular.findings import Kind as FindingKind
from mdm.cellular.findings import Seen
from mdm.cellular.forecast.days import kinds
from mdm.cellular.forecast.making import day_of
from mdm.cellular.odd_days import NUDGE, Newest, SchoolDay, newest
from mdm.organization import calendars

NOW: Final = "use_that_cannot_be"
DAILY: Final = "unusual_use"
_BREATHER: Final = timedelta(hours=1)
_STICKS: Final = timedelta(days=14)
"""Use that cannot be is shown so long after its last day."""
_SEEN_FOR: Final = timedelta(days=7)
"""The same for what is unusual; a second such day within it makes it sure."""
_BACK: Final = timedelta(days=56)
FLOOR: Final = 500_000_000
"""Bytes in a day below which nothing of a single line is unusual (A3.6)."""
SURE: Final = 10 * FLOOR
Z: Final = 4.0
_IDLE_FLOOR: Final = 1_000_000
"""Bytes in a day that a tablet on a shelf may use by itself."""
_FEWEST_DAYS: Final = 10
_BEGINS: Final = "(u.usage_date::timestamp AT TIME ZONE 'UTC' - make_interval(mins => u.utc_offset))"
_WHERE: Final = (
    " LEFT JOIN sim_binding b ON b.sim_id = s.id AND b.valid_to IS NULL LEFT JOIN device d ON d.id = b.device_id"
)
_OLD: Final = (
    "SELECT subject FROM sim_finding WHERE kind = :kind AND state IN ('suspected', 'open')"
    " AND details ->> 'day' < :since"
)
_ROAMING: Final = f"""
SELECT x.sim_id, d.id AS device_id, d.school_id, max(x.day)::text AS day, max(x.bytes) AS bytes FROM (
    SELECT sim_id, usage_date AS day, bytes_roaming AS bytes FROM usage_daily
    WHERE usage_date >= :since AND bytes_roaming > 0
    UNION ALL SELECT sim_id, (observed_at AT TIME ZONE 'Asia/Tokyo')::date, NULL FROM sim_observation
    WHERE observed_at >= :since AND roaming AND sim_id IS NOT NULL
) x JOIN sim s ON s.id = x.sim_id {_WHERE} GROUP BY 1, 2, 3
"""
_IDLE: Final = f"""
SELECT s.id AS sim_id, d.id AS device_id, d.school_id, d.state, max(u.usage_date)::text AS day,
    sum(u.bytes_total)::bigint AS bytes
FROM device d JOIN sim_binding b ON b.device_id = d.id AND b.valid_to IS NULL JOIN sim s ON s.id = b.sim_id
JOIN usage_shown u ON u.sim_id = s.id AND u.usage_date >= :since AND u.bytes_total >= :floor
    AND {_BEGINS} >= greatest(d.updated_at, b.valid_from)
WHERE d.state IN ('stock', 'repair', 'returned') GROUP BY 1, 2, 3, 4
"""
_SUSPENDED: Final = f"""
SELECT s.id AS sim_id, d.id AS device_id, d.school_id, max(u.usage_date)::text AS day,
    sum(u.bytes_total)::bigint AS bytes
FROM sim s JOIN usage_shown u ON u.sim_id = s.id AND u.usage_date >= :since AND u.bytes_total > 0
    AND {_BEGINS} >= CASE WHEN s.effective_status = 'suspended' THEN s.status_changed_at
        ELSE s.intended_at + interval '1 day' END {_WHERE}
WHERE s.effective_status = 'suspended' OR s.intended_status = 'suspended' GROUP BY 1, 2, 3
"""
_SILENT: Final = f"""
SELECT s.id AS sim_id, d.id AS device_id, d.school_id, CAST(:end AS date)::text AS day, d.state
FROM sim s {_WHERE} WHERE s.account_id = :account AND s.effective_status = 'active' AND s.created_at < :begins
    AND EXISTS (SELECT FROM usage_cycle k WHERE k.account_id = s.account_id AND k.cycle_start = :start
        AND k.bytes_total > 0)
    AND NOT EXISTS (SELECT FROM usage_shown u WHERE u.sim_id = s.id AND u.usage_date >= :start AND u.bytes_total > 0)
"""
_SCHOOLS: Final = """
SELECT d.school_id, u.usage_date AS day, count(*) AS lines,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY u.bytes_total)::bigint AS median
FROM usage_shown u JOIN sim_binding b ON b.sim_id = u.sim_id AND b.valid_to IS NULL JOIN device d ON d.id = b.device_id
WHERE u.usage_date >= :since AND u.usage_date < :today GROUP BY 1, 2
"""
_LINES: Final = f"""
WITH t AS (SELECT * FROM unnest(CAST(:schools AS bigint[]), CAST(:days AS date[]), CAST(:shifts AS float8[]))
    t (school_id, day, shift)),
alike AS (SELECT * FROM unnest(CAST(:of AS bigint[]), CAST(:alike AS date[])) k (school_id, day)),
big AS (SELECT u.sim_id, d.id AS device_id, t.school_id, t.day, u.bytes_total AS bytes,
        ln(u.bytes_total + {NUDGE}::float8) - t.shift AS x
    FROM t JOIN device d ON d.school_id = t.school_id
    JOIN sim_binding b ON b.device_id = d.id AND b.valid_to IS NULL
    JOIN usage_shown u ON u.sim_id = b.sim_id AND u.usage_date = t.day AND u.bytes_total >= :floor),
past AS (SELECT big.sim_id, ln(u.bytes_total + {NUDGE}::float8) AS x FROM big
    JOIN alike ON alike.school_id = big.school_id
    JOIN usage_shown u ON u.sim_id = big.sim_id AND u.usage_date = alike.day),
middle AS (SELECT sim_id, percentile_cont(0.5) WITHIN GROUP (ORDER BY x) AS x FROM past
    GROUP BY 1 HAVING count(*) >= {_FEWEST_DAYS}),
spread AS (SELECT p.sim_id, percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(p.x - m.x)) AS mad
    FROM past p JOIN middle m USING (sim_id) GROUP BY 1)
SELECT big.sim_id, big.device_id, big.school_id, big.day::text AS day, big.bytes,
    round(((big.x - m.x) / greatest(1.4826 * s.mad, 0.3))::numeric, 1)::float8 AS z,
    greatest(exp(m.x) - {NUDGE}, 0)::bigint AS usual
FROM big JOIN middle m USING (sim_id) JOIN spread s USING (sim_id)
WHERE (big.x - m.x) / greatest(1.4826 * s.mad, 0.3) >= :z
"""
_NIGHT: Final = f"""
SELECT s.id AS sim_id, d.id AS device_id, d.school_id, CAST(:today AS date)::text AS day, max(h.bytes) AS bytes FROM (
    SELECT sim_id, source, sum(bytes_total)::bigint AS bytes FROM usage_hourly
    WHERE hour_start >= :evening AND hour_start < :morning GROUP BY 1, 2 HAVING sum(bytes_total) >= :floor
) h JOIN sim s ON s.id = h.sim_id {_WHERE} GROUP BY 1, 2, 3
"""


def look_now(session: Session) -> Counter[str]:
    """Look for use that cannot be, once an hour; empty when it is not time, or another worker is at it."""
    now = clock.now()
    mine = rounds.take(session, NOW)
    if mine is None or (mine.finished_at is not None and now - mine.finished_at < _BREATHER):
        return Counter()
    since = {"since": day_of(now) - _STICKS, "floor": _IDLE_FLOOR}
    found: list[tuple[FindingKind, list[Seen]]] = []
    for kind, statement in (
        (FindingKind.ROAMING, _ROAMING),
        (FindingKind.USED_WHILE_IDLE, _IDLE),
        (FindingKind.USED_AFTER_SUSPENSION, _SUSPENDED),
    ):
        # Two days of it, or two looks a day apart, for what a late entry in the ledger would explain.
        sure = kind is not FindingKind.USED_WHILE_IDLE
        rows = session.execute(text(statement), since)
        seen = [_seen(dict(row._mapping), sure=sure) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it
        found.append((kind, seen))
    done: Counter[str] = Counter()
    for kind, seen in found:  # last, for it holds up the trail
        done += _see(session, kind, seen)
    rounds.finish(session, NOW, through=now, counts=done)
    return done


def look_daily(session: Session) -> Counter[str]:
    """Look for what is unusual, once a day; empty when it is not time, or another worker is at it."""
    now = clock.now()
    mine = rounds.take(session, DAILY)
    if mine is None or (mine.finished_at is not None and day_of(mine.finished_at) >= day_of(now)):
        return Counter()
    silent = _silent(session, day_of(now))
    found, days = _schools(session, day_of(now))
    unusual, at_night = _lines(session, found, days), _night(session, day_of(now))
    steps = [
        Seen(
            f"school:{school}",
            school_id=school,
            details={"day": each.day.isoformat(), "median": each.median, "usual": each.usual, "lines": each.lines},
            evidence=each.day.isoformat(),
        )
        for school, each in found.items()
        if each.is_step
    ]
    since = day_of(now) - _SEEN_FOR
    done = _see(session, FindingKind.SILENT_LINE, silent)  # from here on the trail is held up
    done += _see(session, FindingKind.SCHOOL_STEP, steps, since=since)
    done += _see(session, FindingKind.UNUSUAL_USE, unusual, since=since)
    done += _see(session, FindingKind.NIGHT_USE, at_night, since=since)
    rounds.finish(session, DAILY, through=now, counts=done)
    return done


def _see(session: Session, kind: FindingKind, seen: list[Seen], *, since: date | None = None) -> Counter[str]:
    """Tell `findings`. What is not seen any more has gone: at once, or when its last day lies before `since`."""
    counts = findings.see(session, kind, seen, whole=since is None)
    if since is not None:
        old = session.execute(text(_OLD), {"kind": kind.value, "since": since.isoformat()}).scalars().all()
        counts["gone"] = findings.gone(session, kind, old)
    return Counter({f"{kind.value}_{what}": count for what, count in counts.items() if count})


def _seen(row: Mapping[str, Any], *, sure: bool) -> Seen:
    details = {name: row[name] for name in ("day", "bytes", "usual", "z", "state") if row.get(name) is not None}
    return Seen(
        f"sim:{row['sim_id']}",
        sim_id=row["sim_id"],
        device_id=row["device_id"],
        school_id=row["school_id"],
        details=details,
        evidence=row["day"],
        sure=sure,
    )


def _silent(session: Session, today: date) -> list[Seen]:
    seen = []
    accounts = session.execute(text("SELECT id, cycle_anchor_day, billing_tz FROM carrier_account WHERE enabled"))
    for account in accounts.all():
        cycle = cycles.before(cycles.of_day(today, account.cycle_anchor_day), account.cycle_anchor_day)
        parameters = {"account": account.id, "start": cycle.start, "end": cycle.end}
        parameters |= {"begins": cycles.begins(cycle.start, account.billing_tz)}
        rows = session.execute(text(_SILENT), parameters)
        seen += [_seen(dict(row._mapping), sure=True) for row in rows]  # noqa: SLF001 - the same
    return seen


def _schools(session: Session, today: date) -> tuple[dict[int, Newest], dict[int, list[date]]]:
    """Return each school's newest day, and the days before it that are of its kind."""
    since = today - _BACK
    by_school: dict[int, list[Any]] = defaultdict(list)
    for row in session.execute(text(_SCHOOLS), {"since": since, "today": today}):
        by_school[row.school_id].append(row)
    held = calendars.calendars_of(session, by_school)
    found: dict[int, Newest] = {}
    alike: dict[int, list[date]] = {}
    for school, rows in by_school.items():
        of = kinds(held[school], since, today)
        days = [SchoolDay(row.day, of[(row.day - since).days], row.lines, row.median) for row in rows]
        judged = newest(days)
        if judged is not None:
            found[school] = judged
            alike[school] = [day.day for day in days if day.kind is judged.kind and day.day < judged.day]
    return found, alike


def _lines(session: Session, found: Mapping[int, Newest], alike: Mapping[int, list[date]]) -> list[Seen]:
    """Return lines far above their own days; what the whole school does is taken off first."""
    parameters = {
        "schools": list(found),
        "days": [each.day for each in found.values()],
        "shifts": [each.shift for each in found.values()],
        "of": [school for school, days in alike.items() for _ in days],
        "alike": [day for days in alike.values() for day in days],
        "floor": FLOOR,
        "z": Z,
    }
    rows = session.execute(text(_LINES), parameters).all()
    return [_seen(dict(row._mapping), sure=row.bytes >= SURE) for row in rows]  # noqa: SLF001 - the same


def _night(session: Session, today: date) -> list[Seen]:
    morning = cycles.begins(today, "Asia/Tokyo") + timedelta(hours=6)
    parameters = {"today": today, "evening": morning - timedelta(hours=8), "morning": morning, "floor": FLOOR}
    rows = session.execute(text(_NIGHT), parameters)
    return [_seen(dict(row._mapping), sure=False) for row in rows]  # noqa: SLF001 - the same
