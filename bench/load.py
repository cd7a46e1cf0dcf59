"""A load generator for HTTP/1.1: many keep-alive connections, requests made beforehand, no pipelining.

It runs in a process of its own and only counts. A status other than 200 ends the run: the figures would mean nothing.
"""

import asyncio
import multiprocessing
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection as Pipe
from typing import cast

import uvloop

CONNECTIONS = 64


class _Client(asyncio.Protocol):
    """One connection: sends the next request as soon as the answer to the one before is whole."""

    def __init__(self, load: "_Load") -> None:
        self._load = load
        self._missing = 0
        """Bytes of the answer's body that have not come yet."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._load.next_request())

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        elif not data.startswith(b"HTTP/1.1 200"):
            self._load.fail(data[:60])
            return
        elif b"\r\ncontent-length: 0\r\n" not in data:
            head, _, body = data.partition(b"\r\n\r\n")
            self._missing = int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]) - len(body)
        if self._missing:
            return
        self._load.answered += 1
        if self._load.running:
            self._transport.write(self._load.next_request())
        else:
            self._transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        if self._load.running:
            self._load.fail(b"connection lost")


class _Load:
    def __init__(self, requests: Sequence[bytes]) -> None:
        self._requests = requests
        self._at = 0
        self.answered = 0
        self.running = True
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def next_request(self) -> bytes:
        self._at = (self._at + 1) % len(self._requests)
        return self._requests[self._at]

    def fail(self, reason: bytes) -> None:
        self.running = False
        if not self.failure.done():
            self.failure.set_exception(RuntimeError(f"the server answered {reason!r}"))


async def _run(port: int, requests: Sequence[bytes], seconds: float, at_least: int, connections: int) -> float:
    loop = asyncio.get_running_loop()
    load = _Load(requests)
    started = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: _Client(load), "127.0.0.1", port)
    while (time.perf_counter() - started < seconds or load.answered < at_least) and not load.failure.done():
        await asyncio.wait([load.failure], timeout=0.05)
    load.running = False
    rate = load.answered / (time.perf_counter() - started)
    if load.failure.done():
        load.failure.result()
    load.failure.cancel()
    return rate


def _serve(pipe: Pipe) -> None:
    sets: dict[str, Sequence[bytes]] = {}
    while (order := pipe.recv()) is not None:
        if order[0] == "keep":
            sets[order[1]] = order[2]
            continue
        _, name, port, seconds, at_least, connections = order
        try:
            pipe.send(uvloop.run(_run(port, sets[name], seconds, at_least, connections)))
        except (RuntimeError, OSError) as error:
            pipe.send(str(error))


class Generator:
    """The load generator's process."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()

    def keep(self, name: str, requests: Sequence[bytes]) -> None:
        """Give it a set of requests, to be sent in turn."""
        self._pipe.send(("keep", name, requests))

    def rate(self, name: str, port: int, *, seconds: float, at_least: int = 0, connections: int = CONNECTIONS) -> float:
        """Send a set to a port for some seconds, and until `at_least` answers came; return answers per second."""
        self._pipe.send(("run", name, port, seconds, at_least, connections))
        answer = self._pipe.recv()
        if isinstance(answer, str):
            raise RuntimeError(answer)  # noqa: TRY004 - the answer is the error
        return float(answer)

    def stop(self) -> None:
        """End the process."""
        self._pipe.send(None)
        self._process.join(5)
