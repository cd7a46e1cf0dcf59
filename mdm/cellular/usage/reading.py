"""What was used, as it is shown: of a pool in a span of days, of one line day by day.

Reads the view `usage_shown` and nothing below it, so which source counts is decided in one place. Bounds are days.
"""

from datetime import date
from typing import Any, Final, NamedTuple

from sqlalchemy import text
from sqlmodel import Session

from mdm.cellular.models import UsageSource

_SOURCES: Final = {source.value: source for source in UsageSource}


class DayUsed(NamedTuple):
    """One line's day as it is shown."""

    day: date
    bytes_total: int
    bytes_roaming: int | None
    source: UsageSource
    utc_offset: int
    """540 is a day in Japan, 0 one from 09:00 to 09:00."""
    revision: int


def of_pool(session: Session, pool_id: int, first: date, last: date, *, tz: str = "Asia/Tokyo") -> int:
    """Return what a pool's lines used on days on which they were in it, from the first day to the last."""
    total: int = session.execute(text(_OF_POOL), {"pool": pool_id, "first": first, "last": last, "tz": tz}).scalar_one()
    return total


def of_line(session: Session, sim_id: int, first: date, last: date) -> list[DayUsed]:
    """Return one line's days, from the first to the last."""
    # By the driver: a year of rows takes longer to be wrapped than to be found.
    connection: Any = session.connection().connection.driver_connection
    rows = connection.execute(_OF_LINE, {"sim": sim_id, "first": first, "last": last}).fetchall()
    return [DayUsed(day, total, away, _SOURCES[source], *rest) for day, total, away, source, *rest in rows]


# Most lines are in a pool throughout: to compare each of their days with two dates takes longer than to add them up.
_OF_POOL: Final = """
WITH member AS MATERIALIZED (
    SELECT sim_id, greatest(CAST(valid_from AT TIME ZONE :tz AS date), :first) AS since,
        least(CAST(valid_to AT TIME ZONE :tz AS date), CAST(:last AS date) + 1) AS until
    FROM pool_membership WHERE pool_id = :pool
)
SELECT CAST(coalesce(sum(total), 0) AS bigint) FROM (
    SELECT sum(u.bytes_total) AS total FROM usage_shown u WHERE u.usage_date BETWEEN :first AND :last
        AND u.sim_id IN (SELECT sim_id FROM member WHERE since <= :first AND until > :last)
    UNION ALL
    SELECT sum(u.bytes_total) FROM member m JOIN usage_shown u ON u.sim_id = m.sim_id AND u.usage_date >= m.since
        AND u.usage_date < m.until
    WHERE u.usage_date BETWEEN :first AND :last AND (m.since > :first OR m.until <= :last) AND m.since < m.until
) parts
"""
_OF_LINE: Final = """
SELECT usage_date, bytes_total, bytes_roaming, source, utc_offset, revision FROM usage_shown
WHERE sim_id = %(sim)s AND usage_date BETWEEN %(first)s AND %(last)s ORDER BY usage_date
"""
