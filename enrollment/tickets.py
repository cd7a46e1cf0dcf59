"""Tickets: one-time challenges of one tablet, and staging tickets of a school's set-up bench. All SQL of `ticket`.

It must not keep a secret: the caller gets it once, the table its SHA-256.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, text
from sqlmodel import Session

from enrollment.ca import Admission
from enrollment.models import Ticket, TicketKind
from mdm import clock
from mdm.auth import SCOPE_SQL, Scope
from mdm.errors import Conflict, Invalid, NotFound
from mdm.platform import Platform
from mdm.settings import get_settings

MAX_STAGING_USES: Final = 2000
MAX_STAGING_HOURS: Final = 24 * 14
_CLOSED_STATES: Final = ("lost", "retired")
"""Ledger states in which a tablet does not get in."""

_LIVE: Final = (
    "t.revoked_at IS NULL AND t.expires_at > now() AND t.used < t.uses AND CASE t.kind"
    # A lost tablet keeps its channel: renewing is how it goes on hearing "lock" and "where are you".
    " WHEN 'renewal' THEN d.state <> 'retired' AND e.status = 'active'"
    " WHEN 'tablet' THEN d.state NOT IN ('lost', 'retired')"
    " ELSE true END"
)
_JOINED: Final = (
    "ticket t LEFT JOIN device d ON d.id = t.device_id LEFT JOIN enrollment e ON e.device_id = t.device_id"
    " LEFT JOIN school s ON s.id = t.school_id"
)


@dataclass(frozen=True, slots=True)
class Opened:
    """A new ticket with its secret, which nobody can ask for again."""

    id: UUID
    platform: Platform
    secret: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a secret does not admit; `ticket_id` is None where nobody ever opened such a ticket."""

    reason: str
    ticket_id: UUID | None = None
    device_id: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A ticket as a list shows it."""

    id: UUID
    kind: TicketKind
    platform: Platform
    serial: str | None
    school_code: str | None
    uses: int
    used: int
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


def open_for_tablet(
    session: Session, scope: Scope, *, serial: str, created_by: int | None, lifetime: timedelta | None = None
) -> Opened:
    """Open a ticket for one tablet of the ledger, good once; earlier open ones of the same tablet end.

    `lifetime` is at most and by default the setting `enrollment.challenge_minutes`. `NotFound` outside the scope,
    `Conflict` for a tablet that is lost or retired.
    """
    in_scope = SCOPE_SQL.format(column="school_id")
    device = session.execute(
        text(f"SELECT id, state, platform FROM device WHERE serial = :serial AND {in_scope}"),
        {"serial": serial.strip().upper(), "schools": scope.parameter},
    ).first()
    if device is None:
        raise NotFound("there is no such tablet in the ledger")
    if device.state in _CLOSED_STATES:
        raise Conflict(f"the tablet is {device.state} in the ledger and does not get in")
    session.execute(
        text("UPDATE ticket SET revoked_at = now() WHERE device_id = :id AND kind = 'tablet' AND revoked_at IS NULL"),
        {"id": device.id},
    )
    longest = timedelta(minutes=get_settings().enrollment.challenge_minutes)
    return _open(
        session,
        kind=TicketKind.TABLET,
        platform=Platform(device.platform),
        device_id=device.id,
        uses=1,
        lifetime=min(lifetime or longest, longest),
        created_by=created_by,
    )


def open_for_staging(
    session: Session, *, school_id: int, uses: int, lifetime: timedelta, created_by: int | None, platform: Platform
) -> Opened:
    """Open a ticket for a school's set-up bench, good `uses` times; which tablets those are is seen at Authenticate."""
    errors = []
    if not 1 <= uses <= MAX_STAGING_USES:
        errors.append({"pointer": "/uses", "detail": f"from 1 to {MAX_STAGING_USES}"})
    if not timedelta(0) < lifetime <= timedelta(hours=MAX_STAGING_HOURS):
        errors.append({"pointer": "/hours", "detail": f"more than 0, at most {MAX_STAGING_HOURS}"})
    if errors:
        raise Invalid("a staging ticket has a limited number of uses and a limited time", errors=errors)
    return _open(
        session,
        kind=TicketKind.STAGING,
        platform=platform,
        school_id=school_id,
        uses=uses,
        lifetime=lifetime,
        created_by=created_by,
    )


def open_for_renewal(session: Session, *, device_id: int, platform: Platform, lifetime: timedelta) -> Opened:
    """Open the challenge inside a renewal profile; earlier ones of the same tablet end."""
    session.execute(
        text("UPDATE ticket SET revoked_at = now() WHERE device_id = :id AND kind = 'renewal' AND revoked_at IS NULL"),
        {"id": device_id},
    )
    return _open(
        session,
        kind=TicketKind.RENEWAL,
        platform=platform,
        device_id=device_id,
        uses=1,
        lifetime=lifetime,
        created_by=None,
    )


def _open(session: Session, *, platform: Platform, lifetime: timedelta, **facts: Any) -> Opened:
    # Hexadecimal: every character is a PrintableString's, so no SCEP client re-spells it.
    secret = secrets.token_hex(32)
    moment = clock.now()
    ticket = Ticket(
        secret_hash=digest(secret), platform=platform.value, created_at=moment, expires_at=moment + lifetime, **facts
    )
    session.add(ticket)
    session.flush()
    assert ticket.id is not None
    return Opened(id=ticket.id, platform=platform, secret=secret, expires_at=ticket.expires_at)


