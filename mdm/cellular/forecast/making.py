"""Makes each day's forecasts of pools, schools, the fleet and single SIMs, and writes them down once.

A pool and a SIM are forecast to the end of their account's cycle, schools and the fleet to the end of the month. Asks
nobody and alerts nobody; `thresholds` reads what is written here.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from mdm.cellular.forecast import series
from mdm.cellular.forecast.days import ASSUMED, Kind, Shape, kinds
from mdm.cellular.forecast.outlook import Forecast
from mdm.cellular.forecast.series import NO_SCHOOL, Counts, Series
from mdm.cellular.forecast.weighing import Frame, Outlook, Part, known_days, many, one
from mdm.cellular.models import Watched
from mdm.organization import calendars
from mdm.organization.hours import JST, Calendar

METHOD: Final = "calendar-2"
"""Changed whenever the method is, so that scores are not mixed."""
Calendars = Mapping[int, Calendar]
"""By school; `NO_SCHOOL` is the district's."""
_LOCK: Final = 0x7461_6261_6E65_0016
_WRITE: Final = """
INSERT INTO forecast_snapshot (made_on, scope, scope_id, method, cycle_start, used_bytes, p10, p50, p90)
SELECT :made, :scope, i, :method, c, u, low, mid, high
FROM unnest(CAST(:ids AS bigint[]), CAST(:cycles AS date[]), CAST(:used AS bigint[]),
    CAST(:p10 AS bigint[]), CAST(:p50 AS bigint[]), CAST(:p90 AS bigint[])) x (i, c, u, low, mid, high)
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Basis:
    """What single lines are forecast from: read once for all of them."""

    made: date
    frames: Mapping[int, Frame]
    """By account."""
    known: Mapping[int, list[bool]]
    """By account, which days it reported."""
    schools: Mapping[int, tuple[Shape, float]]
    """By school, shape and level."""
    calendars: Calendars
    _weights: dict[tuple[int, int], list[float]] = field(default_factory=dict)

    def weights(self, school_id: int, account_id: int) -> list[float]:
        """Return what each day of an account's frame weighs for lines of a school."""
        found = self._weights.get((school_id, account_id))
        if found is None:
            frame, shape = self.frames[account_id], self.schools.get(school_id, (ASSUMED, 0.0))[0]
            days = _kinds(self.calendars, school_id, frame)
            found = [shape.of(kind, frame.day(number)) for number, kind in enumerate(days)]
            self._weights[school_id, account_id] = found
        return found


def day_of(now: datetime) -> date:
    """Return the day of a forecast that is made at an instant: Japan's, whose use is not counted yet."""
    return now.astimezone(JST).date()


def hold(session: Session) -> bool:
    """Say whether this transaction is the one that makes forecasts now."""
    return bool(session.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _LOCK}).scalar_one())


def complete(session: Session, made: date) -> bool:
    """Say whether every SIM has its forecast of a day; they come after everything else."""
    counted = (
        "SELECT (SELECT count(*) FROM forecast_snapshot WHERE made_on = :made AND scope = 'sim' AND method = :method)"
        " >= (SELECT count(*) FROM sim)"
    )
    return bool(session.execute(text(counted), {"made": made, "method": METHOD}).scalar_one())


