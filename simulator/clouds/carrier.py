"""What all pretended carriers share: pace, mishaps, a journal, and the control routes. Speaks no carrier's interface.

Control, on the same port and for nobody but tests and the demo: GET /_control/journal · GET /_control/acts ·
GET /_control/lines · GET /_control/bytes?first=&last= (the witness: true bytes by ICCID and day) ·
PATCH /_control/script · PATCH /_control/lines/{iccid} (as if somebody had done it at the carrier's desk).
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from simulator.clouds.carrier_script import Fault, Mishap, Script
from simulator.clouds.lines import Line, Lines, described

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_CONTROL: Final = "/_control/"
_GARBAGE: Final = b"<html><body>Please sign in to the guest network.</body></html>"


@dataclass(frozen=True, slots=True)
class Call:
    """One line of the journal; `status` 0 is a line that was cut."""

    wall: float
    method: str
    path: str
    status: int
    mishap: str = ""


@dataclass(frozen=True, slots=True)
class Order:
    """An act that was taken: one line for each time it was."""

    wall: float
    iccid: str
    changes: dict[str, str]


class CarrierCloud:
    """A pretended carrier, as an ASGI app; `journal`, `orders` and `lines` are the witnesses."""

    def __init__(self, lines: Lines, routes: Sequence[BaseRoute]) -> None:
        self.lines = lines
        self.journal: list[Call] = []
        self.orders: list[Order] = []
        self.most_in_flight = 0
        self._app = Starlette(routes=[*routes, *self._control()])
        self._in_flight = 0
        self._recent: deque[float] = deque()

    @property
    def script(self) -> Script:
        """The behaviour in force."""
        return self.lines.script

    def order(self, line: Line, changes: dict[str, str]) -> None:
        """Take an order for a line."""
        self.orders.append(Order(time.time(), line.iccid, changes))
        self.lines.ask(line, changes)

    def end_sessions(self) -> None:
        """Forget every session; for carriers that have none this is nothing."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a call, or have a mishap."""
        if scope["type"] != "http":
            return
        path, method = str(scope["path"]), str(scope["method"])
        if path.startswith(_CONTROL):
            await self._app(scope, receive, send)
            return
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            too_fast = self._too_fast()
            mishap = None if too_fast else self.script.mishap_for(path)
            if self.script.latency_s:
                await asyncio.sleep(self.script.latency_s)
            status = await self._answer(Mishap.BUSY if too_fast else mishap, scope, receive, send)
        finally:
            self._in_flight -= 1
        self.journal.append(Call(time.time(), method, path, status, "too fast" if too_fast else mishap or ""))

    def _too_fast(self) -> bool:
        now, limit = time.monotonic(), self.script.calls_per_s
        while self._recent and self._recent[0] <= now - 1:
            self._recent.popleft()
        if limit is not None and len(self._recent) >= limit:
            return True
        self._recent.append(now)
        return self.script.in_flight is not None and self._in_flight > self.script.in_flight

    async def _answer(self, mishap: Mishap | None, scope: Message, receive: Receive, send: Send) -> int:
        """Answer, and return the status that was sent."""
        answers: list[Message] = []

        async def note(message: Message) -> None:
            answers.append(message)

        match mishap:
            case None | Mishap.EXPIRED:
                if mishap is not None:
                    self.end_sessions()
                await self._app(scope, receive, note)
            case Mishap.BUSY:
                wait = {"Retry-After": str(self.script.retry_after_s)}
                await JSONResponse({"message": "too many requests"}, 429, wait)(scope, receive, note)
            case Mishap.UNAVAILABLE | Mishap.ERROR:
                status = 500 if mishap is Mishap.ERROR else 503
                await JSONResponse({"message": "sorry"}, status)(scope, receive, note)
            case Mishap.GARBAGE:
                await Response(_GARBAGE, media_type="text/html")(scope, receive, note)
            case Mishap.LOST:
                return 0
            case Mishap.CUT:
                await self._app(scope, receive, note)
                await send({**answers[0], "headers": [(b"content-length", b"100000")]})
                await send({"type": "http.response.body", "body": b'{"', "more_body": True})
                return 0
        for message in answers:
            await send(message)
        return int(answers[0]["status"])

    def _control(self) -> list[Route]:
        async def journal(_request: Request) -> Response:
            return JSONResponse([asdict(call) for call in self.journal])

        async def acts(_request: Request) -> Response:
            return JSONResponse([asdict(order) for order in self.orders])

        async def lines(_request: Request) -> Response:
            return JSONResponse([described(self.lines.settle(line)) for line in self.lines.all])

        async def line(request: Request) -> Response:
            found = self.lines.by_iccid.get(request.path_params["iccid"])
            if found is None:
                return JSONResponse({"error": "no such line"}, 404)
            changes = {str(name): str(value) for name, value in (await request.json()).items()}
            found.imei = changes.pop("imei", found.imei)
            self.lines.ask(found, changes)
            return JSONResponse(described(found))

        async def true_bytes(request: Request) -> Response:
            first, last = (date.fromisoformat(request.query_params[name]) for name in ("first", "last"))
            return JSONResponse(self.lines.witness(first, last))

        async def script(request: Request) -> Response:
            changes = await request.json()
            if "faults" in changes:
                faults = [{**fault, "mishap": Mishap(fault["mishap"])} for fault in changes["faults"]]
                changes["faults"] = [Fault(**fault) for fault in faults]
            for name, value in changes.items():
                setattr(self.script, name, value)
            return JSONResponse({})

        return [
            Route("/_control/journal", journal),
            Route("/_control/acts", acts),
            Route("/_control/lines", lines),
            Route("/_control/lines/{iccid}", line, methods=["PATCH"]),
            Route("/_control/bytes", true_bytes),
            Route("/_control/script", script, methods=["PATCH"]),
        ]


def page_of(request: Request, name: str, *, most: int, default: int, least: int = 1) -> int:
    """Read a whole number from the query; 400 beyond what the carrier takes."""
    text = request.query_params.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
        raise HTTPException(400, f"{name} is not right")
    return int(text)


async def body_of(request: Request) -> dict[str, Any]:
    """Read a JSON object; 400 where there is none."""
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise HTTPException(400, "the body is no JSON object")
    return body
