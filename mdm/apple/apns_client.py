"""The default push client: a synchronous front over one background loop that owns the connection to Apple.

It retries only what was certainly never sent; everything else is reported and left to the dispatcher.
"""

import asyncio
import os
import ssl
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

import uvloop

from mdm.apple.apns import (
    Broken,
    Gateway,
    NeverSent,
    Outcome,
    Push,
    Unknown,
    certificate_refusal,
    tls_context,
)
from mdm.apple.apns_h2 import Connection, Ticket

_MAX_TRIES = 2
_FLUSH_EVERY = 32
"""Streams framed before they are written, so that the far end starts on the first while the last are framed."""
_MAX_BARREN = 3
"""Connections in a row that end without a single answer before the queue is given back."""


class _Batch:
    """The outcomes of one `send`, filled on the loop's thread; each place is filled once."""

    def __init__(self, size: int) -> None:
        self.outcomes: list[Outcome | None] = [None] * size
        self.left = size
        self.done: Future[None] = Future()

    def settle(self, index: int, outcome: Outcome) -> None:
        if self.outcomes[index] is None:
            self.outcomes[index] = outcome
            self.left -= 1
            if self.left == 0:
                self.done.set_result(None)


class H2PushClient:
    """A `PushClient` for any number of threads; its own thread starts at the first send of each process."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._lock = threading.Lock()
        self._driver: _Driver | None = None
        self._pid = 0

    def send(self, pushes: Sequence[Push]) -> list[Outcome]:
        """Send and wait for every outcome; see `PushClient`."""
        if not pushes:
            return []
        batch = _Batch(len(pushes))
        self._running().submit(batch, pushes)
        gateway = self._gateway
        limit = gateway.queue_timeout + _MAX_TRIES * (gateway.connect_timeout + gateway.stream_timeout) + 5
        with suppress(TimeoutError):  # the loop's own timers are tighter; this is for a loop that died
            batch.done.result(limit)
        return [outcome or Unknown("no outcome in time") for outcome in batch.outcomes]

    def close(self) -> None:
        """Close the connection and end the thread; the next send starts afresh."""
        with self._lock:
            driver, self._driver = self._driver, None
        if driver is not None and self._pid == os.getpid():
            driver.stop()

    def _running(self) -> "_Driver":
        with self._lock:
            if self._driver is None or self._pid != os.getpid():  # a fork inherits no threads
                self._pid = os.getpid()
                self._driver = _Driver(self._gateway)
            return self._driver


class _Driver:
    """Queue and connection, touched only on the loop's thread."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._queue: deque[Ticket] = deque()
        self._connection: Connection | None = None
        self._connections: set[Connection] = set()
        """Current and draining."""
        self._opening: asyncio.Task[None] | None = None
        self._barren = 0
        self._stopped = False
        self._pumping = False
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="apns", daemon=True)
        self._thread.start()

    # Called from other threads.

    def submit(self, batch: _Batch, pushes: Sequence[Push]) -> None:
        """Queue a batch."""
        self._loop.call_soon_threadsafe(self._enqueue, batch, pushes)

    def stop(self) -> None:
        """Give everything back and end the thread."""
        self._loop.call_soon_threadsafe(self._shut)
        self._thread.join(5)

    # On the loop.

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.call_later(0.5, self._expire)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def _enqueue(self, batch: _Batch, pushes: Sequence[Push]) -> None:
        deadline = self._loop.time() + self._gateway.queue_timeout
        self._queue.extend(Ticket(push, partial(batch.settle, index), deadline) for index, push in enumerate(pushes))
        self._pump()

    def _pump(self) -> None:
        """Fill the connection's room from the queue; open a connection when there is none to use."""
        if self._pumping:
            return  # settling inside `start` or `flush` comes back here
        self._pumping = True
        try:
            connection = self._connection
            if connection is not None and not connection.usable:
                self._retire(connection)
                connection = None
            if connection is None:
                if self._queue and self._opening is None and not self._stopped:
                    self._opening = self._loop.create_task(self._open())
                return
            started = 0
            while self._queue and connection.has_room():
                connection.start(self._queue.popleft())
                started += 1
                if started % _FLUSH_EVERY == 0:
                    connection.flush()
            connection.flush()
        finally:
            self._pumping = False

    def _retire(self, connection: Connection) -> None:
        self._connection = None
        self._barren = 0 if connection.answered or connection.owed() else self._barren + 1
        if connection.refusal:
            self._give_back(Broken(connection.refusal))
        elif self._barren >= _MAX_BARREN:
            self._barren = 0
            self._give_back(NeverSent("connections end without an answer"))

    def _give_back(self, outcome: Outcome) -> None:
        queue, self._queue = self._queue, deque()
        for ticket in queue:
            ticket.settle(outcome)

    async def _open(self) -> None:
        """Connect (names are resolved anew each time) and wait for the peer's SETTINGS."""
        gateway = self._gateway
        parts = urlsplit(gateway.url)
        connection: Connection | None = None
        try:
            context = tls_context(gateway)
        except OSError as error:
            self._give_back(Broken(f"push certificate: {_why(error)}"))
            self._opening = None
            return
        try:
            async with asyncio.timeout(gateway.connect_timeout):
                _, connection = await self._loop.create_connection(
                    lambda: Connection(gateway, settled=self._settled, changed=self._pump),
                    parts.hostname or "",
                    parts.port or 443,
                    ssl=context,
                )
                await connection.ready
            self._connection = connection
            self._connections = {c for c in self._connections if not c.closed} | {connection}
        except (OSError, TimeoutError) as error:
            if connection is not None:
                connection.close()
            refusal = certificate_refusal(error)
            self._give_back(Broken(refusal) if refusal else NeverSent(_why(error)))
        finally:
            self._opening = None
        self._pump()

    def _settled(self, ticket: Ticket, outcome: Outcome) -> None:
        """A started ticket is back: once more round if it was never sent, else report."""
        if isinstance(outcome, NeverSent) and ticket.tries < _MAX_TRIES and not self._stopped:
            self._queue.appendleft(ticket)
        else:
            ticket.settle(outcome)

    def _expire(self) -> None:
        """Give back what has waited too long for a stream; the queue is oldest first but for retries."""
        now = self._loop.time()
        if self._queue and min(self._queue[0].deadline, self._queue[-1].deadline) < now:
            kept = deque(ticket for ticket in self._queue if ticket.deadline >= now)
            late = [ticket for ticket in self._queue if ticket.deadline < now]
            self._queue = kept
            for ticket in late:
                ticket.settle(NeverSent("no free stream in time"))
        self._loop.call_later(0.5, self._expire)

    def _shut(self) -> None:
        self._stopped = True
        self._give_back(NeverSent("closing"))
        if self._opening is not None:
            self._opening.cancel()
        for connection in self._connections:
            connection.close()
        self._loop.call_later(0.05, self._loop.stop)  # after connection_lost has settled its streams


def _why(error: BaseException) -> str:
    """A short cause without addresses or secrets."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'failed'}"
    return type(error).__name__
