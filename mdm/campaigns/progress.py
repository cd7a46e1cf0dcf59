"""What became of a campaign's wipes: from the commands' rows and the sender's record. Judges and sends nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from mdm.campaigns.fitness import Signed, Why
from mdm.campaigns.models import TabletState
from mdm.campaigns.waves import HOUR, Results, Room, Sizes, room
from mdm.commands.models import CommandState
from mdm.safeguards import proven
from mdm.safeguards.threshold_values import Name

# Ended commands move to another table after days; a tablet's row keeps what it heard last.
_SETTLE: Final = """
WITH told AS (
    SELECT t.device_id, c.state, c.delivered_at, c.ended_at, r.at AS left_at,
        CASE WHEN c.state = 'done' THEN 'done' WHEN c.state IN ('failed', 'expired') THEN 'failed'
            WHEN c.state IN ('queued', 'sent', 'delivered', 'not_now') THEN 'sent' ELSE 'held' END AS stands
    FROM campaign_tablet t
        JOIN LATERAL (
            SELECT state, delivered_at, ended_at FROM command WHERE id = t.command_id
            UNION ALL SELECT state, delivered_at, ended_at FROM command_past WHERE id = t.command_id
        ) c ON c.state NOT IN ('cancelled', 'superseded')
        LEFT JOIN class_a_release r ON r.command_id = t.command_id
    WHERE t.campaign_id = :id AND t.state IN ('held', 'sent')
)
UPDATE campaign_tablet t SET state = told.stands, left_at = told.left_at, delivered_at = told.delivered_at,
    ended_at = told.ended_at, reason = CASE WHEN told.state = 'expired' THEN :expired ELSE '' END
FROM told WHERE t.campaign_id = :id AND t.device_id = told.device_id
    AND (told.stands <> t.state OR told.delivered_at IS DISTINCT FROM t.delivered_at)
"""
_OPEN: Final = """
SELECT t.device_id, t.serial, t.control_number, t.epoch, t.evidence_id, t.scanned_in, t.holder_id, t.state,
    t.command_id, c.state AS stands
FROM campaign_tablet t LEFT JOIN LATERAL (
    SELECT state FROM command WHERE id = t.command_id UNION ALL SELECT state FROM command_past WHERE id = t.command_id
) c ON true
WHERE t.campaign_id = :id AND t.state IN ('waiting', 'held', 'sent') ORDER BY t.device_id
"""
_LEFT: Final = "SELECT at FROM class_a_release WHERE campaign_id = :id ORDER BY at"
_OTHERS: Final = (
    "SELECT count(*) FROM class_a_release WHERE campaign_id IS NOT NULL AND campaign_id <> :id"
    " AND at > CAST(:now AS timestamptz) - CAST(:hour AS interval)"
)
_RESULTS: Final = """
SELECT count(*) FILTER (WHERE c.state = 'done'), count(*) FILTER (WHERE c.state IN ('failed', 'expired')),
    count(*) FILTER (WHERE c.state IN ('queued', 'sent', 'delivered', 'not_now'))
FROM class_a_release r JOIN LATERAL (
    SELECT state FROM command WHERE id = r.command_id
    UNION ALL SELECT state FROM command_past WHERE id = r.command_id
) c ON true WHERE r.campaign_id = :id
"""
_COUNTS: Final = "SELECT state, count(*) FROM campaign_tablet WHERE campaign_id = :id GROUP BY state"


def settle(session: Session, campaign_id: UUID) -> None:
    """Write down in the tablets' rows what became of their wipes. Twice is harmless."""
    session.execute(text(_SETTLE), {"id": campaign_id, "expired": Why.EXPIRED.value})


def counts(session: Session, campaign_id: UUID) -> dict[TabletState, int]:
    """Return how many tablets stand where; every state has its number."""
    found: dict[str, int] = {row[0]: row[1] for row in session.execute(text(_COUNTS), {"id": campaign_id})}
    return {state: found.get(state.value, 0) for state in TabletState}


def results(session: Session, campaign_id: UUID) -> Results:
    """Return what became of what left; what was cancelled on its way proves nothing and is not counted."""
    return Results(*session.execute(text(_RESULTS), {"id": campaign_id}).one())


def room_now(session: Session, campaign_id: UUID, now: datetime) -> Room:
    """Return how many wipes may leave now, by what the sender has put on record."""
    left = list(session.execute(text(_LEFT), {"id": campaign_id}).scalars())
    others = session.execute(text(_OTHERS), {"id": campaign_id, "now": now, "hour": HOUR}).scalar_one()
    return room(left, now, sizes(session), others=others)


def sizes(session: Session) -> Sizes:
    """Return how large waves may be."""
    held = proven.current(session)
    return held[Name.CAMPAIGN_WAVE_1], held[Name.CAMPAIGN_WAVE_2], held[Name.CAMPAIGN_WAVE_3]


def gone_already(session: Session, command_ids: Sequence[UUID]) -> set[UUID]:
    """Return which of these the sender has let go before: pulled back since, they are counted already."""
    statement = text("SELECT command_id FROM class_a_release WHERE command_id = ANY(CAST(:ids AS uuid[]))")
    return set(session.execute(statement, {"ids": list(command_ids)}).scalars())


def drop(session: Session, campaign_id: UUID, fallen: dict[int, Why]) -> None:
    """Write down why tablets, by id, fell out."""
    session.execute(
        text(
            "UPDATE campaign_tablet t SET state = 'fell_out', reason = f.reason, ended_at = clock_timestamp()"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:reasons AS text[])) AS f (id, reason)"
            " WHERE t.campaign_id = :campaign AND t.device_id = f.id AND t.state IN ('waiting', 'held', 'sent')"
        ),
        {"campaign": campaign_id, "ids": list(fallen), "reasons": [why.value for why in fallen.values()]},
    )


def placed(session: Session, campaign_id: UUID, commands: dict[int, UUID], *, wave: int) -> None:
    """Write down which command each tablet, by id, has got."""
    session.execute(
        text(
            "UPDATE campaign_tablet t SET state = 'held', wave = :wave, command_id = f.command"
            " FROM unnest(CAST(:ids AS bigint[]), CAST(:commands AS uuid[])) AS f (id, command)"
            " WHERE t.campaign_id = :campaign AND t.device_id = f.id"
        ),
        {"campaign": campaign_id, "wave": wave, "ids": list(commands), "commands": list(commands.values())},
    )


@dataclass(frozen=True, slots=True)
class Open:
    """A tablet that is not through."""

    signed: Signed
    state: TabletState
    command_id: UUID | None
    command: CommandState | None
    """How its wipe stands, once there is one."""


def open_tablets(session: Session, campaign_id: UUID) -> list[Open]:
    """Return the tablets that are not through, in the order in which they leave."""
    return [
        Open(
            Signed(*row[:7]),
            TabletState(row.state),
            row.command_id,
            None if row.stands is None else CommandState(row.stands),
        )
        for row in session.execute(text(_OPEN), {"id": campaign_id})
    ]
