"""What lets a contractor's account in: its handler and its contract, as one condition of SQL. Decides nothing else.

An account of the board's own needs neither. One of a contractor (乙) or sub-contractor (丙) opens only while its
handler is valid, and while a contract of its organization and of the one above covers the duty (R-32, R-57). It is
words here, so that nobody is let in by code that forgot to ask; the tables are `mdm.organization`'s.
"""

from datetime import date, datetime, time
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import TextClause, text
from sqlmodel import Session

from mdm import clock

BOARD: Final = "board"
"""The tier of whoever belongs to no contractor (`mdm.organization.models.Tier`)."""
JAPAN: Final = ZoneInfo("Asia/Tokyo")
_COVERED: Final = (
    "EXISTS (SELECT 1 FROM contract k WHERE k.organization_id = {organization} AND k.starts_on <= :today"
    " AND coalesce(k.terminated_on, k.ends_on) >= :today AND operator.role = ANY(k.duties))"
)
_ENTITLED: Final = (
    "(operator.handler_id IS NULL OR EXISTS (SELECT 1 FROM handler h JOIN organization o ON o.id = h.organization_id"
    " WHERE h.id = operator.handler_id AND h.valid_from <= :today AND coalesce(h.valid_until, :today) >= :today"
    " AND operator.role = ANY(h.duties) AND (o.tier = 'contractor' OR h.notice_on <= :today)"
    f" AND {_COVERED.format(organization='o.id')}"
    f" AND (o.tier = 'contractor' OR {_COVERED.format(organization='o.parent_id')})))"
)


def today() -> date:
    """Return the day on which contracts begin and end: Japan's."""
    return clock.now().astimezone(JAPAN).date()


def first_moment(day: date) -> datetime:
    """Return when a day begins in Japan."""
    return datetime.combine(day, time(), JAPAN)


def entitled() -> TextClause:
    """Return the condition on a row of `operator`: `.where(entitled())` in a query that reads from that table."""
    return text(_ENTITLED).bindparams(today=today())


def is_entitled(session: Session, operator_id: int) -> bool:
    """Say whether an account may sign in: not disabled, and its handler and contract hold today."""
    statement = text(f"SELECT 1 FROM operator WHERE id = :id AND disabled_at IS NULL AND {_ENTITLED}")
    return session.execute(statement, {"id": operator_id, "today": today()}).first() is not None


def tier_of(session: Session, organization_id: int | None) -> str:
    """Return the tier of an account's organization; the board's own accounts have none."""
    if organization_id is None:
        return BOARD
    found = session.execute(text("SELECT tier FROM organization WHERE id = :id"), {"id": organization_id})
    return str(found.scalar_one())
