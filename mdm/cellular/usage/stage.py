"""Figures beside the ledger, in tables that end with the transaction: what was told, and of which cycle each day is.

Knows lines by id. Writes nothing that stays.
"""

from collections.abc import Iterable
from datetime import date
from typing import Any, Final, NamedTuple

from sqlalchemy import text
from sqlmodel import Session

from mdm.cellular import cycles
from mdm.cellular.models import CarrierAccount

_LOCK: Final = 0x7461_0007


class Told(NamedTuple):
    """What a source says of one line's day; of several about the same, the last counts."""

    sim_id: int
    day: date
    total: int
    up: int | None
    down: int | None
    roaming: int | None
    sessions: int | None
    utc_offset: int


class Span(NamedTuple):
    """The first and the last day that were told."""

    first: date
    last: date


def hold(session: Session, account: CarrierAccount) -> None:
    """Wait until nobody else writes figures of this account, and keep it so to the end of the transaction."""
    session.execute(text("SELECT pg_advisory_xact_lock(:lock, :account)"), {"lock": _LOCK, "account": account.id})
    # A month of a district is sorted and joined here: in memory, for the little while that it takes.
    session.execute(text("SET LOCAL work_mem = '64MB'"))


def load(session: Session, told: Iterable[Told]) -> None:
    """Put figures into the table `usage_told`; what stood in it before is gone."""
    begin(session)
    connection: Any = session.connection().connection.driver_connection
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for each in told:
            copy.write_row(each)


def begin(session: Session) -> None:
    """Have an empty `usage_told`."""
    session.execute(text("DROP TABLE IF EXISTS pg_temp.usage_told"))
    session.execute(text(_TABLE))


def span(session: Session) -> Span | None:
    """Return which days were told, None if none was."""
    first, last = session.execute(text("SELECT min(day), max(day) FROM usage_told")).one()
    return None if first is None else Span(first, last)


def cycles_of(session: Session, account: CarrierAccount) -> list[cycles.Cycle]:
    """Make `usage_day`, which says of each day that was told in which cycle it is; return these cycles."""
    days = session.execute(text("SELECT DISTINCT day FROM usage_told")).scalars()
    found = {day: cycles.of_day(day, account.cycle_anchor_day) for day in days}
    session.execute(text("DROP TABLE IF EXISTS pg_temp.usage_day"))
    session.execute(text("CREATE TEMPORARY TABLE usage_day (day date, cycle_start date) ON COMMIT DROP"))
    session.execute(
        text("INSERT INTO usage_day SELECT * FROM unnest(CAST(:days AS date[]), CAST(:starts AS date[]))"),
        {"days": list(found), "starts": [cycle.start for cycle in found.values()]},
    )
    session.execute(text("ANALYZE usage_day"))
    return sorted(set(found.values()), key=lambda cycle: cycle.start)


_TABLE: Final = """
CREATE TEMPORARY TABLE usage_told (n integer GENERATED ALWAYS AS IDENTITY, sim_id bigint, day date, total bigint,
    up bigint, down bigint, roaming bigint, sessions integer, utc_offset smallint) ON COMMIT DROP
"""
_COPY: Final = "COPY usage_told (sim_id, day, total, up, down, roaming, sessions, utc_offset) FROM STDIN"
