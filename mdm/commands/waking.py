"""The one transition that belongs to the wake-up: a queued command is `sent` once its tablet has been woken for it."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlmodel import Session


def mark_sent(session: Session, device_ids: Sequence[int]) -> int:
    """Mark what waits for these tablets as sent; what is further along, or not yet due, stays. Returns how many."""
    rows = session.execute(
        text(
            "WITH sent AS ("
            " UPDATE command SET state = 'sent', sent_at = now()"
            " WHERE device_id = ANY(CAST(:ids AS bigint[])) AND state = 'queued'"
            " AND (not_before IS NULL OR not_before <= now()) AND expires_at > now() RETURNING id)"
            " INSERT INTO command_event (command_id, state) SELECT id, 'sent' FROM sent RETURNING id"
        ),
        {"ids": list(device_ids)},
    )
    return len(rows.all())
