"""Whose turn it is to ask a carrier, and how far each regular question has come. Asks no carrier; writes poll_cursor.

One lease for each account's question, with a token: who has lost it writes nothing any more. A cursor is saved in the
transaction of the page's rows, so that a kill loses no page and applies none twice.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlmodel import Session, col, select

from mdm import jobs
from mdm.audit import chain
from mdm.cellular.carriers.values import Capabilities, Figures
from mdm.cellular.models import CarrierAccount, PollCursor
from mdm.jobs import Job
from mdm.safeguards import notices

ACTOR: Final = "system:carriers"
LEASE_S: Final = 120.0
"""Longer than one page may take."""
_PAGED_AT: Final = 6
"""So many failures one after the other are worth a call."""


class Poll(StrEnum):
    """What an account is asked regularly; `acts` stands for what is wanted of its lines."""

    ACTS = "acts"
    CHANGES = "changes"
    """Lines that changed, where the interface can be asked so."""
    SIMS = "sims"
    """The whole list."""
    USAGE = "usage"
    """The last two days, or what the running cycle's counters stand at."""
    CORRECTIONS = "corrections"
    """The last nine days again: figures are corrected late."""


_EVERY: Final[Mapping[Poll, timedelta]] = {
    Poll.ACTS: timedelta(0),
    Poll.CHANGES: timedelta(minutes=5),
    Poll.SIMS: timedelta(hours=24),
    Poll.USAGE: timedelta(hours=3),
    Poll.CORRECTIONS: timedelta(hours=24),
}
_HOURLY: Final = timedelta(hours=1)


class LeaseLost(Exception):
    """Somebody else has the turn by now, or the account was changed: nothing of this page counts."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A question that this worker is to ask now."""

    account_id: int
    poll: Poll
    token: UUID
    cursor: Mapping[str, Any]
    """Where to go on; empty at the beginning of a round."""
    last_started_at: datetime | None
    """When the round before this one began, or this one did."""
    failures: int
    error: str
    """What it last failed for."""

    def at(self, cursor: Mapping[str, Any]) -> "Turn":
        """Return the same turn one page further."""
        return replace(self, cursor=cursor, failures=0, error="")


def every(poll: Poll, can: Capabilities) -> timedelta:
    """Return how often a question is asked of an interface."""
    return _HOURLY if poll is Poll.USAGE and Figures.HOURS in can.figures else _EVERY[poll]


def prepare(session: Session, account_id: int, can: Capabilities) -> None:
    """Have a row for each question that an account's interface can answer."""
    wanted = [poll for poll in Poll if poll is not Poll.CHANGES or can.lists_changes]
    wanted = [poll for poll in wanted if can.figures or poll not in (Poll.USAGE, Poll.CORRECTIONS)]
    session.execute(
        text(
            "INSERT INTO poll_cursor (account_id, job) SELECT :account, unnest(CAST(:jobs AS text[]))"
            " ON CONFLICT DO NOTHING"
        ),
        {"account": account_id, "jobs": [poll.value for poll in wanted]},
    )


_DUE: Final = """
p.account_id = a.id AND p.due_at <= now() AND (p.lease_until IS NULL OR p.lease_until <= now())
AND (p.job <> 'acts' OR EXISTS (SELECT FROM sim_action x JOIN sim s ON s.id = x.sim_id
    WHERE s.account_id = a.id AND x.state IN ('approved', 'sent', 'accepted') AND x.due_at <= now()))
AND (p.job NOT IN ('usage', 'corrections') OR EXISTS (SELECT FROM poll_cursor l
    WHERE l.account_id = a.id AND l.job = 'sims' AND l.finished_at IS NOT NULL))
"""
"""Usage of lines that are not known yet would be left out: it waits for the first whole list."""
_WAITING: Final = text(
    f"SELECT a.id FROM carrier_account a JOIN poll_cursor p ON {_DUE} WHERE a.enabled AND a.kind <> 'csv'"
    " GROUP BY a.id ORDER BY bool_or(p.job = 'acts') DESC, min(p.due_at)"
)
_LOCK: Final = text("SELECT id FROM carrier_account WHERE id = :account AND enabled FOR NO KEY UPDATE SKIP LOCKED")
_TAKE: Final = text(f"""
UPDATE poll_cursor c SET lease_until = now() + make_interval(secs => :lease), lease_token = :token
FROM (SELECT p.account_id, p.job FROM carrier_account a JOIN poll_cursor p ON {_DUE}
    WHERE a.id = :account AND (SELECT count(*) FROM poll_cursor o
        WHERE o.account_id = a.id AND o.lease_until > now()) < :in_flight
    ORDER BY p.job = 'acts' DESC, p.due_at LIMIT 1) due
WHERE c.account_id = due.account_id AND c.job = due.job
RETURNING c.job, c.cursor, c.started_at, c.failures, c.error
""")


