"""The push client over the library `apns2`, behind the same contract as our own (docs/decisions/0002-push-client.md).

The library hides status, Retry-After and GOAWAY's last stream, so more ends as Unknown here; it never loses an outcome.
"""

import json
import socket
import ssl
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import h2.exceptions
from apns2.client import APNsClient, NotificationType
from apns2.credentials import Credentials
from apns2.errors import ConnectionFailed
from hyper.http20.exceptions import HTTP20Error

from mdm.apple.apns import (
    Accepted,
    Broken,
    Gateway,
    NeverSent,
    Outcome,
    Push,
    Unknown,
    classify,
    expiration,
    tls_context,
)

_FAILURES = (OSError, HTTP20Error, h2.exceptions.H2Error, ConnectionFailed, KeyError, AttributeError, ValueError)
"""What the library lets through: KeyError and AttributeError when its tables were torn down under a reader."""

_STATUS_OF = {
    "TooManyRequests": 429,
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
    "Shutdown": 503,
    "Unregistered": 410,
    "ExpiredToken": 410,
    "BadCertificate": 403,
    "BadCertificateEnvironment": 403,
    "Forbidden": 403,
}
"""The library reports only the vendor's reason: the documented status of each that is not 400."""

_MAX_BARREN = 3


class _MdmPayload:
    """What the library asks of a payload; an MDM push has no alert, badge or sound."""

    alert = badge = sound = None

    def __init__(self, magic: str) -> None:
        self._magic = magic

    def dict(self) -> dict[str, str]:
        """The whole body."""
        return {"mdm": self._magic}


class Apns2PushClient:
    """A `PushClient` over one `apns2` connection; sends are serialised."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._lock = threading.Lock()
        self._client: Any = None
        self._socket: ssl.SSLSocket | None = None
        """Kept apart: at GOAWAY the library forgets its socket without closing it."""

    def send(self, pushes: Sequence[Push]) -> list[Outcome]:
        """Send and wait for every outcome; see `PushClient`."""
        outcomes: list[Outcome | None] = [None] * len(pushes)
        waiting = deque(enumerate(pushes))
        try:
            tls_context(self._gateway)
        except OSError as error:
            return [Broken(f"push certificate: {type(error).__name__}")] * len(pushes)
        barren = 0
        with self._lock:
            while waiting and barren < _MAX_BARREN:
                before = sum(outcome is not None for outcome in outcomes)
                try:
                    self._drain(waiting, outcomes)
                except _FAILURES:
                    self._drop()
                after = sum(outcome is not None for outcome in outcomes)
                barren = barren + 1 if after == before else 0
        return [outcome or NeverSent("connection failed") for outcome in outcomes]

    def close(self) -> None:
        """Close the connection; the next send opens it again."""
        with self._lock:
            self._drop()

    def _drain(self, waiting: deque[tuple[int, Push]], outcomes: list[Outcome | None]) -> None:
        """Send on the present connection until nothing waits or it fails; what is then in flight is Unknown."""
        client = self._connected()
        flying: deque[tuple[int, int]] = deque()
        try:
            while waiting or flying:
                client.update_max_concurrent_streams()
                room = client._APNsClient__max_concurrent_streams - len(flying)  # noqa: SLF001
                if waiting and room > 0:
                    index, push = waiting.popleft()
                    outcomes[index] = Unknown("connection failed while sending")
                    flying.append((index, _start(client, push)))
                else:
                    index, stream_id = flying.popleft()
                    outcomes[index] = Unknown("no answer")
                    outcomes[index] = _result(client, stream_id)
        except _FAILURES:
            for index, _ in flying:
                outcomes[index] = Unknown("connection lost")
            raise

    def _connected(self) -> Any:
        if self._client is None:
            parts = urlsplit(self._gateway.url)
            credentials = Credentials(tls_context(self._gateway))
            address = {"LIVE_SERVER": parts.hostname, "DEFAULT_PORT": parts.port or 443}
            client = type("Client", (APNsClient,), address)(credentials)
            client._connection.connect()  # noqa: SLF001 - without the library's three logged attempts
            self._socket = client._connection._sock._sck  # noqa: SLF001
            self._socket.settimeout(self._gateway.stream_timeout)
            # The library writes HEADERS and DATA apart: without this each push waits for a delayed ACK.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._client = client
        return self._client

    def _drop(self) -> None:
        client, self._client = self._client, None
        sock, self._socket = self._socket, None
        if client is not None:
            with suppress(*_FAILURES):  # it was gone already
                client._connection.close()  # noqa: SLF001
        if sock is not None:
            sock.close()


def _start(client: Any, push: Push) -> int:
    """Open a stream. The library has no way to set apns-id; priority 10 is the vendor's default and left out by it."""
    stream_id: int = client.send_notification_async(
        push.token.hex(),
        _MdmPayload(push.magic),
        topic=push.topic,
        expiration=expiration(),
        push_type=NotificationType.MDM,
    )
    return stream_id


def _result(client: Any, stream_id: int) -> Outcome:
    """The outcome of one stream; a reset of this stream alone is Unknown and leaves the connection in use."""
    try:
        result = client.get_notification_result(stream_id)
    except HTTP20Error:
        return Unknown("stream reset")
    if result == "Success":
        return Accepted()
    reason, timestamp = result if isinstance(result, tuple) else (result, None)
    body = json.dumps({"reason": reason, "timestamp": timestamp}).encode()
    return classify(_STATUS_OF.get(reason, 400), body, None)
