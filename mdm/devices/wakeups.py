"""Wake-ups: all SQL of the `wakeup` table. One row while something waits for a tablet; it sends nothing."""

from collections.abc import Sequence

from sqlalchemy import text
from sqlmodel import Session

from mdm.devices.models import Lane


def mark_due(session: Session, device_ids: Sequence[int], lane: Lane) -> None:
    """Make these tablets due a wake-up now, in this lane or the faster one they already wait in."""
    session.execute(
        text(
            "INSERT INTO wakeup (device_id, lane, due_at)"
            " SELECT id, :lane, now() FROM unnest(CAST(:ids AS bigint[])) AS id ORDER BY id"
            " ON CONFLICT (device_id) DO UPDATE SET lane = least(wakeup.lane, excluded.lane),"
            " due_at = least(wakeup.due_at, excluded.due_at), generation = wakeup.generation + 1"
        ),
        {"ids": sorted(set(device_ids)), "lane": int(lane)},
    )
