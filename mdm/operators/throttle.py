"""Slow down guessing at sign-in: recent failures, counted in PostgreSQL for all web processes. Stores no name.

Each count is a short transaction of its own: a refused sign-in is rolled back, and its count must stay. Where the
database is away there is no count, and no sign-in either.
"""

import hashlib
import math
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from mdm import clock, db
from mdm.errors import MdmError

WINDOW_S: Final = 900.0
PER_NAME_AND_ADDRESS: Final = 5
PER_ADDRESS: Final = 30
PER_NAME: Final = 50
"""Higher than the others, so that strangers elsewhere cannot lock an operator out with a few wrong guesses."""
_LAST_THAT_COUNTS: Final = text(
    "SELECT max(l.at) FROM unnest(CAST(:keys AS bytea[]), CAST(:limits AS integer[])) AS k (key, most)"
    " CROSS JOIN LATERAL (SELECT a.at FROM sign_in_attempt a WHERE a.key = k.key AND a.at > :since"
    " ORDER BY a.at DESC OFFSET k.most - 1 LIMIT 1) l"
)
"""Of each count that is full, the attempt that must leave the window first; the last of these decides."""


class TooManyAttempts(MdmError):
    """Too many wrong sign-ins; `retry_after` seconds to wait."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    slug = "too-many-attempts"

    def __init__(self, retry_after: int) -> None:
        super().__init__("too many wrong sign-ins; wait before the next")
        self.retry_after = retry_after


class Throttle:
    """Failures of the last 15 minutes by name and address, by address, and by name; `kind` keeps throttles apart."""

    def __init__(
        self,
        kind: str,
        *,
        per_name_and_address: int = PER_NAME_AND_ADDRESS,
        per_address: int = PER_ADDRESS,
        per_name: int = PER_NAME,
    ) -> None:
        self._kind = kind
        self._limits = (per_name_and_address, per_address, per_name)

    def attempt(self, name: str, address: str) -> None:
        """Count an attempt as failed until `succeeded` says otherwise; raise `TooManyAttempts` when over a limit.

        Counting first keeps a burst of parallel guesses within the limit, at however many processes.
        """
        keys, now = self._keys(name, address), clock.now()
        window = timedelta(seconds=WINDOW_S)
        with db.aside() as session:
            _stand_in_line(session, keys)
            facts = {"keys": keys, "limits": list(self._limits), "since": now - window}
            last = session.execute(_LAST_THAT_COUNTS, facts).scalar()
            if last is not None:
                raise TooManyAttempts(max(1, math.ceil((last + window - now).total_seconds())))
            statement = (
                "INSERT INTO sign_in_attempt (key, at) SELECT key, :now FROM unnest(CAST(:keys AS bytea[])) AS key"
            )
            session.execute(text(statement), {"keys": keys, "now": now})

    def succeeded(self, name: str, address: str) -> None:
        """Forget the failures of a name from an address after a right sign-in; take back the others' count."""
        both, *others = self._keys(name, address)
        with db.aside() as session:
            _stand_in_line(session, [both, *others])
            session.execute(text("DELETE FROM sign_in_attempt WHERE key = :key"), {"key": both})
            for key in others:
                newest = "SELECT a.id FROM sign_in_attempt a WHERE a.key = :key ORDER BY a.at DESC LIMIT 1"
                session.execute(text(f"DELETE FROM sign_in_attempt WHERE id = ({newest})"), {"key": key})

    def _keys(self, name: str, address: str) -> list[bytes]:
        """Name what is counted by digests: people type passwords where a name belongs."""
        parts = (("both", name, address), ("address", address), ("name", name))
        return [hashlib.sha256("\0".join((self._kind, *part)).encode()).digest() for part in parts]


def drop_old(session: Session) -> int:
    """Delete what counts no more and return how much; for the upkeep job."""
    statement = text("DELETE FROM sign_in_attempt WHERE at <= :since")
    since = clock.now() - timedelta(seconds=WINDOW_S)
    return int(session.execute(statement, {"since": since}).rowcount)  # type: ignore[attr-defined]


def _stand_in_line(session: Session, keys: list[bytes]) -> None:
    """Let nobody else count the same meanwhile; in one order, so that nobody waits in a circle."""
    locks = sorted(int.from_bytes(key[:8], "big", signed=True) for key in keys)
    statement = text("SELECT pg_advisory_xact_lock(lock) FROM unnest(CAST(:locks AS bigint[])) AS lock")
    session.execute(statement, {"locks": locks})
