"""Reads what the forecast rests on: use by day of schools within pools, how many lines there were, single lines' days.

A line is of the school of the tablet that it is in now, and of the pool it was in on the day; before this cycle, of the
pool it is in now, so that a new pool has a past. Days are taken as the source counts them (A3.3).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlmodel import Session, col, select

from mdm.cellular import cycles
from mdm.cellular.forecast.weighing import Frame
from mdm.cellular.models import CarrierAccount

BACK: Final = 100
"""So many days back; shapes are learned from all of them, levels from the last cycle and this one."""
_BACK_SIM: Final = 62
"""Two cycles."""
NO_SCHOOL: Final = 0
"""Stands for lines that are in no tablet."""
_WINDOW: Final = "u.usage_date >= :first AND u.usage_date < :made"
_ACCOUNTS: Final = (
    "unnest(CAST(:accounts AS bigint[]), CAST(:starts AS date[]), CAST(:zones AS text[])) a (id, start, zone)"
)
_SCHOOL: Final = (
    "LEFT JOIN sim_binding b ON b.sim_id = s.id AND b.valid_to IS NULL LEFT JOIN device d ON d.id = b.device_id"
)
_AT: Final = (
    "CASE WHEN u.usage_date >= a.start THEN u.usage_date::timestamp AT TIME ZONE a.zone"
    " ELSE CAST(:now AS timestamptz) END"
)
_CELLS: Final = f"""
SELECT u.usage_date, s.account_id, m.pool_id, coalesce(d.school_id, {NO_SCHOOL}) AS school_id,
    count(*) AS rows, sum(u.bytes_total)::bigint AS total
FROM usage_shown u JOIN sim s ON s.id = u.sim_id JOIN {_ACCOUNTS} ON a.id = s.account_id {_SCHOOL}
LEFT JOIN pool_membership m ON m.sim_id = s.id AND m.valid_from <= {_AT} AND (m.valid_to IS NULL OR m.valid_to > {_AT})
WHERE {_WINDOW}
GROUP BY 1, 2, 3, 4
"""
_FIRST: Final = f"(SELECT u.sim_id, min(u.usage_date) AS first FROM usage_shown u WHERE {_WINDOW} GROUP BY 1) u"
_LINES: Final = f"""
SELECT s.account_id, coalesce(d.school_id, {NO_SCHOOL}) AS school_id, u.first, count(*) AS lines
FROM {_FIRST} JOIN sim s ON s.id = u.sim_id {_SCHOOL} GROUP BY 1, 2, 3
"""
_MEMBERS: Final = f"""
SELECT a.start, m.pool_id, coalesce(d.school_id, {NO_SCHOOL}) AS school_id, u.first,
    (m.valid_from AT TIME ZONE a.zone)::date AS joined, (m.valid_to AT TIME ZONE a.zone)::date AS gone,
    m.valid_to IS NULL OR m.valid_to > CAST(:now AS timestamptz) AS there, count(*) AS lines
FROM {_FIRST} JOIN sim s ON s.id = u.sim_id JOIN {_ACCOUNTS} ON a.id = s.account_id {_SCHOOL}
JOIN pool_membership m ON m.sim_id = s.id AND m.valid_from <= CAST(:now AS timestamptz)
    AND (m.valid_to IS NULL OR m.valid_to > a.start::timestamp AT TIME ZONE a.zone)
GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
_SIMS: Final = f"""
SELECT s.id, s.account_id, coalesce(d.school_id, {NO_SCHOOL}) AS school_id, days.numbers, days.totals
FROM (SELECT id, account_id FROM sim WHERE NOT EXISTS (SELECT FROM forecast_snapshot f WHERE f.made_on = :made
    AND f.scope = 'sim' AND f.scope_id = sim.id AND f.method = :method) ORDER BY id LIMIT :limit) s
LEFT JOIN LATERAL (SELECT array_agg(u.usage_date - CAST(:origin AS date)) AS numbers, array_agg(u.bytes_total) AS totals
    FROM usage_shown u WHERE u.sim_id = s.id AND {_WINDOW}) days ON true {_SCHOOL} ORDER BY s.id
"""