def digest(secret: str) -> bytes:
    """Return the hash a secret is kept under; plain SHA-256 suffices for 256 random bits."""
    return hashlib.sha256(secret.encode(errors="replace")).digest()


def look_up(session: Session, platform: Platform, secret: str) -> Admission | Refusal:
    """Say whom a secret would admit, without spending it: for the download of a profile."""
    row = session.execute(
        text(
            f"SELECT t.id, t.kind, t.device_id, t.school_id, d.serial, {_LIVE} AS live"
            f" FROM {_JOINED} WHERE t.secret_hash = :hash AND t.platform = :platform"
        ),
        {"hash": digest(secret), "platform": platform.value},
    ).first()
    if row is None:
        return Refusal("no such ticket")
    return _admission(row) if row.live else _refusal(session, row.id)


def spend(session: Session, platform: Platform, secret: str) -> Admission | Refusal:
    """Use a ticket once, in one statement, so that two requests at a time cannot share its last use."""
    row = session.execute(
        text(
            "UPDATE ticket SET used = used + 1"
            f" FROM (SELECT t.id, d.serial FROM {_JOINED} WHERE t.secret_hash = :hash AND t.platform = :platform"
            f" AND {_LIVE} FOR UPDATE OF t) AS live WHERE ticket.id = live.id"
            " RETURNING ticket.id, ticket.kind, ticket.device_id, ticket.school_id, live.serial"
        ),
        {"hash": digest(secret), "platform": platform.value},
    ).first()
    if row is not None:
        return _admission(row)
    found = look_up(session, platform, secret)
    # Live again between two statements: the ledger was corrected just now, and the next try will do.
    return found if isinstance(found, Refusal) else Refusal("not live at that moment", found.ticket_id, found.device_id)


def _admission(row: Row[Any]) -> Admission:
    return Admission(
        name=row.serial or f"staging {row.id}",
        device_id=row.device_id,
        school_id=row.school_id,
        ticket_id=row.id,
        renewal=row.kind == TicketKind.RENEWAL,
    )


def _refusal(session: Session, ticket_id: UUID) -> Refusal:
    row = session.execute(
        text(
            "SELECT t.device_id, t.revoked_at IS NOT NULL AS revoked, t.expires_at <= now() AS expired,"
            f" t.used >= t.uses AS spent, d.state FROM {_JOINED} WHERE t.id = :id"
        ),
        {"id": ticket_id},
    ).one()
    if row.revoked:
        reason = "the ticket is revoked"
    elif row.expired:
        reason = "the ticket has expired"
    elif row.spent:
        reason = "the ticket is used up"
    elif row.state in _CLOSED_STATES:
        reason = f"the tablet is {row.state} in the ledger"
    else:
        reason = "the tablet is not enrolled"
    return Refusal(reason, ticket_id=ticket_id, device_id=row.device_id)


def list_tickets(
    session: Session, scope: Scope, *, live: bool, limit: int, before: UUID | None = None
) -> Sequence[Line]:
    """Return the tickets of tablets and schools in scope, newest first; renewals are not people's tickets."""
    school = "coalesce(t.school_id, d.school_id)"
    rows = session.execute(
        text(
            "SELECT t.id, t.kind, t.platform, d.serial, s.code AS school_code, t.uses, t.used, t.created_at,"
            f" t.expires_at, t.revoked_at FROM {_JOINED} WHERE t.kind <> 'renewal'"
            f" AND {SCOPE_SQL.format(column=school)} AND (CAST(:before AS uuid) IS NULL OR t.id < :before)"
            " AND (NOT :live OR (t.revoked_at IS NULL AND t.expires_at > now() AND t.used < t.uses))"
            " ORDER BY t.id DESC LIMIT :limit"
        ),
        {"schools": scope.parameter, "before": before, "live": live, "limit": limit},
    )
    return [_line(row) for row in rows]


def _line(row: Row[Any]) -> Line:
    facts = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping
    return Line(**{**facts, "kind": TicketKind(row.kind), "platform": Platform(row.platform)})


def revoke(session: Session, scope: Scope, ticket_id: UUID) -> None:
    """End a ticket; ending it twice is harmless. `NotFound` outside the scope."""
    school = "coalesce(t.school_id, d.school_id)"
    row = session.execute(
        text(
            "UPDATE ticket SET revoked_at = coalesce(revoked_at, now())"
            f" WHERE id = (SELECT t.id FROM {_JOINED} WHERE t.id = :id AND t.kind <> 'renewal'"
            f" AND {SCOPE_SQL.format(column=school)}) RETURNING id"
        ),
        {"id": ticket_id, "schools": scope.parameter},
    ).first()
    if row is None:
        raise NotFound("there is no such ticket")


def drop_old(session: Session, *, days: int = 90) -> int:
    """Delete tickets and SCEP transactions that ended more than `days` ago and return how many; for the upkeep job."""
    gone = 0
    for statement in (
        "DELETE FROM ticket WHERE expires_at < now() - make_interval(days => :days) RETURNING 1",
        "DELETE FROM scep_transaction WHERE at < now() - make_interval(days => :days) RETURNING 1",
    ):
        gone += len(session.execute(text(statement), {"days": days}).all())
    return gone
