"""What a new enrolment does to what was asked of the tablet before: old work ends, and the first questions begin."""

from sqlalchemy import text
from sqlmodel import Session

from mdm.commands.kinds import FACTS, INVENTORY, Kind
from mdm.devices import wakeups
from mdm.devices.models import Lane

_AGAIN = "the tablet enrolled again"


def begin(session: Session, device_id: int, epoch: int) -> None:
    """End every live command of an older epoch, so that a returned tablet is never wiped by an old order.

    A wipe that had been handed over is proved by the new enrolment and counts as done; the rest is cancelled. What the
    tablet held is forgotten: it holds nothing of ours now.
    """
    session.execute(
        text(
            "WITH over AS (UPDATE command SET ended_at = now(),"
            " state = CASE WHEN kind = :wipe AND delivered_at IS NOT NULL THEN 'done' ELSE 'cancelled' END"
            " WHERE device_id = :device AND epoch < :epoch"
            " AND state IN ('held', 'queued', 'sent', 'delivered', 'not_now') RETURNING id, state)"
            " INSERT INTO command_event (command_id, state, note) SELECT id, state, :note FROM over"
        ),
        {"device": device_id, "epoch": epoch, "wipe": Kind.WIPE.value, "note": _AGAIN},
    )
    for table in ("device_profile", "verification"):
        session.execute(text(f"DELETE FROM {table} WHERE device_id = :device"), {"device": device_id})


def end(session: Session, device_id: int, *, note: str) -> None:
    """Cancel every live command of a tablet that is no longer managed."""
    session.execute(
        text(
            "WITH over AS (UPDATE command SET state = 'cancelled', ended_at = now()"
            " WHERE device_id = :device AND state IN ('held', 'queued', 'sent', 'delivered', 'not_now')"
            " RETURNING id, state)"
            " INSERT INTO command_event (command_id, state, note) SELECT id, state, :note FROM over"
        ),
        {"device": device_id, "note": note},
    )


def ask_first_questions(session: Session, device_id: int, epoch: int) -> None:
    """Ask a freshly enrolled tablet for its inventory, and make it due a push for that and for its profiles."""
    for kind in INVENTORY:
        facts = FACTS[kind]
        session.execute(
            text(
                "WITH asked AS (INSERT INTO command (device_id, epoch, kind, arguments, dedupe_key, lane, state,"
                " expires_at) VALUES (:device, :epoch, :kind, '{}', :kind, :lane, 'queued', now() + :lifetime)"
                " ON CONFLICT DO NOTHING RETURNING id, state)"
                " INSERT INTO command_event (command_id, state, note) SELECT id, state, 'enrolment' FROM asked"
            ),
            {
                "device": device_id,
                "epoch": epoch,
                "kind": kind.value,
                "lane": int(facts.lane),
                "lifetime": facts.lifetime,
            },
        )
    wakeups.mark_due(session, [device_id], Lane.NORMAL)