@dataclass(slots=True)
class Counts:
    """The lines of one school in one scope: first days with their number, rows and bytes by day."""

    rows: dict[date, int] = field(default_factory=lambda: defaultdict(int))
    totals: dict[date, int] = field(default_factory=lambda: defaultdict(int))
    spans: list[tuple[date, date | None, int]] = field(default_factory=list)
    """From when to when (exclusive) how many lines were there."""

    def lines(self, frame: Frame) -> list[int]:
        """Return how many lines there were on each day of a frame; lines that came later are not known of."""
        steps = [0] * (frame.end + 1)
        for begin, end, count in self.spans:
            if begin >= frame.day(frame.made):
                continue
            first = min(max((begin - frame.first).days, 0), frame.end)
            steps[first] += count
            if end is not None:
                steps[min(max((end - frame.first).days, first), frame.end)] -= count
        found, now = [], 0
        for step in steps[:-1]:
            now += step
            found.append(now)
        return found


@dataclass(slots=True)
class Series:
    """All that is read at once. Keys are (pool, school), (school) and (account)."""

    pools: dict[tuple[int, int], Counts] = field(default_factory=lambda: defaultdict(Counts))
    schools: dict[int, Counts] = field(default_factory=lambda: defaultdict(Counts))
    accounts: dict[int, Counts] = field(default_factory=lambda: defaultdict(Counts))


@dataclass(frozen=True, slots=True)
class Line:
    """One SIM's days by their number in the frame."""

    id: int
    account_id: int
    school_id: int
    totals: Mapping[int, int]


def frame_of(made: date, anchor: int, *, first: date | None = None) -> Frame:
    """Return the frame of the cycle that a day is in, with all cycles of the days that are read."""
    cycle, begin = cycles.of_day(made, anchor), made - timedelta(days=BACK) if first is None else first
    starts, each = [cycle.start], cycle
    while each.start > begin:
        each = cycles.before(each, anchor)
        starts.append(max(each.start, begin))
    numbers = tuple(sorted((start - begin).days for start in starts))
    return Frame(begin, numbers, (made - begin).days, (cycle.end - begin).days)


def read(session: Session, made: date, now: datetime, *, back: int = BACK, as_now: bool = False) -> Series:
    """Read what pools, schools, accounts and the fleet used before a day.

    With `as_now` a line counts to the pool that it is in now on every day, for looking back over several cycles.
    """
    held = session.exec(select(CarrierAccount).order_by(col(CarrierAccount.id))).all()
    starts = [made if as_now else cycles.of_day(made, account.cycle_anchor_day).start for account in held]
    parameters = {
        "first": made - timedelta(days=back),
        "made": made,
        "now": now,
        "accounts": [account.id for account in held],
        "starts": starts,
        "zones": [account.billing_tz for account in held],
    }
    found = Series()
    for row in session.execute(text(_CELLS), parameters):
        scopes = [found.schools[row.school_id], found.accounts[row.account_id]]
        scopes += [found.pools[row.pool_id, row.school_id]] if row.pool_id else []
        for counts in scopes:
            counts.rows[row.usage_date] += row.rows
            counts.totals[row.usage_date] += row.total
    for row in session.execute(text(_LINES), parameters):
        found.schools[row.school_id].spans.append((row.first, None, row.lines))
        found.accounts[row.account_id].spans.append((row.first, None, row.lines))
    for row in session.execute(text(_MEMBERS), parameters):
        spans = found.pools[row.pool_id, row.school_id].spans
        if row.there and row.first < row.start:
            spans.append((row.first, row.start, row.lines))
        spans.append((max(row.first, row.joined, row.start), row.gone, row.lines))
    return found


def lines(session: Session, made: date, *, method: str, limit: int) -> Iterator[Line]:
    """Yield SIMs that have no forecast of that day yet, with the days of two cycles, numbered as in `frame_of`."""
    parameters = {
        "origin": made - timedelta(days=BACK),
        "first": made - timedelta(days=_BACK_SIM),
        "made": made,
        "method": method,
        "limit": limit,
    }
    for row in session.execute(text(_SIMS), parameters):
        totals = dict(zip(row.numbers or (), row.totals or (), strict=True))
        yield Line(row.id, row.account_id, row.school_id, totals)


def anchors(session: Session) -> Mapping[int, int]:
    """Return the anchor day of each account."""
    held = session.exec(select(CarrierAccount).order_by(col(CarrierAccount.id))).all()
    return {account.id or 0: account.cycle_anchor_day for account in held}
