"""One page of one regular question: what to ask next, and what becomes of the answer. Ends no turn for good or ill.

A page is fetched outside of any transaction and applied in one, together with the cursor.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlmodel import Session

from mdm import clock
from mdm.cellular import line_records
from mdm.cellular.carriers.connection import Connection
from mdm.cellular.carriers.switchboard import Carrier
from mdm.cellular.carriers.values import Page, SimRecord, Unclear, Usage
from mdm.cellular.models import CarrierAccount
from mdm.cellular.polling import Poll, Turn
from mdm.cellular.usage import intake

_OVERLAP: Final = timedelta(minutes=10)
"""Changes are asked for from so long before the last round: clocks differ, and lists lag."""
_FIRST: Final = {Poll.USAGE: 1, Poll.CORRECTIONS: 8}
"""Days before today, in the usage's time zone, at the least."""
_FIRST_EVER: Final = 62
"""Days that an account's first corrections go back: the running cycle and the one before."""


def question(turn: Turn, account: CarrierAccount, keeps_days: int) -> Mapping[str, Any]:
    """Return what a round asks for, as plain JSON to be kept with its cursor."""
    if turn.cursor:
        asked: Mapping[str, Any] = turn.cursor["ask"]
        return asked
    now = clock.now()
    match turn.poll:
        case Poll.CHANGES:
            since = (turn.last_started_at or now - timedelta(days=1)) - _OVERLAP
            return {"since": since.isoformat()}
        case Poll.USAGE | Poll.CORRECTIONS:
            zone = ZoneInfo(account.usage_tz)
            today = now.astimezone(zone).date()
            back = _FIRST[turn.poll]
            if turn.last_started_at is not None:  # after an outage further, so that no day is left out
                back += (today - turn.last_started_at.astimezone(zone).date()).days
            elif turn.poll is Poll.CORRECTIONS:
                back = max(back, min(_FIRST_EVER, keeps_days or _FIRST_EVER))
            return {"first": (today - timedelta(days=back)).isoformat(), "last": today.isoformat()}
        case Poll.SIMS | Poll.ACTS:
            return {}


def fetch(
    carrier: Carrier, connection: Connection, turn: Turn, ask: Mapping[str, Any]
) -> Page[SimRecord] | Page[Usage]:
    """Ask for the next page."""
    cursor = turn.cursor.get("next")
    if turn.poll in (Poll.USAGE, Poll.CORRECTIONS):
        days = {name: date.fromisoformat(ask[name]) for name in ("first", "last")}
        return carrier.usage(connection, first=days["first"], last=days["last"], cursor=cursor)
    since = datetime.fromisoformat(ask["since"]) if "since" in ask else None
    return carrier.sims(connection, changed_since=since, cursor=cursor)


def apply(
    session: Session, account: CarrierAccount, turn: Turn, page: Page[Any], asked_at: datetime
) -> Mapping[str, int]:
    """Write what a page says, and at the end of a whole list what it left out; return what is to be counted."""
    assert account.id is not None
    if turn.poll in (Poll.USAGE, Poll.CORRECTIONS):
        told = intake.take(session, account, page.items, payloads=page.raw, as_of=asked_at)
        return {"new": told.new, "changed": told.changed, "same": told.same, "unknown": told.unknown}
    whole = turn.poll is Poll.SIMS
    counts = line_records.apply(session, account.id, page.items, asked_at=asked_at, listed=whole)
    seen = int(turn.cursor.get("seen", 0)) + len(page.items)
    counted = {"new": counts.new, "nameless": counts.nameless, "elsewhere": counts.elsewhere, "seen": seen}
    if whole and page.cursor is None:
        if seen == 0 and line_records.any_listed(session, account.id):
            raise Unclear("the whole list is empty, and was not before")
        counted["missing"] = line_records.mark_missing(session, account.id)
    return counted
