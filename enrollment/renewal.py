"""Renewal of identities in time: which are due, and the order to each tablet. Called by the upkeep job; sends nothing.

Two ways lead to the new certificate: the profile ordered here, with a one-time challenge bound to its tablet, and a
RenewalReq that the tablet signs with its old certificate (`enrollment.apple.admission`). What was enrolled stays so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from enrollment import tickets
from enrollment.ca import Admission
from enrollment.invitations import inviter
from mdm.commands import queue
from mdm.commands.kinds import FACTS, Kind
from mdm.commands.sealed import seal_argument
from mdm.platform import Platform

ACTOR: Final = "job:upkeep"
_PATIENCE: Final = timedelta(days=1)
"""How long a finished order keeps the next one away, whatever came of it: one that fails does not repeat all day."""


@dataclass(frozen=True, slots=True)
class Due:
    """A tablet whose identity is past the part of its life that the setting gives."""

    device_id: int
    platform: Platform


def due(session: Session, *, limit: int) -> Sequence[Due]:
    """Return the tablets whose newest identity in use is due for renewal, the most urgent first.

    Not those that are not enrolled or retired, nor those with a live or recent order. A certificate that has expired
    cannot ask for anything any more; its tablet must be enrolled again by a ticket.
    """
    rows = session.execute(
        text(
            "SELECT i.device_id, d.platform FROM device_identity i JOIN device d ON d.id = i.device_id"
            " JOIN enrollment e ON e.device_id = i.device_id WHERE i.revoked_at IS NULL AND i.renew_at <= now()"
            " AND i.not_after > now() AND i.associated_at IS NOT NULL AND e.status = 'active' AND d.state <> 'retired'"
            " AND NOT EXISTS (SELECT FROM device_identity n WHERE n.device_id = i.device_id AND n.revoked_at IS NULL"
            " AND n.associated_at > i.associated_at)"
            " AND NOT EXISTS (SELECT FROM command c WHERE c.device_id = i.device_id AND c.kind = :kind"
            " AND (c.ended_at IS NULL OR c.ended_at > now() - CAST(:patience AS interval)))"
            " ORDER BY i.renew_at LIMIT :limit"
        ),
        {"kind": Kind.RENEW_IDENTITY.value, "patience": _PATIENCE, "limit": limit},
    )
    return [Due(row.device_id, Platform(row.platform)) for row in rows]


def order_due(session: Session, *, limit: int = 200) -> int:
    """Order the renewals that are due, at most `limit` of them, and return how many; the next round does the rest.

    Each order is the enrolment profile once more, with a fresh challenge of its tablet, sealed in the command.
    """
    return sum(_order(session, each) for each in due(session, limit=limit))


def _order(session: Session, wanted: Due) -> bool:
    lifetime = FACTS[Kind.RENEW_IDENTITY].lifetime
    opened = tickets.open_for_renewal(session, device_id=wanted.device_id, platform=wanted.platform, lifetime=lifetime)
    admission = tickets.look_up(session, wanted.platform, opened.secret)
    assert isinstance(admission, Admission)  # `due` has seen it enrolled in this transaction
    body = inviter(wanted.platform).body_of(session, admission, opened.secret)
    arguments = {"profile": seal_argument(body)}
    outcomes = queue.enqueue(session, ACTOR, [wanted.device_id], Kind.RENEW_IDENTITY, arguments)
    return outcomes[0].fresh
