"""The iPads' door: one address for check-ins and commands, PUT and POST (reference Apple §1.1 to §1.4).

Plain ASGI, because every microsecond here is paid by the whole fleet at once. No answer is ever 401: it would make a
tablet remove its management profile. What a message means is decided elsewhere; here are bodies and statuses only.
"""

import asyncio
import gc
import json
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import Final
from weakref import WeakKeyDictionary

import anyio.to_thread
import structlog
from fastapi import APIRouter, FastAPI
from psycopg import Error as DatabaseError
from sqlalchemy.exc import SQLAlchemyError
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mdm.apple import checkins, encode, plist, wire
from mdm.apple.identity import Authorities, Doorkeeper
from mdm.commands import exchange
from mdm.commands.exchange import Exchange
from mdm.commands.reports import Report, Said
from mdm.devices.life import Unwanted
from mdm.errors import MdmError
from mdm.settings import get_settings

_log = structlog.get_logger(__name__)

PATH: Final = "/mdm/apple"
_PLIST: Final = (b"content-type", b"application/xml; charset=utf-8")
_SMALL: Final = 64 * 1024
"""Larger bodies are parsed in a thread: an app list may take tens of milliseconds."""
_YOUNG: Final = 20_000
"""New objects before the collector looks at the youngest."""
_UNRECOGNIZED: Final = json.dumps({"code": "com.apple.unrecognized.device"}).encode()
_NOTHING_START: Final = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-length", b"0")],
}
_NOTHING_BODY: Final = {"type": "http.response.body", "body": b""}


class _Answer(Exception):
    """Not an error: a way out of the ordinary course with a bare status."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


class Door:
    """The ASGI application at `PATH`; one exchange and one doorkeeper for each event loop that it serves."""

    def __init__(self) -> None:
        self._open: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Exchange, Doorkeeper]] = WeakKeyDictionary()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] not in ("PUT", "POST"):
            await _answer(send, HTTPStatus.METHOD_NOT_ALLOWED, (b"allow", b"PUT, POST"))
            return
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body", False):
            whole = await self._rest(body, receive)
            if whole is None:
                await _answer(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                return
            body = whole
        try:
            answer = await self._converse(scope, body)
        except _Answer as ended:
            await _answer(send, ended.status)
        except Unwanted:
            await _answer(send, HTTPStatus.FORBIDDEN, (b"content-type", b"application/json"), body=_UNRECOGNIZED)
        except MdmError as error:
            await _answer(send, _never_401(error.status), (b"content-type", b"text/plain"), body=error.detail.encode())
        except (DatabaseError, SQLAlchemyError) as error:
            _log.error("door_without_database", error=type(error).__name__)
            await _answer(send, HTTPStatus.SERVICE_UNAVAILABLE, (b"retry-after", b"60"))
        except Exception as error:  # noqa: BLE001 - the last resort; the error's text may hold data, its stack does not
            stack = "".join(traceback.format_tb(error.__traceback__))
            _log.error("unexpected_error", path=PATH, error=type(error).__name__, stack=stack)
            await _answer(send, HTTPStatus.INTERNAL_SERVER_ERROR)
        else:
            if answer:
                await _answer(send, HTTPStatus.OK, _PLIST, body=answer)
            else:
                await send(_NOTHING_START)
                await send(_NOTHING_BODY)

    async def _rest(self, body: bytes, receive: Receive) -> bytes | None:
        """Read the rest of a body; None when it is more than the limit."""
        limit = get_settings().apple.max_body_bytes
        parts, size = [body], len(body)
        while True:
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                return None
            if not message.get("more_body", False):
                return b"".join(parts)

    async def _converse(self, scope: Scope, body: bytes) -> bytes:
        if len(body) > _SMALL and len(body) > get_settings().apple.max_body_bytes:
            raise _Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        opened = self._open.get(asyncio.get_running_loop())
        desk, doorkeeper = opened if opened is not None else await self.open()
        client = scope.get("client")
        identity = await doorkeeper.identify(scope["headers"], client[0] if client else "", body)
        if len(body) <= _SMALL:
            message = wire.parse(body, identity)
        else:
            message = await anyio.to_thread.run_sync(wire.parse, body, identity)
        if isinstance(message, Report):
            return await _hand_over(desk, message)
        return await _attend(message, identity)

    async def open(self) -> tuple[Exchange, Doorkeeper]:
        """Open the exchange of the running loop; the first request does it where nobody did at start."""
        loop = asyncio.get_running_loop()
        desk = exchange.build()
        doorkeeper = Doorkeeper(Authorities(desk.authorities), get_settings().apple.client_cert_proxies)
        opened = self._open.setdefault(loop, (desk, doorkeeper))
        if opened[0] is desk:
            await desk.open()
        return opened

    async def close(self) -> None:
        """Close the exchange of the running loop."""
        opened = self._open.pop(asyncio.get_running_loop(), None)
        if opened is not None:
            await opened[0].close()


async def _hand_over(desk: Exchange, report: Report) -> bytes:
    """Return the next command as a property list; one that cannot be encoded fails, and the next is tried."""
    handout = await desk.check_in(report)
    for _ in range(8):
        if handout is None:
            return b""
        try:
            return encode.encode(handout)
        except (MdmError, KeyError, TypeError, ValueError) as error:
            _log.error("command_unsendable", command_id=str(handout.command_id), error=type(error).__name__)
        reason = [{"ErrorDomain": "Tabane", "USEnglishDescription": "The command cannot be encoded."}]
        handout = await desk.check_in(Report(report.identity, report.name, Said.FAILED, handout.command_id, reason))
    return b""


async def _attend(message: wire.Message, identity: bytes) -> bytes:
    """Answer a check-in other than a report."""
    match message:
        case wire.Authenticate():
            await anyio.to_thread.run_sync(checkins.authenticate, identity, message)
        case wire.TokenUpdate():
            await anyio.to_thread.run_sync(checkins.token_update, identity, message)
        case wire.CheckOut():
            await anyio.to_thread.run_sync(checkins.check_out, identity, message)
        case wire.OfUser(kind="UserAuthenticate"):
            raise _Answer(HTTPStatus.GONE)  # there is no user channel
        case wire.Other():
            await anyio.to_thread.run_sync(checkins.recognise, identity, message)
            return _other(message.kind)
        case _:
            pass
    return b""


def _other(kind: str) -> bytes:
    """Answer what is not offered the way that keeps the tablet calm (§1.2): nothing stored is not an error."""
    match kind:
        case "GetBootstrapToken":
            return plist.dumps({"BootstrapToken": b""})
        case "SetBootstrapToken":
            return b""
        case "DeclarativeManagement":
            raise _Answer(HTTPStatus.NOT_FOUND)
        case _:
            raise _Answer(HTTPStatus.BAD_REQUEST)


def _never_401(status: HTTPStatus) -> HTTPStatus:
    return HTTPStatus.BAD_REQUEST if status == HTTPStatus.UNAUTHORIZED else status


async def _answer(send: Send, status: HTTPStatus, *headers: tuple[bytes, bytes], body: bytes = b"") -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": int(status), "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


door: Final = Door()


@contextmanager
def _calm_collector() -> Iterator[None]:
    """Collect garbage seldom: check-ins leave next to no cycles, and walking what stays takes as long as many of them.

    What there is at the start, mostly code, is not walked again.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    await door.open()
    try:
        with _calm_collector():
            yield
    finally:
        await door.close()


router: Final = APIRouter(routes=[Route(PATH, door)], lifespan=_lifespan)
"""For the device app: the door's route, opened and closed with the app."""
