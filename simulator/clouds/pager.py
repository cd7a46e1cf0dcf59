"""A pretended pager: the receiver of the house's webhook. It checks each signature and keeps a journal of its own.

It imports nothing of the server: what it believes of a page is what is written in `docs/safeguards.md`.
"""

import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

_OLDEST_S: Final = 300
"""A signature older than this may be a replay."""
_LONGEST: Final = 64 * 1024

Message = MutableMapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """One line of the journal."""

    wall: float
    id: str
    status: int
    """What was answered."""
    signed: bool
    document: dict[str, Any]


class Pager:
    """The receiver, as an ASGI app. `failing` answers 503 so many times; `journal` is the witness of what came.

    `tell` is called with each line of the journal.
    """

    def __init__(self, secret: bytes, *, tell: Callable[[Page], None] | None = None) -> None:
        self.journal: list[Page] = []
        self.failing = 0
        self._secret = secret
        self._tell = tell

    @property
    def received(self) -> dict[str, dict[str, Any]]:
        """What was taken, by id: a page that came twice is one."""
        return {page.id: page.document for page in self.journal if page.status == HTTPStatus.NO_CONTENT}

    async def __call__(
        self,
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Take one page: 204; 401 for a wrong signature, 400 for what is no page."""
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body") or len(body) > _LONGEST:
                break
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        status = self._judge(str(scope["method"]), headers, body)
        await send({"type": "http.response.start", "status": int(status), "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def _judge(self, method: str, headers: dict[str, str], body: bytes) -> HTTPStatus:
        signed = self._is_signed(headers.get("tabane-signature", ""), body)
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        whole = isinstance(document, dict) and document.keys() == {"id", "at", "what", "subject", "details", "house"}
        if not signed:
            status = HTTPStatus.UNAUTHORIZED
        elif method != "POST" or not whole or document["id"] != headers.get("tabane-notice"):
            status = HTTPStatus.BAD_REQUEST
        elif self.failing > 0:
            self.failing -= 1
            status = HTTPStatus.SERVICE_UNAVAILABLE
        else:
            status = HTTPStatus.NO_CONTENT
        found = document if isinstance(document, dict) else {}
        page = Page(time.time(), str(found.get("id", "")), int(status), signed, found)
        self.journal.append(page)
        if self._tell is not None:
            self._tell(page)
        return status

    def _is_signed(self, given: str, body: bytes) -> bool:
        parts = dict(part.partition("=")[::2] for part in given.split(","))
        moment, signature = parts.get("t", ""), parts.get("v1", "")
        if not moment.isdigit() or abs(time.time() - int(moment)) > _OLDEST_S:
            return False
        expected = hmac.new(self._secret, moment.encode() + b"." + body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected, signature)


def line_of(page: Page) -> str:
    """Return a line for people about one page, taken or refused."""
    if page.status != HTTPStatus.NO_CONTENT:
        return f"page refused with {page.status}" + ("" if page.signed else ": it is not signed with our secret")
    told = json.dumps(page.document["details"], ensure_ascii=False)
    return f"page {page.document['what']}: {page.document['subject']} {told}"
