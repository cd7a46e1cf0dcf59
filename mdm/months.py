"""Tables that are kept by month: make the parts of months to come, drop those of months gone. Knows rows by time only.

Parts are named `<table>_pYYYY_MM`; what no part holds goes to `<table>_default`, and into its month once there is one.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

AHEAD: Final = 2
"""So many months are made before they begin."""
_LOCK: Final = 7_203_002


def make_ahead(session: Session, tables: Mapping[str, str]) -> list[str]:
    """Make the parts of this month and of those to come, and return the names of new ones. Twice is harmless.

    `tables` says by which column each is kept. Takes no lock that a writer waits for, unless rows have strayed into the
    default part: they come along.
    """
    now = _now(session)
    return make(session, tables, now.date(), _month(now.date(), AHEAD).date())


def make(session: Session, tables: Mapping[str, str], first: date, last: date) -> list[str]:
    """Make the parts of all months from that of `first` to that of `last`, as `make_ahead` does."""
    _stand_in_line(session)
    there = {name for table in tables for name in parts_of(session, table)}
    made = []
    for table, key in tables.items():
        made += [
            _make(session, table, key, start, end)
            for start, end in _months(first, last)
            if _name(table, start) not in there
        ]
    return made


def make_for_strays(session: Session, tables: Mapping[str, str]) -> list[str]:
    """Make the parts, up to those that are made ahead, of months whose rows had to go to the default part."""
    last = _month(_now(session).date(), AHEAD).date()
    made = []
    for table, key in tables.items():
        months = session.execute(
            text(
                f"SELECT DISTINCT CAST(date_trunc('month', CAST({key} AS timestamp)) AS date) FROM {table}_default"
                f" WHERE {key} < :end ORDER BY 1"
            ),
            {"end": _month(last, 1)},
        ).scalars()
        for month in list(months):
            made += make(session, {table: key}, month, month)
    return made


def drop_old(session: Session, tables: Mapping[str, str], *, months: int) -> list[str]:
    """Drop what is of more than `months` months before this one; return the names of the parts that went."""
    return drop_before(session, tables, _month(_now(session).date(), -months).date())


def drop_before(session: Session, tables: Mapping[str, str], day: date) -> list[str]:
    """Drop what is of months before that of `day`; return the names of the parts that went."""
    oldest = _month(day, 0)
    _stand_in_line(session)
    old = []
    for table, key in tables.items():
        old += [name for name in parts_of(session, table) if name < _name(table, oldest)]
        session.execute(text(f"DELETE FROM {table}_default WHERE {key} < :oldest"), {"oldest": oldest})
    for name in old:
        session.execute(text(f"DROP TABLE {name}"))
    return old


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


def _name(table: str, month: datetime) -> str:
    return f"{table}_p{month:%Y_%m}"


def _now(session: Session) -> datetime:
    now: datetime = session.execute(text("SELECT now()")).scalar_one()
    return now.astimezone(UTC)


def _stand_in_line(session: Session) -> None:
    """One at a time; and whoever holds a table for long makes us come again, not everybody else wait behind us."""
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    session.execute(text("SET LOCAL lock_timeout = '1s'"))


def _month(day: date, further: int) -> datetime:
    """Return the beginning of the month that lies `further` months after that of `day`, in UTC."""
    count = day.year * 12 + day.month - 1 + further
    return datetime(count // 12, count % 12 + 1, 1, tzinfo=UTC)


def _months(first: date, last: date) -> Iterator[tuple[datetime, datetime]]:
    for further in range((last.year - first.year) * 12 + last.month - first.month + 1):
        yield _month(first, further), _month(first, further + 1)


def _make(session: Session, table: str, key: str, start: datetime, end: datetime) -> str:
    """Make one part beside the table and attach it, which, unlike making it in place, lets others write meanwhile."""
    name = _name(table, start)
    bounds = {"start": start, "end": end}
    session.execute(text(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
    strayed = f"FROM {table}_default WHERE {key} >= :start AND {key} < :end"
    if session.execute(text(f"SELECT EXISTS (SELECT {strayed})"), bounds).scalar_one():
        session.execute(text(f"LOCK TABLE {table}_default IN ACCESS EXCLUSIVE MODE"))
        session.execute(text(f"INSERT INTO {name} SELECT * {strayed}"), bounds)
        session.execute(text(f"DELETE {strayed}"), bounds)
    session.execute(text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{start}') TO ('{end}')"))
    return name
