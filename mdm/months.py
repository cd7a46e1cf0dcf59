"""Tables that are kept by month: make the parts of months to come, drop those of months gone. Knows rows by time only.

A worker's role may make and drop no table: functions of the database's owner do it (migration 0030), for tables that
are kept by month and have a default part, and for no others. Parts are named `<table>_pYYYY_MM`; what no part holds
goes to `<table>_default`, and into its month once there is one.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

AHEAD: Final = 2
"""So many months are made before they begin."""
_LOCK: Final = 7_203_002


def make_ahead(session: Session, tables: Iterable[str]) -> list[str]:
    """Make the parts of this month and of those to come, and return the names of new ones. Twice is harmless.

    Takes no lock that a writer waits for, unless rows have strayed into the default part: they come along.
    """
    now = _now(session)
    return make(session, tables, now.date(), _month(now.date(), AHEAD))


def make(session: Session, tables: Iterable[str], first: date, last: date) -> list[str]:
    """Make the parts of all months from that of `first` to that of `last`, as `make_ahead` does."""
    _stand_in_line(session)
    made = []
    for table in tables:
        there = parts_of(session, table)
        missing = [month for month in _months(first, last) if f"{table}_p{month:%Y_%m}" not in there]
        made += [_make(session, table, month) for month in missing]
    return made


def make_for_strays(session: Session, tables: Mapping[str, str]) -> list[str]:
    """Make the parts, up to those that are made ahead, of months whose rows had to go to the default part.

    `tables` says by which column each is kept.
    """
    last = _month(_now(session).date(), AHEAD)
    made = []
    for table, key in tables.items():
        months = session.execute(
            text(
                f"SELECT DISTINCT CAST(date_trunc('month', CAST({key} AS timestamp)) AS date) FROM {table}_default"
                f" WHERE {key} < :end ORDER BY 1"
            ),
            {"end": datetime.combine(_month(last, 1), time(), UTC)},
        ).scalars()
        for month in list(months):
            made += make(session, [table], month, month)
    return made


def drop_old(session: Session, tables: Iterable[str], *, months: int) -> list[str]:
    """Drop what is of more than `months` months before this one; return the names of the parts that went."""
    return drop_before(session, tables, _month(_now(session).date(), -months))


def drop_before(session: Session, tables: Iterable[str], day: date) -> list[str]:
    """Drop what is of months before that of `day`, never of this one; return the names of the parts that went."""
    _stand_in_line(session)
    statement = text("SELECT month_parts_drop(:table, :day)")
    return [name for table in tables for (name,) in session.execute(statement, {"table": table, "day": day})]


def parts_of(session: Session, table: str) -> list[str]:
    """Return the names of a table's monthly parts, the oldest first."""
    rows = session.execute(
        text(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = CAST(:table AS regclass) AND c.relname ~ '_p[0-9]{4}_[0-9]{2}$' ORDER BY 1"
        ),
        {"table": table},
    )
    return [name for (name,) in rows]


def _make(session: Session, table: str, month: date) -> str:
    statement = text("SELECT month_part_make(:table, :month)")
    return str(session.execute(statement, {"table": table, "month": month}).scalar_one())


def _now(session: Session) -> datetime:
    now: datetime = session.execute(text("SELECT now()")).scalar_one()
    return now.astimezone(UTC)


def _stand_in_line(session: Session) -> None:
    """One at a time; and whoever holds a table for long makes us come again, not everybody else wait behind us."""
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    session.execute(text("SET LOCAL lock_timeout = '1s'"))


def _month(day: date, further: int) -> date:
    """Return the first day of the month that lies `further` months after that of `day`."""
    count = day.year * 12 + day.month - 1 + further
    return date(count // 12, count % 12 + 1, 1)


def _months(first: date, last: date) -> Iterator[date]:
    for further in range((last.year - first.year) * 12 + last.month - first.month + 1):
        yield _month(first, further)
