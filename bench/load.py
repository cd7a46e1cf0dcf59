"""A load generator for HTTP/1.1: many keep-alive connections, requests made beforehand, no pipelining.

It runs in a process of its own, counts, and takes times. A status other than 200, or an answer without what was
expected in it, ends the run: the figures would mean nothing.
"""

import asyncio
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection as Pipe
from typing import Any, cast

import uvloop

CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Times:
    """Answering times of one run, in seconds."""

    p50: float
    p99: float
    longest: float


@dataclass(frozen=True, slots=True)
class _Order:
    """One run: until `seconds` have passed and `at_least` answers came, or, by `tablets`, through the set once."""

    port: int
    name: str
    seconds: float = 0.0
    at_least: int = 0
    connections: int = CONNECTIONS
    tablets: int = 0
    """The set has a request of each tablet, then the next of each; those of one tablet share a connection."""
    checked: bool = False
    timed: bool = False


@dataclass(slots=True)
class _Load:
    order: _Order
    requests: Sequence[bytes]
    expected: Sequence[bytes]
    failure: "asyncio.Future[None]"
    at: int = 0
    answered: int = 0
    open: int = 0
    running: bool = True
    ended: float = 0.0
    times: list[float] = field(default_factory=list)

    def numbers(self, connection: int) -> Iterator[int]:
        """Give the numbers of the requests that a connection sends."""
        count, tablets = len(self.requests), self.order.tablets
        if tablets:
            for turn in range(0, count, tablets):
                yield from range(turn + connection, turn + tablets, self.order.connections)
            return
        while True:
            yield self.at
            self.at = (self.at + 1) % count

    def fail(self, reason: bytes) -> None:
        self.running = False
        if not self.failure.done():
            self.failure.set_exception(RuntimeError(f"the server answered {reason!r}"))


class _Client(asyncio.Protocol):
    """One connection: sends the next request as soon as the answer to the one before is whole."""

    def __init__(self, load: _Load, number: int) -> None:
        self._load = load
        self._numbers = load.numbers(number)
        self._expected = load.expected if load.order.checked else None
        self._times = load.times if load.order.timed else None
        self._number = -1
        self._sent = 0.0
        self._parts = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._load.open += 1
        self._send()

    def _send(self) -> None:
        load = self._load
        number = next(self._numbers, -1) if load.running else -1
        if number < 0:
            self._transport.close()
            return
        self._number = number
        if self._times is not None:
            self._sent = time.perf_counter()
        self._transport.write(load.requests[number])

    def data_received(self, data: bytes) -> None:
        if self._parts:
            data = self._parts + data
        if not data.startswith(b"HTTP/1.1 200"):
            self._load.fail(data[:60])
            return
        if b"\r\ncontent-length: 0\r\n" not in data:
            head, _, body = data.partition(b"\r\n\r\n")
            if int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]) > len(body):
                self._parts = data
                return
        self._parts = b""
        if self._expected is not None and self._expected[self._number] not in data:
            self._load.fail(b"something else than what was expected")
            return
        if self._times is not None:
            self._times.append(time.perf_counter() - self._sent)
        self._load.answered += 1
        self._send()

    def connection_lost(self, _error: Exception | None) -> None:
        self._load.open -= 1
        self._load.ended = time.perf_counter()


async def _run(order: _Order, requests: Sequence[bytes], expected: Sequence[bytes]) -> float | Times:
    loop = asyncio.get_running_loop()
    load = _Load(order, requests, expected, loop.create_future())
    started = time.perf_counter()
    for number in range(order.connections):
        await loop.create_connection(partial(_Client, load, number), "127.0.0.1", order.port)
    while not load.failure.done() and (
        load.open > 0
        if order.tablets
        else time.perf_counter() - started < order.seconds or load.answered < order.at_least
    ):
        await asyncio.wait([load.failure], timeout=0.02)
    load.running = False
    took = (load.ended if order.tablets else time.perf_counter()) - started
    if load.failure.done():
        load.failure.result()
    load.failure.cancel()
    if order.timed:
        times = sorted(load.times)
        return Times(times[len(times) // 2], times[len(times) * 99 // 100], times[-1])
    return load.answered / took


def _serve(pipe: Pipe) -> None:
    sets: dict[str, tuple[Sequence[bytes], Sequence[bytes]]] = {}
    while (message := pipe.recv()) is not None:
        if not isinstance(message, _Order):
            sets[message[0]] = message[1:]
            continue
        try:
            pipe.send(uvloop.run(_run(message, *sets[message.name])))
        except (RuntimeError, OSError) as error:
            pipe.send(str(error))


class Generator:
    """The load generator's process."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()

    def keep(self, name: str, requests: Sequence[bytes], expected: Sequence[bytes] = ()) -> None:
        """Give it a set of requests, to be sent in turn, and what must be in the answer to each."""
        self._pipe.send((name, requests, expected))

    def _run(self, order: _Order) -> Any:
        self._pipe.send(order)
        answer = self._pipe.recv()
        if isinstance(answer, str):
            raise RuntimeError(answer)  # noqa: TRY004 - the answer is the error
        return answer

    def rate(self, name: str, port: int, *, seconds: float, at_least: int = 0, connections: int = CONNECTIONS) -> float:
        """Send a set to a port for some seconds, and until `at_least` answers came; return answers per second."""
        return float(self._run(_Order(port, name, seconds, at_least, connections)))

    def all_of(self, name: str, port: int, *, tablets: int, connections: int, checked: bool = True) -> float:
        """Send each request of a set once, those of a tablet one after the other; return answers per second."""
        return float(self._run(_Order(port, name, connections=connections, tablets=tablets, checked=checked)))

    def times(self, name: str, port: int, *, seconds: float, connections: int) -> Times:
        """Send a set to a port for some seconds and return how long answers took."""
        times: Times = self._run(_Order(port, name, seconds, connections=connections, timed=True))
        return times

    def stop(self) -> None:
        """End the process."""
        self._pipe.send(None)
        self._process.join(5)
