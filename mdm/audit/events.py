"""What makes one event follow from another: canonical form, digest and seal. Pure; knows no table and no file."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

GENESIS: Final = bytes(32)
"""What the first event follows."""


class Event(Protocol):
    """An event as a row, an object or a line of an export has it."""

    @property
    def at(self) -> datetime:
        """Aware."""
        ...

    @property
    def actor(self) -> str:
        """Who."""
        ...

    @property
    def action(self) -> str:
        """`noun.verb`."""
        ...

    @property
    def subject(self) -> str:
        """Which thing."""
        ...

    @property
    def details(self) -> Mapping[str, Any]:
        """Facts."""
        ...

    @property
    def previous(self) -> bytes:
        """The digest of the event before."""
        ...

    @property
    def sequence(self) -> int | None:
        """Its place; None in events of the first form, which have no seal."""
        ...

    @property
    def key_id(self) -> str | None:
        """Whose seal."""
        ...


@dataclass(frozen=True, slots=True)
class Link:
    """One event with all that is needed to verify it."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    details: Mapping[str, Any]
    previous: bytes
    digest: bytes
    sequence: int | None = None
    key_id: str | None = None
    mac: bytes | None = None


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return JSON that is the same for the same content: sorted keys, no spaces, UTF-8."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def moment(at: datetime) -> str:
    """Return a moment in UTC to the microsecond."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def digest_of(event: Event) -> bytes:
    """Return SHA-256 over the previous digest and the event; the second form holds its place and its key's id too."""
    body: dict[str, Any] = {
        "at": moment(event.at),
        "actor": event.actor,
        "action": event.action,
        "subject": event.subject,
        "details": event.details,
    }
    if event.sequence is None:
        return hashlib.sha256(event.previous + canonical(body)).digest()
    body |= {"sequence": event.sequence, "key": event.key_id}
    return hashlib.sha256(b"tabane audit event 2\n" + event.previous + canonical(body)).digest()


def seal_of(key: bytes, digest: bytes) -> bytes:
    """Return the seal of an event: whoever lacks the key cannot make an event that verifies."""
    return hmac.digest(key, b"tabane audit seal 2\n" + digest, "sha256")
