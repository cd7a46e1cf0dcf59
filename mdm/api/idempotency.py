"""Run a request once per `Idempotency-Key`: the same answer for a repeat, nothing done twice. Knows no room.

The IETF draft expired in April 2026, so these are our semantics: a key is unique per operator and route for 24 hours;
only answers of requests that succeeded are kept, because a refused request left nothing behind.
"""

import hashlib
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy import text
from sqlmodel import Session

from mdm.auth import Principal
from mdm.auth.access import SignedIn
from mdm.db import SessionDep
from mdm.errors import Conflict, Invalid

KEPT_HOURS = 24


class StillRunning(Conflict):
    """The first request with this key has not ended yet."""

    slug = "idempotency-still-running"


class KeyReused(Invalid):
    """The key was used before with another body."""

    slug = "idempotency-key-reused"


class OnceOnly:
    """One request that must not be done twice."""

    def __init__(self, session: Session, principal: Principal, *, key: str, route: str, body: bytes) -> None:
        self._session = session
        self._operator = principal.id
        self._key = key
        self._route = route
        self._body_hash = hashlib.sha256(body).digest()

    def run(self, act: Callable[[], BaseModel], *, status: int = 202) -> Response:
        """Answer as the first time if this key is known, else act and keep the answer in the same transaction.

        So an answer is kept exactly when its effects are. Raises `StillRunning` (409) and `KeyReused` (422).
        """
        lock = hashlib.sha256(f"{self._operator}\0{self._route}\0{self._key}".encode()).digest()[:8]
        taken = self._session.execute(
            text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": int.from_bytes(lock, "big", signed=True)}
        ).scalar_one()
        if not taken:
            raise StillRunning("the first request with this Idempotency-Key is still running; ask again later")
        known = self._known()
        if known is not None:
            return known
        answer = act().model_dump_json().encode()
        self._keep(status, answer)
        return Response(answer, status_code=status, media_type="application/json")

    def _known(self) -> Response | None:
        row = self._session.execute(
            text(
                "SELECT body_hash, status, answer FROM idempotency_record WHERE operator_id = :operator AND key = :key"
                " AND route = :route AND created_at > now() - make_interval(hours => :hours)"
            ),
            {"operator": self._operator, "key": self._key, "route": self._route, "hours": KEPT_HOURS},
        ).first()
        if row is None:
            return None
        if bytes(row.body_hash) != self._body_hash:
            raise KeyReused("this Idempotency-Key was used before with another body")
        return Response(
            bytes(row.answer),
            status_code=row.status,
            media_type="application/json",
            headers={"Idempotent-Replayed": "true"},
        )

    def _keep(self, status: int, answer: bytes) -> None:
        self._session.execute(
            text(
                # An entry in the way is older than 24 hours: `_known` did not return it.
                "INSERT INTO idempotency_record (operator_id, key, route, body_hash, status, answer)"
                " VALUES (:operator, :key, :route, :body_hash, :status, :answer)"
                " ON CONFLICT (operator_id, key, route) DO UPDATE SET body_hash = excluded.body_hash,"
                " status = excluded.status, answer = excluded.answer, created_at = now()"
            ),
            {
                "operator": self._operator,
                "key": self._key,
                "route": self._route,
                "body_hash": self._body_hash,
                "status": status,
                "answer": answer,
            },
        )


async def _body(request: Request) -> bytes:
    return await request.body()


def _once(
    request: Request,
    session: SessionDep,
    principal: SignedIn,
    body: Annotated[bytes, Depends(_body)],
    idempotency_key: Annotated[
        str,
        Header(
            min_length=1,
            max_length=128,
            pattern=r"^[\x21-\x7e]+$",
            description="Any fresh text, e.g. a UUID; a repeat within 24 hours gets the first answer and does nothing.",
        ),
    ],
) -> OnceOnly:
    route = f"{request.method} {request.url.path}"[:200]
    return OnceOnly(session, principal, key=idempotency_key, route=route, body=body)


Once = Annotated[OnceOnly, Depends(_once)]
"""For every POST that creates commands: `return once.run(lambda: answer, status=202)`."""


def forget_old(session: Session) -> int:
    """Delete kept answers that are over their 24 hours and return how many; for the upkeep job."""
    gone = session.execute(
        text("DELETE FROM idempotency_record WHERE created_at < now() - make_interval(hours => :hours) RETURNING 1"),
        {"hours": KEPT_HOURS},
    )
    return len(gone.all())
