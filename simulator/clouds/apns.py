"""A pretended Apple push service: HTTP/2 over TLS with a client certificate, scripted faults, and a journal of its own.

It checks each request as the vendor documents it and imports nothing of the server.
https://developer.apple.com/documentation/usernotifications/handling-notification-responses-from-apns
"""

import asyncio
import hashlib
import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import uvloop

from simulator.clouds.apns_script import Answer, Script
from simulator.clouds.apns_wire import Http2Connection, Request
from simulator.clouds.pki import PushPki

OnPush = Callable[[bytes, str], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal. `delivered` says that the tablet was (or would have been) woken by it."""

    monotonic: float
    wall: float
    token: str
    apns_id: str
    magic_sha256: str
    outcome: str
    delivered: bool


class ApnsCloud:
    """The pretended service. `script` may be changed at any time; `journal` is the witness of what was pushed."""

    def __init__(self, pki: PushPki, *, on_push: OnPush | None = None, script: Script | None = None) -> None:
        self.script = script or Script()
        self.strict = True
        """Check header fields by the letter of HTTP/2 (RFC 9113 §8.2): a third of the work, and a fleet sends many."""
        self.journal: list[Entry] = []
        self.connections_made = 0
        self.on_push = on_push
        self._pki = pki
        self._open: set[Http2Connection] = set()
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._address = ("", 0)

    @property
    def url(self) -> str:
        """The base address a client is pointed at."""
        return f"https://{self._address[0]}:{self._address[1]}"

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._pki.server_certificate, self._pki.server_key)
        context.load_verify_locations(self._pki.authority)
        context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols(["h2"])
        self._loop = asyncio.get_running_loop()
        self._server = await self._loop.create_server(self._accept, host, port, ssl=context)
        self._address = (host, self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Stop listening and cut what is open."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._open):
            connection.cut()
        if self._server is not None:
            await self._server.wait_closed()

    def set_max_concurrent_streams(self, limit: int) -> None:
        """Tell every open connection, and those to come, a new limit. Callable from any thread."""
        self.script.max_concurrent_streams = limit
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._announce, limit)

    def deliveries(self) -> dict[str, int]:
        """How often each token (hex) was woken, from the journal."""
        counts: dict[str, int] = {}
        for entry in list(self.journal):
            if entry.delivered:
                counts[entry.token] = counts.get(entry.token, 0) + 1
        return counts

    def _accept(self) -> Http2Connection:
        return Http2Connection(self)

    def _announce(self, limit: int) -> None:
        for connection in self._open:
            connection.announce(limit)

    # What a connection calls.

    def opened(self, connection: Http2Connection) -> None:
        """Count a connection that finished its handshake."""
        self.connections_made += 1
        self._open.add(connection)

    def closed(self, connection: Http2Connection) -> None:
        """Forget a connection."""
        self._open.discard(connection)

    def judge(self, request: Request, topic: str | None) -> Answer:
        """The vendor's checks on the request first, then the script."""
        refusal = _check(request, topic)
        return refusal if refusal is not None else self.script.answer_for(request.token)

    def record(self, request: Request, outcome: str, *, delivered: bool) -> str:
        """Write the journal, wake the tablet if delivered, and return the apns-id to answer with."""
        apns_id = request.headers.get("apns-id") or str(uuid4()).upper()
        magic = _magic_of(request.body) or ""
        digest = hashlib.sha256(magic.encode()).hexdigest()
        self.journal.append(Entry(time.monotonic(), time.time(), request.token, apns_id, digest, outcome, delivered))
        if delivered and self.on_push is not None:
            self.on_push(bytes.fromhex(request.token), magic)
        return apns_id


@contextmanager
def serving(cloud: ApnsCloud) -> Iterator[ApnsCloud]:
    """Run `cloud` on its own thread and loop while the block runs; for callers that are not asynchronous."""
    started = threading.Event()
    loop = uvloop.new_event_loop()
    stopping = asyncio.Event()

    async def run() -> None:
        await cloud.start()
        started.set()
        await stopping.wait()
        await cloud.stop()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="apns-cloud", daemon=True)
    thread.start()
    if not started.wait(10):
        raise RuntimeError("the pretended push service did not start")
    try:
        yield cloud
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)
        loop.close()


_PATH = re.compile(r"^/3/device/([0-9a-f]*)$")


def _check(request: Request, topic: str | None) -> Answer | None:
    """Refuse what the vendor would refuse; None when all is in order. The first broken rule names the reason."""
    headers = request.headers
    match = _PATH.match(headers.get(":path", ""))
    token = match[1] if match is not None else ""
    rules = [
        (headers.get(":method") == "POST", 405, "MethodNotAllowed"),
        (match is not None, 404, "BadPath"),
        (bool(token), 400, "MissingDeviceToken"),
        (len(token) == 64, 400, "BadDeviceToken"),
        ("apns-topic" in headers, 400, "MissingTopic"),
        (headers.get("apns-topic") == topic, 400, "TopicDisallowed"),
        (headers.get("apns-push-type") == "mdm", 400, "InvalidPushType"),
        (headers.get("apns-priority", "10") in {"1", "5", "10"}, 400, "BadPriority"),
        (headers.get("apns-expiration", "0").isdecimal(), 400, "BadExpirationDate"),
        (len(request.body) <= 4096, 413, "PayloadTooLarge"),
        (_magic_of(request.body) is not None, 400, "PayloadEmpty"),
    ]
    return next((Answer(status, reason) for kept, status, reason in rules if not kept), None)


def _magic_of(body: bytes) -> str | None:
    """The PushMagic of a body that is exactly `{"mdm": "..."}`, or None."""
    try:
        document = json.loads(body)
    except ValueError:
        return None
    if not isinstance(document, dict) or set(document) != {"mdm"} or not isinstance(document["mdm"], str):
        return None
    return document["mdm"]
