"""One message from a tablet to its server, over a line that drops, doubles and delays as told.

It decides nothing about content. Who speaks: Mdm-Signature (apple.md §1.1 and §1.5, detached CMS), or `Client-Cert` as
if a proxy between had ended the TLS and checked the certificate, or both.
"""

import asyncio
import base64
import plistlib
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from simulator.tablets.behaviour import Behaviour
from simulator.tablets.cms import Signer, sign
from simulator.tablets.journal import Event, Journal
from simulator.web import Client, Response, Unreachable

CHECK_IN = "application/x-apple-aspen-mdm-checkin"
COMMAND = "application/x-apple-aspen-mdm"
_PATIENCE = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds between attempts while the server is silent or answers 5xx; then the tablet gives up until it is pushed."""


class Line:
    """The way to the server; `behaviour` is asked each time, so that it can change. `proxied`: with `Client-Cert`."""

    def __init__(
        self,
        client: Client,
        journal: Journal,
        chance: random.Random,
        behaviour: Callable[[], Behaviour],
        *,
        proxied: bool = False,
    ) -> None:
        self._client = client
        self._journal = journal
        self.chance = chance
        self._behaviour = behaviour
        self._proxied = proxied

    def drops(self) -> bool:
        """Cast whether the line drops the next answer."""
        return self.chance.random() < self._behaviour().lost_reply

    async def send(
        self, url: str, message: dict[str, Any], *, signer: Signer, signed: bool, epoch: int, faults: bool = True
    ) -> Response:
        """Send `message` until it is answered and return the answer; `Unreachable` after several attempts.

        With `faults` the line may lose an answer or double the message, which a server must bear.
        """
        body = plistlib.dumps(message)
        manner = self._behaviour()
        headers = {"Content-Type": CHECK_IN if "MessageType" in message else COMMAND, "User-Agent": "MDM/1.0"}
        if self._proxied:
            headers["Client-Cert"] = signer.client_cert
        if signed:
            at = datetime.now(UTC) + timedelta(seconds=manner.clock_skew_s)
            signature = sign(body, signer, attached=False, at=at)
            headers["Mdm-Signature"] = base64.b64encode(signature).decode()
        note = {"command": message.get("CommandUUID", ""), "kind": message.get("MessageType", message.get("Status"))}
        if faults and self.drops():
            await self._lose(url, headers, body)
            self._journal.write(Event.SENT, epoch, http=0, **note)
        if faults and self.chance.random() < manner.duplicate:
            self._journal.write(Event.SENT, epoch, http=(await self._ask(url, headers, body)).status, **note)
        for wait in (*_PATIENCE, None):
            response = await self._ask(url, headers, body)
            self._journal.write(Event.SENT, epoch, http=response.status, **note)
            if 0 < response.status < 500:
                return response
            if wait is not None:
                await asyncio.sleep(wait * self.chance.uniform(0.5, 1.5))
        raise Unreachable(f"no answer, last status {response.status}")

    async def _ask(self, url: str, headers: dict[str, str], body: bytes) -> Response:
        """Send once; an answer that never came has status 0."""
        try:
            return await self._client.request("PUT", url, headers=headers, body=body)
        except Unreachable:
            return Response(0, {}, b"")

    async def _lose(self, url: str, headers: dict[str, str], body: bytes) -> None:
        """Send and never learn the answer: half the time the server surely acted, half the time only perhaps."""
        abandon = self.chance.random() < 0.5
        try:
            await self._client.request("PUT", url, headers=headers, body=body, abandon=abandon)
        except Unreachable:
            await asyncio.sleep(self.chance.uniform(0, 0.05))
