"""Notices to whoever is on duty: written with what they tell of, claimed, settled. Sends nothing itself."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import text
from sqlmodel import Session, col, select

from mdm import jobs
from mdm.jobs import Job
from mdm.safeguards.breaker_models import Notice

_LEASE_S: Final = 120
_LONGEST_WAIT_S: Final = 900


class Way(StrEnum):
    """How a notice can go."""

    WEBHOOK = "webhook"
    MAIL = "mail"


@dataclass(frozen=True, slots=True)
class Claimed:
    """A notice that one worker is to send now, by the ways by which it has not gone yet."""

    id: UUID
    token: UUID
    at: datetime
    what: str
    subject: str
    details: Mapping[str, Any]
    ways: tuple[Way, ...]


def page(session: Session, what: str, subject: str, details: Mapping[str, Any] | None = None) -> None:
    """Call whoever is on duty, in the transaction of what happened. No personal data: it leaves the house.

    `what` is `noun.verb` (`breaker.open`), `subject` a sentence. It arrives at least once, with its id.
    """
    session.add(Notice(what=what[:64], subject=subject[:200], details=dict(details or {})))
    session.flush()
    jobs.ring(session, Job.NOTIFY)


def not_yet_told(session: Session, matters: Iterable[str]) -> list[str]:
    """Return, in order, those matters of which nobody was told before, and count them as told from now on.

    A matter is a stable name such as `case.overdue:12`. For what a job finds again each time: write one page for all
    that is new, in the same transaction. A page each could hold up the breaker's.
    """
    wanted = list(dict.fromkeys(matters))
    if not wanted:
        return []
    statement = text(
        # In one order, so that two who note the same do not wait in a circle.
        "INSERT INTO notice_matter (matter) SELECT matter FROM unnest(CAST(:matters AS text[])) AS matter"
        " ORDER BY matter ON CONFLICT DO NOTHING RETURNING matter"
    )
    new = set(session.scalars(statement, {"matters": wanted}))
    return [each for each in wanted if each in new]


def claim(session: Session, ways: Sequence[Way], *, limit: int = 20) -> list[Claimed]:
    """Lease notices that are due by one of these ways; what a worker dropped is due again after two minutes."""
    if not ways:
        return []
    token = uuid4()
    rows = session.execute(
        text(
            "UPDATE notice n SET lease_until = now() + make_interval(secs => :lease), lease_token = :token,"
            " attempts = n.attempts + 1 FROM (SELECT id FROM notice WHERE done_at IS NULL AND next_at <= now()"
            " AND (lease_until IS NULL OR lease_until < now()) ORDER BY next_at LIMIT :limit"
            " FOR UPDATE SKIP LOCKED) due WHERE n.id = due.id"
            " RETURNING n.id, n.at, n.what, n.subject, n.details, n.webhook_at, n.mail_at"
        ),
        {"lease": _LEASE_S, "token": token, "limit": limit},
    ).all()
    gone = {row.id: {Way.WEBHOOK: row.webhook_at, Way.MAIL: row.mail_at} for row in rows}
    return [
        Claimed(
            id=row.id,
            token=token,
            at=row.at,
            what=row.what,
            subject=row.subject,
            details=row.details,
            ways=tuple(way for way in ways if gone[row.id][way] is None),
        )
        for row in sorted(rows, key=lambda row: row.id)
    ]


def settle(session: Session, notice: Claimed, *, gone: Sequence[Way], error: str) -> None:
    """Note by which ways a notice has gone; what has not is tried again later and later. No-op without the lease."""
    session.execute(
        text(
            "UPDATE notice SET webhook_at = CASE WHEN :webhook THEN now() ELSE webhook_at END,"
            " mail_at = CASE WHEN :mail THEN now() ELSE mail_at END,"
            " done_at = CASE WHEN :done THEN now() END, error = :error, lease_until = NULL, lease_token = NULL,"
            " next_at = now() + make_interval(secs => least(power(2, least(attempts, 12)) * 5, :longest))"
            " WHERE id = :id AND lease_token = :token"
        ),
        {
            "webhook": Way.WEBHOOK in gone,
            "mail": Way.MAIL in gone,
            "done": set(gone) == set(notice.ways),
            "error": error[:200],
            "longest": _LONGEST_WAIT_S,
            "id": notice.id,
            "token": notice.token,
        },
    )


def waiting(session: Session) -> int:
    """Return how many notices have not gone by every way."""
    return int(session.execute(text("SELECT count(*) FROM notice WHERE done_at IS NULL")).scalar_one())


def history(session: Session, *, before: UUID | None, limit: int) -> list[Notice]:
    """Return the notices, newest first (ids are in the order of time)."""
    statement = select(Notice)
    if before is not None:
        statement = statement.where(col(Notice.id) < before)
    return list(session.exec(statement.order_by(col(Notice.id).desc()).limit(limit)))
