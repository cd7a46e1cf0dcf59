"""What a push to Apple is and what may become of it; the contract both clients keep. No sockets here.

https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns
"""

import json
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Protocol
from uuid import UUID

EXPIRATION_SECONDS = 24 * 3600
"""How long Apple keeps a push for a tablet that is off; without it the push is dropped at once."""

_DEAD_TOKEN = {"BadDeviceToken", "DeviceTokenNotForTopic", "Unregistered", "ExpiredToken"}
_OUR_FAULT = {"BadTopic", "MissingTopic", "TopicDisallowed"}
"""400s that will meet every push alike: the certificate does not fit the topic."""


@dataclass(frozen=True, slots=True)
class Push:
    """One wake-up. `apns_id` is the id of this attempt; token and magic stay out of repr and logs."""

    token: bytes = field(repr=False)
    magic: str = field(repr=False)
    topic: str
    apns_id: UUID


@dataclass(frozen=True, slots=True)
class Accepted:
    """Apple took it."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Apple refused this push for good. `unregistered_at` (410) is when the token was found dead."""

    reason: str
    unregistered_at: datetime | None = None

    @property
    def token_dead(self) -> bool:
        """Whether only a TokenUpdate of the tablet itself can repair it."""
        return self.reason in _DEAD_TOKEN


@dataclass(frozen=True, slots=True)
class NeverSent:
    """Apple certainly did not act on it: resend when the line is back."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """It left us and no answer came: resending may wake the tablet twice, which is harmless."""

    reason: str


@dataclass(frozen=True, slots=True)
class Backoff:
    """429 or 5xx: resend later; `retry_after` in seconds when Apple names it."""

    reason: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """The certificate or its topic is refused: every push will be, so stop and call somebody."""

    reason: str


Outcome = Accepted | Rejected | NeverSent | Unknown | Backoff | Broken


@dataclass(frozen=True, slots=True)
class Gateway:
    """Where pushes go and with what. `key` None means it is in the certificate file; times in seconds."""

    url: str
    certificate: Path
    key: Path | None = None
    authorities: Path | None = None
    """CA bundle; None takes the system's."""
    connect_timeout: float = 10.0
    stream_timeout: float = 10.0
    queue_timeout: float = 15.0
    """How long a push may wait for a free stream before it is NeverSent."""
    ping_every: float = 60.0


class PushClient(Protocol):
    """Sends batches. Every push gets exactly one outcome, in order, whatever the connection does."""

    def send(self, pushes: Sequence[Push]) -> list[Outcome]:
        """Send and wait for all outcomes; bounded by the gateway's timeouts, never raises for the network."""
        ...

    def close(self) -> None:
        """Close the connection; the next send opens it again."""
        ...


def classify(status: int, body: bytes, retry_after: str | None) -> Outcome:
    """Turn a complete response into an outcome."""
    if status == HTTPStatus.OK:
        return Accepted()
    reason, timestamp = read_reason(body)
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        seconds = float(retry_after) if retry_after and retry_after.isdecimal() else None
        return Backoff(reason or str(status), seconds)
    if status == HTTPStatus.FORBIDDEN or reason in _OUR_FAULT:
        return Broken(reason or str(status))
    return Rejected(reason or str(status), timestamp if status == HTTPStatus.GONE else None)


def read_reason(body: bytes) -> tuple[str, datetime | None]:
    """Reason and timestamp (milliseconds since the epoch) of an error body; empty when it is none of Apple's."""
    try:
        document = json.loads(body)
    except ValueError:
        return "", None
    if not isinstance(document, dict):
        return "", None
    reason, stamp = document.get("reason"), document.get("timestamp")
    return (reason[:64] if isinstance(reason, str) else ""), _moment(stamp)


def expiration(at: float | None = None) -> int:
    """The apns-expiration header, whole minutes so that HPACK can keep it in its table."""
    return int((time.time() if at is None else at) // 60) * 60 + EXPIRATION_SECONDS


def tls_context(gateway: Gateway) -> ssl.SSLContext:
    """Our certificate, Apple's authorities, and nothing but HTTP/2."""
    context = ssl.create_default_context(cafile=str(gateway.authorities) if gateway.authorities else None)
    context.load_cert_chain(gateway.certificate, gateway.key)
    context.set_alpn_protocols(["h2"])
    return context


def certificate_refusal(error: BaseException | None) -> str | None:
    """The TLS alert's name when the peer refused *our* certificate; None for every other failure."""
    if not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLCertVerificationError):
        return None
    reason = (error.reason or "").upper()
    refused = "ALERT" in reason and any(word in reason for word in ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED"))
    return reason if refused else None


def _moment(stamp: object) -> datetime | None:
    if not isinstance(stamp, int | float):
        return None
    try:
        return datetime.fromtimestamp(stamp / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return None