def waiting(session: Session) -> list[int]:
    """Return the accounts that have something due, those with wanted acts first."""
    return [row.id for row in session.execute(_WAITING)]


def claim(session: Session, account_id: int, *, in_flight: int = 1) -> Turn | None:
    """Take the next turn of an account; None where it has none, or as many are at it already as its limits allow."""
    # The count below is a statement of its own, so that it sees what was taken while this one waited.
    if session.execute(_LOCK, {"account": account_id}).first() is None:
        return None
    token = uuid4()
    row = session.execute(
        _TAKE, {"account": account_id, "lease": LEASE_S, "token": token, "in_flight": in_flight}
    ).first()
    if row is None:
        return None
    return Turn(account_id, Poll(row.job), token, row.cursor, row.started_at, row.failures, row.error)


def save(session: Session, turn: Turn, cursor: Mapping[str, Any]) -> None:
    """Note how far a round has come, first thing in the transaction of a page's rows. Raises `LeaseLost`."""
    _guarded(
        session,
        turn,
        "cursor = CAST(:cursor AS jsonb), started_at = CASE WHEN cursor = '{}' THEN now() ELSE started_at END,"
        " failures = 0, error = '', lease_until = now() + make_interval(secs => :seconds)",
        cursor=json.dumps(dict(cursor)),
        seconds=LEASE_S,
    )


def finish(session: Session, turn: Turn, *, after: timedelta) -> None:
    """Note that a round has come to its end, after `save`; the next is due in that time."""
    _guarded(
        session,
        turn,
        "cursor = '{}', finished_at = now(), due_at = now() + make_interval(secs => :seconds),"
        " lease_until = NULL, lease_token = NULL",
        seconds=after.total_seconds(),
    )


def put_off(session: Session, turn: Turn, seconds: float, *, error: str = "", anew: bool = False) -> None:
    """Give the turn back until then. With an `error` it counts as failed; `anew` begins the round again."""
    _guarded(
        session,
        turn,
        "due_at = now() + make_interval(secs => :seconds), lease_until = NULL, lease_token = NULL,"
        " failures = CASE WHEN :error = '' THEN failures ELSE failures + 1 END,"
        " error = CASE WHEN :error = '' THEN error ELSE :error END,"
        " cursor = CASE WHEN :anew THEN '{}'::jsonb ELSE cursor END",
        seconds=seconds,
        error=error[:200],
        anew=anew,
    )
    if error and turn.failures + 1 == _PAGED_AT:
        name = session.get_one(CarrierAccount, turn.account_id).name
        details = {"account": name, "question": turn.poll.value, "error": error, "failures": turn.failures + 1}
        notices.page(session, "carrier.silent", f"The carrier account {name} has not answered for a while", details)


def stop(session: Session, turn: Turn, error: str) -> None:
    """Ask an account nothing any more until somebody has looked at it and turns it on again; call them."""
    put_off(session, turn, 0, error=error)
    account = session.get_one(CarrierAccount, turn.account_id, with_for_update=True)
    account.enabled = False
    session.add(account)
    session.flush()
    chain.record(session, ACTOR, "carrier.stop", f"carrier:{account.id}", {"name": account.name})
    details = {"account": account.name, "question": turn.poll.value, "error": error}
    notices.page(session, "carrier.stop", f"The carrier account {account.name} was stopped: it is not let in", details)


def begin_anew(session: Session, account_id: int) -> None:
    """Ask an account everything again, because it was changed; what is under way for it counts no more."""
    session.execute(
        text(
            "UPDATE poll_cursor SET cursor = '{}', due_at = now(), failures = 0, error = '', lease_until = NULL,"
            " lease_token = NULL WHERE account_id = :account"
        ),
        {"account": account_id},
    )
    jobs.ring(session, Job.CARRIERS)


def of_account(session: Session, account_id: int) -> list[PollCursor]:
    """Return how far each question to an account has come."""
    statement = select(PollCursor).where(PollCursor.account_id == account_id).order_by(col(PollCursor.job))
    return list(session.exec(statement.execution_options(populate_existing=True)))


def _guarded(session: Session, turn: Turn, change: str, **parameters: Any) -> None:
    done = session.execute(
        text(
            f"UPDATE poll_cursor SET {change} WHERE account_id = :account AND job = :job AND lease_token = :token"
            " RETURNING 1"
        ),
        {"account": turn.account_id, "job": turn.poll.value, "token": turn.token, **parameters},
    ).first()
    if done is None:
        raise LeaseLost
