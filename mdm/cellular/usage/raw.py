"""What a carrier handed over, as it was, by its digest: the same bytes are kept once. Reads none of it."""

import hashlib
import zlib
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlmodel import Session

from mdm.cellular.models import UsageSource

_LEVEL: Final = 6


def keep(
    session: Session,
    account_id: int,
    source: UsageSource,
    payload: bytes,
    *,
    received_at: datetime,
    period: tuple[datetime, datetime] | None = None,
) -> int:
    """Keep an answer or a small file for disputes and return its id; one that came before is noted as come again."""
    digest = hashlib.sha256(payload).digest()
    body = zlib.compress(payload, _LEVEL)
    return note(session, account_id, source, digest, len(payload), received_at=received_at, period=period, body=body)


def note(
    session: Session,
    account_id: int,
    source: UsageSource,
    digest: bytes,
    size: int,
    *,
    received_at: datetime,
    period: tuple[datetime, datetime] | None = None,
    body: bytes | None = None,
) -> int:
    """Note that something came (a file too large to be kept, by its digest) and return its id."""
    start, end = period or (None, None)
    raw_id: int = session.execute(
        text(_NOTE),
        {
            "account": account_id,
            "source": source.value,
            "digest": digest,
            "size": size,
            "received": received_at,
            "start": start,
            "end": end,
            "body": body,
        },
    ).scalar_one()
    return raw_id


_NOTE: Final = """
INSERT INTO usage_raw AS r (account_id, source, payload_hash, received_at, period_start, period_end, size, body)
VALUES (:account, :source, :digest, :received, :start, :end, :size, :body)
ON CONFLICT (account_id, source, payload_hash) DO UPDATE
SET received_at = greatest(r.received_at, excluded.received_at), body = coalesce(r.body, excluded.body)
RETURNING id
"""
