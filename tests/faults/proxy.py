"""A small TCP proxy that can be slow, deaf or gone: what lies between two servers. Pure asyncio; it knows no protocol.

What a user-space proxy cannot show is a peer whose kernel does not acknowledge: here bytes are taken and kept.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CHUNK = 64 * 1024


class Links:
    """The event loop on which the proxies of a house run, beside everything else."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="links", daemon=True)
        self._thread.start()
        self._proxies: list[Proxy] = []

    def to(self, port: int) -> "Proxy":
        """Open a proxy to a port of the loopback."""
        proxy = Proxy(self.loop, port)
        self._proxies.append(proxy)
        return proxy

    def close(self) -> None:
        """Close every proxy, then the loop."""
        for proxy in self._proxies:
            proxy.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class Proxy:
    """One way to one server. Its methods may be called from any thread; a change holds for bytes still to come."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: int) -> None:
        self._loop = loop
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._passes = asyncio.Event()
        self._passes.set()
        self._refuses = False
        self._latency = 0.0
        self._rate: float | None = None
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_CHUNK))
        self.port = int(self._server.sockets[0].getsockname()[1])

    def slow(self, latency_s: float, rate: float | None = None) -> None:
        """Delay each piece by so many seconds; with `rate` let only so many bytes per second through: a trickle."""
        self._latency, self._rate = latency_s, rate

    def cut(self) -> None:
        """Reset every connection, and every new one at once, until `heal`."""
        self._refuses = True
        self._loop.call_soon_threadsafe(self._reset)

    def deafen(self) -> None:
        """Half open: keep old and new connections and let nothing through in either direction, until `heal`."""
        self._loop.call_soon_threadsafe(self._passes.clear)

    def heal(self, *, reset: bool = False) -> None:
        """Be a good line again. With `reset`, what was open is reset first, as a restarted router or host does."""
        self._refuses = False
        self._latency, self._rate = 0.0, None
        if reset:
            self._loop.call_soon_threadsafe(self._reset)
        self._loop.call_soon_threadsafe(self._passes.set)

    @contextmanager
    def trouble(self, how: str) -> Iterator[None]:
        """Be `cut`, `half-open` or `slow` while the block runs."""
        match how:
            case "cut":
                self.cut()
            case "half-open":
                self.deafen()
            case _:
                self.slow(0.15, rate=48_000)
        try:
            yield
        finally:
            self.heal(reset=how == "half-open")

    def close(self) -> None:
        """Stop listening and reset what is open."""
        self._loop.call_soon_threadsafe(self._server.close)
        self.heal(reset=True)
        self._do(self._ended())

    def _do(self, act):
        return asyncio.run_coroutine_threadsafe(act, self._loop).result(10)

    async def _ended(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _reset(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if self._refuses:
                writer.transport.abort()
                return
            with suppress(OSError):
                await self._join(reader, writer)
        finally:
            writer.close()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target, limit=_CHUNK)
        self._writers.add(back)
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            back.close()
            self._writers.discard(back)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError, RuntimeError):
            while data := await source.read(_CHUNK if self._rate is None else 1024):
                if self._latency or self._rate:
                    await asyncio.sleep(self._latency + (len(data) / self._rate if self._rate else 0.0))
                await self._passes.wait()
                sink.write(data)
                await sink.drain()
        if not sink.is_closing():
            with suppress(OSError, RuntimeError):
                sink.write_eof()
