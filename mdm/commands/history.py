"""Where ended commands go: out of the hot table, into months, and in the end away. Knows rows only, and ends nothing.

A row is in one of the two tables and never in both: a move is one statement. What reads ended commands reads `ANY`.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import select as sa_select
from sqlalchemy import text, union_all
from sqlalchemy.orm import aliased
from sqlmodel import Session

from mdm import months
from mdm.commands.kinds import FACTS
from mdm.commands.models import COMMAND_PAST, LIVE_STATES, Command, CommandState
from mdm.commands.verification import QUESTIONS

HOT_DAYS: Final = 2
"""Ended commands stay this long among the live ones: what comes late is mostly no later than this."""
TABLES: Final = ("command_past", "command_event")
"""What is kept by month; the first part reaches back for ever."""

ANY: Final = aliased(
    Command,
    union_all(sa_select(Command.__table__), sa_select(COMMAND_PAST)).subquery("command_any"),  # type: ignore[attr-defined]
    adapt_on_names=True,
)
"""Live and past commands as one. PostgreSQL looks into both by index, a month at a time, in the order asked for."""

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
    return months.make_ahead(session, TABLES)


def drop_old(session: Session, *, keep: int) -> list[str]:
    """Drop what is of more than `keep` months before this one; return the names of the parts that went."""
    return months.drop_old(session, TABLES, months=keep)
