"""A small asyncio HTTP/1.1 client with a bounded pool of kept-alive connections: thousands of tablets share it.

It knows no redirects, no proxies and no caches; a tablet's wire is plain requests to one address.
"""

import asyncio
import ssl
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_LIMIT = 2**22


class Unreachable(OSError):
    """No answer came: not connected, cut, or too late. Whether the server saw the request is not known."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used: bool = False


@dataclass(slots=True)
class _Host:
    idle: list[_Connection] = field(default_factory=list)


class Client:
    """A pool of at most `connections` connections in all; further requests wait for their turn."""

    def __init__(self, *, connections: int = 64, timeout: float = 60, context: ssl.SSLContext | None = None) -> None:
        self._turn = asyncio.Semaphore(connections)
        self._timeout = timeout
        self._context = context
        self._hosts: dict[tuple[str, str, int], _Host] = {}

    async def request(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, body: bytes = b"", abandon: bool = False
    ) -> Response:
        """Send one request and return the answer; with `abandon` hang up as soon as it is sent, as a lost link does."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        place = (parts.scheme, parts.hostname or "", parts.port or (443 if secure else 80))
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        message = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
        async with self._turn:
            while True:
                connection = await self._take(place)
                try:
                    async with asyncio.timeout(self._timeout):
                        return await self._exchange(place, connection, message, abandon=abandon)
                except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
                    connection.writer.close()
                    # A kept connection that the server closed meanwhile says nothing about this request.
                    if abandon or not connection.used or isinstance(error, TimeoutError):
                        raise Unreachable(type(error).__name__) from error
                except BaseException:
                    connection.writer.close()
                    raise

    async def close(self) -> None:
        """Close what is idle."""
        for host in self._hosts.values():
            for connection in host.idle:
                connection.writer.close()
            host.idle.clear()

    async def _take(self, place: tuple[str, str, int]) -> _Connection:
        host = self._hosts.setdefault(place, _Host())
        while host.idle:
            connection = host.idle.pop()
            if not connection.reader.at_eof() and not connection.writer.is_closing():
                connection.used = True
                return connection
            connection.writer.close()
        scheme, name, port = place
        context = (self._context or ssl.create_default_context()) if scheme == "https" else None
        try:
            async with asyncio.timeout(self._timeout):
                return _Connection(*await asyncio.open_connection(name, port, ssl=context, limit=_LIMIT))
        except OSError as error:
            raise Unreachable(type(error).__name__) from error

    async def _exchange(
        self, place: tuple[str, str, int], connection: _Connection, message: bytes, *, abandon: bool
    ) -> Response:
        connection.writer.write(message)
        await connection.writer.drain()
        if abandon:
            await asyncio.sleep(0)
            raise ConnectionAbortedError
        response = await _read(connection.reader)
        if response.headers.get("connection", "").lower() == "close":
            connection.writer.close()
        else:
            connection.used = False
            self._hosts[place].idle.append(connection)
        return response


async def _read(reader: asyncio.StreamReader) -> Response:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *rest = head.split("\r\n")[:-2]
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    status = int(first.split(" ", 2)[1])
    if headers.get("transfer-encoding", "").lower() == "chunked":
        chunks = []
        while size := int((await reader.readline()).split(b";")[0], 16):
            chunks.append(await reader.readexactly(size))
            await reader.readexactly(2)
        await reader.readline()
        return Response(status, headers, b"".join(chunks))
    return Response(status, headers, await reader.readexactly(int(headers.get("content-length", "0"))))
