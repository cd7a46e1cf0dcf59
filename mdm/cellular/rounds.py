"""The rows of regular looks at all SIMs: taken by one worker at a time, with how far each has read."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlmodel import Session

TABLETS: Final = "tablets"
"""Reads what tablets answer."""
RECONCILIATION: Final = "reconciliation"


@dataclass(frozen=True, slots=True)
class Round:
    """How far a look has come."""

    through: datetime | None
    news_at: datetime | None
    finished_at: datetime | None


def take(session: Session, name: str) -> Round | None:
    """Take a round for the length of this transaction; None while another worker is at it."""
    session.execute(text("INSERT INTO sim_round (name) VALUES (:name) ON CONFLICT DO NOTHING"), {"name": name})
    row = session.execute(
        text("SELECT through, news_at, finished_at FROM sim_round WHERE name = :name FOR NO KEY UPDATE SKIP LOCKED"),
        {"name": name},
    ).first()
    return None if row is None else Round(*row)


def read_through(session: Session, name: str, through: datetime) -> None:
    """Note how far was read."""
    session.execute(
        text("UPDATE sim_round SET through = :through WHERE name = :name"), {"name": name, "through": through}
    )


def finish(session: Session, name: str, *, through: datetime, counts: Mapping[str, Any]) -> None:
    """Note that a round has ended, and what it found."""
    session.execute(
        text(
            "UPDATE sim_round SET through = :through, finished_at = :through, counts = CAST(:counts AS jsonb)"
            " WHERE name = :name"
        ),
        {"name": name, "through": through, "counts": orjson.dumps(dict(counts)).decode()},
    )


def tell(session: Session, name: str, at: datetime) -> None:
    """Note that something came in which calls for another round."""
    session.execute(
        text(
            "INSERT INTO sim_round (name, news_at) VALUES (:name, :at)"
            " ON CONFLICT (name) DO UPDATE SET news_at = EXCLUDED.news_at"
        ),
        {"name": name, "at": at},
    )
