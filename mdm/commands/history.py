"""Where ended commands go: out of the hot table, into months, and in the end away. Knows rows only, and ends nothing.

A row is in one of the two tables and never in both: a move is one statement. What reads ended commands reads `ANY`.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select as sa_select
from sqlalchemy import text, union_all
from sqlalchemy.orm import aliased
from sqlmodel import Session

from mdm.commands.kinds import FACTS
from mdm.commands.models import COMMAND_PAST, LIVE_STATES, Command, CommandState
from mdm.commands.verification import QUESTIONS

HOT_DAYS: Final = 2
"""Ended commands stay this long among the live ones: what comes late is mostly no later than this."""
MONTHS_AHEAD: Final = 2
TABLES: Final = {"command_past": "ended_at", "command_event": "at"}
"""What is kept by month, and by which column; parts are named `<table>_pYYYY_MM`, the first reaches back for ever."""

ANY: Final = aliased(
    Command,
    union_all(sa_select(Command.__table__), sa_select(COMMAND_PAST)).subquery("command_any"),  # type: ignore[attr-defined]
    adapt_on_names=True,
)
"""Live and past commands as one. PostgreSQL looks into both by index, a month at a time, in the order asked for."""

_LOCK: Final = 7_203_002
_COLUMNS: Final = ", ".join(column.name for column in COMMAND_PAST.columns)
_LIVE: Final = ", ".join(f"'{state.value}'" for state in LIVE_STATES)
_OVERTAKERS: Final = ", ".join(sorted(f"'{kind.value}'" for kind, facts in FACTS.items() if facts.supersedes))
_ASKED: Final = ", ".join(f"'{kind.value}'" for kind in QUESTIONS)

_MOVE: Final = f"""
WITH over AS MATERIALIZED (
    SELECT c.id FROM command c
    WHERE c.id > :after AND c.state NOT IN ({_LIVE}) AND c.ended_at < now() - make_interval(days => {HOT_DAYS})
        AND NOT EXISTS (SELECT FROM approval a WHERE a.id = c.approval_id AND a.state = 'pending')
        AND NOT (c.kind IN ({_OVERTAKERS}) AND c.state = '{CommandState.DONE.value}' AND EXISTS (
            SELECT FROM command l WHERE l.device_id = c.device_id AND l.state IN ({_LIVE}) AND l.id < c.id))
        AND NOT (c.kind IN ({_ASKED}) AND c.state = '{CommandState.FAILED.value}' AND EXISTS (
            SELECT FROM verification v WHERE v.device_id = c.device_id AND v.status = 'asked'))
    ORDER BY c.id LIMIT :limit FOR UPDATE OF c SKIP LOCKED
), gone AS (
    DELETE FROM command c USING over WHERE c.id = over.id RETURNING c.*
), kept AS (
    INSERT INTO command_past ({_COLUMNS}) SELECT {_COLUMNS} FROM gone
)
SELECT count(*), (SELECT id FROM over ORDER BY id DESC LIMIT 1) FROM over
"""


@dataclass(frozen=True, slots=True)
class Moved:
    """How many went, and the last of them, behind which the next batch begins."""

    count: int
    last: UUID | None


def move_ended(session: Session, *, after: UUID | None = None, limit: int) -> Moved:
    """Move up to `limit` commands that ended more than two days ago, in the order of their ids, from `after` on.

    What somebody has locked is left for another time, and so is what still decides something: a command whose request
    for approval is open, one that makes an older live one pointless, a refusal that a verification waits for.
    """
    row = session.execute(text(_MOVE), {"after": after or UUID(int=0), "limit": limit}).one()
    return Moved(*row)


def make_parts(session: Session) -> list[str]:
    """Make the parts of this month and of those to come, and return the names of new ones. Twice is harmless.

    Takes no lock that a tablet's report waits for, unless rows have strayed into the default part: they come along.
    """
    now = _now(session)
    _stand_in_line(session)
    there = {name for table in TABLES for name in _parts_of(session, table)}
    made = []
    for table in TABLES:
        for month in range(MONTHS_AHEAD + 1):
            start, end = _month(now, month), _month(now, month + 1)
            name = f"{table}_p{start:%Y_%m}"
            if name not in there:
                _make(session, table, name, start, end)
                made.append(name)
    return made


def drop_old(session: Session, *, months: int) -> list[str]:
    """Drop what is of more than `months` months before this one; return the names of the parts that went."""
    oldest = _month(_now(session), -months)
    _stand_in_line(session)
    old = []
    for table, key in TABLES.items():
        old += [name for name in _parts_of(session, table) if name < f"{table}_p{oldest:%Y_%m}"]
        session.execute(text(f"DELETE FROM {table}_default WHERE {key} < :oldest"), {"oldest": oldest})
    for name in old:
        session.execute(text(f"DROP TABLE {name}"))
    return old


def _now(session: Session) -> datetime:
    now: datetime = session.execute(text("SELECT now()")).scalar_one()
    return now.astimezone(UTC)


def _stand_in_line(session: Session) -> None:
    """One at a time; and whoever holds a table for long makes us come again, not everybody else wait behind us."""
    session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    session.execute(text("SET LOCAL lock_timeout = '1s'"))


def _parts_of(session: Session, table: str) -> list[str]:
    """Return the names of a table's monthly parts."""
    rows = session.execute(
        text(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
            " WHERE i.inhparent = CAST(:table AS regclass) AND c.relname ~ '_p[0-9]{4}_[0-9]{2}$' ORDER BY 1"
        ),
        {"table": table},
    )
    return [name for (name,) in rows]


def _month(now: datetime, further: int) -> datetime:
    """Return the beginning of the month that lies `further` months after that of `now`, in UTC."""
    count = now.year * 12 + now.month - 1 + further
    return datetime(count // 12, count % 12 + 1, 1, tzinfo=UTC)


def _make(session: Session, table: str, name: str, start: datetime, end: datetime) -> None:
    """Make one part beside the table and attach it, which, unlike making it in place, lets others write meanwhile."""
    key = TABLES[table]
    bounds = {"start": start, "end": end}
    session.execute(text(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
    strayed = f"FROM {table}_default WHERE {key} >= :start AND {key} < :end"
    if session.execute(text(f"SELECT EXISTS (SELECT {strayed})"), bounds).scalar_one():
        session.execute(text(f"LOCK TABLE {table}_default IN ACCESS EXCLUSIVE MODE"))
        session.execute(text(f"INSERT INTO {name} SELECT * {strayed}"), bounds)
        session.execute(text(f"DELETE {strayed}"), bounds)
    session.execute(text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{start}') TO ('{end}')"))