def scopes(session: Session, now: datetime) -> Basis:
    """Forecast pools, schools and the fleet, write that down, and return what single lines need."""
    made = day_of(now)
    read = series.read(session, made, now)
    held = calendars.calendars_of(session, {NO_SCHOOL, *read.schools})
    month = series.frame_of(made, 1)
    frames = {account: series.frame_of(made, anchor) for account, anchor in series.anchors(session).items()}
    of_pools = pools_of(session)
    fleet = many(month, parts(read.schools.items(), month, held), seed=f"fleet {made}")
    schools = {
        school: many(month, parts([(school, counts)], month, held), prior=fleet.shape, seed=f"school {school} {made}")
        for school, counts in read.schools.items()
    }
    pools = {
        pool: many(
            frames[of_pools[pool]],
            parts(members, frames[of_pools[pool]], held),
            prior=fleet.shape,
            seed=f"{pool} {made}",
        )
        for pool, members in by_pool(read).items()
    }
    start = month.day(month.start)
    _write(session, made, Watched.FLEET, [(0, start, fleet.used, fleet.forecast)])
    _write(session, made, Watched.SCHOOL, _rows((each, start, found) for each, found in schools.items() if each))
    cycles = {pool: frames[of_pools[pool]] for pool in pools}
    _write(
        session,
        made,
        Watched.POOL,
        _rows((pool, cycles[pool].day(cycles[pool].start), found) for pool, found in pools.items()),
    )
    known = {account: _known(read.accounts[account], frame, held[NO_SCHOOL]) for account, frame in frames.items()}
    return Basis(made, frames, known, {each: (found.shape, found.level) for each, found in schools.items()}, held)


def sims(session: Session, basis: Basis, *, limit: int) -> int:
    """Forecast up to `limit` SIMs that have none of that day yet; return how many it were."""
    rows = []
    for line in series.lines(session, basis.made, method=METHOD, limit=limit):
        frame = basis.frames[line.account_id]
        used, found = one(
            frame,
            basis.weights(line.school_id, line.account_id),
            line.totals,
            known=basis.known[line.account_id],
            others=basis.schools.get(line.school_id, (ASSUMED, 0.0))[1],
            seed=line.id * 100_000 + basis.made.toordinal() % 100_000,
        )
        rows.append((line.id, frame.day(frame.start), used, found))
    _write(session, basis.made, Watched.SIM, rows)
    return len(rows)


def pools_of(session: Session) -> Mapping[int, int]:
    """Return the account of each pool."""
    return {row.id: row.account_id for row in session.execute(text("SELECT id, account_id FROM plan_pool"))}


def by_pool(read: Series) -> Mapping[int, list[tuple[int, Counts]]]:
    """Return the schools of each pool with their counts."""
    found: dict[int, list[tuple[int, Counts]]] = defaultdict(list)
    for (pool, school), counts in read.pools.items():
        found[pool].append((school, counts))
    return found


def parts(members: Iterable[tuple[int, Counts]], frame: Frame, held: Calendars) -> list[Part]:
    """Return the schools of a scope as a frame needs them."""
    over = [frame.day(number) for number in range(frame.made)]
    return [
        Part(
            _kinds(held, school, frame),
            counts.lines(frame),
            [counts.rows.get(day, 0) for day in over],
            [counts.totals.get(day, 0) for day in over],
        )
        for school, counts in members
    ]


def _known(counts: Counts, frame: Frame, district: Calendar) -> list[bool]:
    rows = [counts.rows.get(frame.day(number), 0) for number in range(frame.made)]
    return known_days(rows, counts.lines(frame), _kinds({NO_SCHOOL: district}, NO_SCHOOL, frame))


def _kinds(held: Mapping[int, Calendar], school: int, frame: Frame) -> list[Kind]:
    return kinds(held.get(school) or held[NO_SCHOOL], frame.first, frame.day(frame.end - 1))


def _rows(found: Iterable[tuple[int, date, Outlook]]) -> list[tuple[int, date, int, Forecast]]:
    return [(each, start, outlook.used, outlook.forecast) for each, start, outlook in found]


def _write(session: Session, made: date, scope: Watched, rows: list[tuple[int, date, int, Forecast]]) -> None:
    parameters = {
        "made": made,
        "scope": scope.value,
        "method": METHOD,
        "ids": [row[0] for row in rows],
        "cycles": [row[1] for row in rows],
        "used": [row[2] for row in rows],
        "p10": [row[3].p10 for row in rows],
        "p50": [row[3].p50 for row in rows],
        "p90": [row[3].p90 for row in rows],
    }
    session.execute(text(_WRITE), parameters)
