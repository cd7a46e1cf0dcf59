"""An approver's key for tests, and what it signs: written from docs/safeguards.md, sharing no code with the server."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg.types.json import Jsonb


def encode(value: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _hash(document: list[Any]) -> bytes:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).digest()


def digest(action: str, subject: Any, reason: str, requested_by: int, expires_at: datetime) -> bytes:
    """Return the digest of a request for approval."""
    until = expires_at.astimezone(UTC).isoformat(timespec="microseconds")
    return _hash(["tabane.request.1", action, subject, reason, requested_by, until])


def digest_shown(request: dict[str, Any]) -> bytes:
    """Return the same from what the API shows of it."""
    facts = (request[name] for name in ("action", "subject", "reason", "requested_by_id"))
    return digest(*facts, datetime.fromisoformat(request["expires_at"]))


def challenge(digest: bytes, approver: str, *, urgent: bool) -> bytes:
    """Return what an approver signs."""
    return _hash(["tabane.approve.1", digest.hex(), approver, urgent])


class Signer:
    """One person's key in software."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.key = Ed25519PrivateKey.generate()
        self.id = 0

    @property
    def public_key(self) -> bytes:
        """Its public half."""
        return self.key.public_key().public_bytes_raw()

    def pinned(self, database_url: str) -> "Signer":
        """Stand in the database as a key that the host has pinned for the person of this name."""
        with psycopg.connect(database_url) as connection:
            return self.pinned_by(connection)

    def pinned_by(self, connection: psycopg.Connection) -> "Signer":
        """Do the same in somebody's transaction."""
        row = connection.execute(
            "INSERT INTO approver_key (operator_id, kind, public_key, label, pinned_at)"
            " SELECT id, 'software', %s, 'a test', now() FROM operator WHERE name = %s RETURNING id",
            (self.public_key, self.name),
        ).fetchone()
        assert row is not None
        self.id = row[0]
        return self

    def sign(self, digest: bytes, *, urgent: bool = True) -> str:
        """Sign an approval of a request with this digest."""
        return encode(self.key.sign(challenge(digest, self.name, urgent=urgent)))

    def consent(self, request: dict[str, Any], *, urgent: bool = True) -> dict[str, Any]:
        """Return the body of an approval of a request, as the API shows it."""
        return {"key": self.id, "urgent": urgent, "signature": self.sign(digest_shown(request), urgent=urgent)}

    def word(self, wish: dict[str, Any]) -> dict[str, Any]:
        """Return the body of an agreement to loosen or to thaw, as the API shows the wish."""
        return {"key": self.id, "signature": self.sign(digest_shown(wish), urgent=False)}

    def approve_row(self, connection: psycopg.Connection, approval_id: Any, *, urgent: bool = True) -> None:
        """Approve a request past the application, as a stolen web process could with this key in its hands."""
        row = connection.execute(
            "SELECT action, subject, reason, requested_by, expires_at, digest FROM approval WHERE id = %s",
            (approval_id,),
        ).fetchone()
        assert row is not None
        signed = digest(*row[:5])
        if row[5] != signed:
            connection.execute("UPDATE approval SET digest = %s WHERE id = %s", (signed, approval_id))
        connection.execute(
            "UPDATE approval SET state = 'approved', urgent = %s, key_id = %s, signature = %s,"
            " decided_by = (SELECT operator_id FROM approver_key WHERE id = %s) WHERE id = %s",
            (urgent, self.id, Jsonb({"signature": self.sign(signed, urgent=urgent)}), self.id, approval_id),
        )

    def registration(self, label: str) -> dict[str, Any]:
        """Return the body of the registration of this key."""
        signed = self.key.sign(_hash(["tabane.key.1", self.name, label, self.public_key.hex()]))
        parts = {"public_key": encode(self.public_key), "signature": encode(signed)}
        return {"kind": "software", "label": label, **parts}
