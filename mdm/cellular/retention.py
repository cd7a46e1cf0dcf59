"""How long figures and observations are kept, by month: makes the parts to come, drops those that are over.

Knows rows by time only. Cycles, adjustments and bills stay.
"""

from datetime import timedelta
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from mdm import clock, months
from mdm.settings import UsageSettings

TABLES: Final = {
    "usage_daily": "usage_date",
    "usage_revision": "replaced_at",
    "usage_hourly": "hour_start",
    "usage_snapshot": "taken_at",
    "sim_observation": "observed_at",
}
"""What is kept by month, and by which column."""
_RAW_BATCH: Final = 500


def make_parts(session: Session) -> list[str]:
    """Make the parts of this month and of those to come, and return the names of new ones. Twice is harmless."""
    return months.make_ahead(session, TABLES)


def make_for_strays(session: Session) -> list[str]:
    """Make the parts of months gone by whose figures came in late, such as a file of last year's."""
    return months.make_for_strays(session, TABLES)


def drop_old(session: Session, kept: UsageSettings) -> list[str]:
    """Drop months that have been over for longer than they are kept; return the names of the parts that went."""
    daily = {"usage_daily": "usage_date", "usage_revision": "replaced_at"}
    gone = months.drop_old(session, daily, months=kept.daily_months)
    days = {
        "usage_hourly": kept.hourly_days,
        "usage_snapshot": kept.snapshot_days,
        "sim_observation": kept.observation_days,
    }
    for table, count in days.items():
        oldest = (clock.now() - timedelta(days=count)).date()
        gone += months.drop_before(session, {table: TABLES[table]}, oldest)
    return gone


def empty_raw(session: Session, kept: UsageSettings) -> int:
    """Forget what carriers handed over long ago, but not that it came; return how many were emptied this time."""
    now = clock.now()
    emptied = session.execute(
        text(
            "UPDATE usage_raw SET body = NULL WHERE id IN (SELECT id FROM usage_raw"
            " WHERE received_at < :before AND body IS NOT NULL ORDER BY received_at LIMIT :limit)"
        ),
        {"before": now - timedelta(days=kept.raw_days), "limit": _RAW_BATCH},
    )
    session.execute(
        text("DELETE FROM usage_raw WHERE received_at < :before"),
        {"before": now - timedelta(days=31 * kept.daily_months)},
    )
    return int(getattr(emptied, "rowcount", 0))
