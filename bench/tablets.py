"""The simulator in a process of its own: a seeded fleet of pretended tablets and the push service that wakes them.

The benchmark orders and asks through a pipe; what it is told comes from the tablets' and the push service's journals.
"""

import asyncio
import gc
import multiprocessing
import plistlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, cast

import uvloop

from bench.seeding import District, papers
from simulator.__main__ import read_pki, write_pki
from simulator.tablets.device import Device
from simulator.tablets.fleet import Fleet
from simulator.tablets.ipad import IPad
from simulator.tablets.journal import WITNESSED, Event
from simulator.tablets.keys import Keys
from simulator.web import Client, Response


@dataclass(frozen=True, slots=True)
class Line:
    """How tablets speak: over how many connections, signing each message or through a proxy that vouches for them."""

    connections: int = 64
    signs: bool = False


@dataclass(frozen=True, slots=True)
class Executed:
    """One command that a tablet carried out; `at` in seconds since the epoch."""

    serial: str
    kind: str
    at: float


@dataclass(frozen=True, slots=True)
class Pushed:
    """One push that the push service took, to a tablet of its fleet or to none ("")."""

    serial: str
    at: float
    """Seconds since the epoch."""


class Tablets:
    """The front of the simulator's process."""

    def __init__(self, folder: Path, line: Line) -> None:
        self._folder = folder
        self.topic = write_pki(folder).topic
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, folder, line), daemon=True)
        self._process.start()
        self.push_url: str = self._answer()

    def settings(self) -> dict[str, str]:
        """Return the settings that point a house at this push service, and make it believe the pretended proxy."""
        return {
            "TABANE_APPLE__PUSH_CERTIFICATE": str(self._folder / "push-bundle.pem"),
            "TABANE_APPLE__APNS_URL": self.push_url,
            "TABANE_APPLE__APNS_CA_FILE": str(self._folder / "authority.pem"),
            "TABANE_APPLE__CLIENT_CERT_PROXIES": '["127.0.0.1/32"]',
        }

    def enlist(self, district: District, url: str) -> None:
        """Put the district's tablets in place, enrolled at the door `url`."""
        self._ask("enlist", district, url)

    def behave(self, serials: Sequence[str] | None = None, **changes: Any) -> None:
        """Change how tablets behave (see `Fleet.behave`)."""
        self._ask("behave", serials, changes)

    def count(self, kind: str) -> int:
        """How often tablets have carried out a kind of command without error."""
        return int(self._ask("count", kind))

    def requests(self) -> int:
        """How many requests tablets have sent in all."""
        return int(self._ask("requests"))

    def executed(self, kind: str) -> list[Executed]:
        """Return what tablets have carried out of one kind without error."""
        return cast("list[Executed]", self._ask("executed", kind))

    def pushes(self) -> int:
        """How many pushes the push service has delivered."""
        return int(self._ask("pushes"))

    def pushed(self) -> list[Pushed]:
        """Return what the push service has delivered, in order."""
        return cast("list[Pushed]", self._ask("pushed"))

    def summary(self) -> dict[str, Any]:
        """Return the fleet's own summary."""
        return cast("dict[str, Any]", self._ask("summary"))

    def check_in(self, serials: Sequence[str]) -> None:
        """Have tablets talk to the server by themselves, and return when their conversations are over."""
        self._ask("check_in", serials)

    def rehearse(self, url: str, said: Sequence[bytes]) -> float:
        """Have every tablet send these bodies to a handler at `url`, one after the other; return seconds for all."""
        return float(self._ask("rehearse", url, said))

    def said(self) -> list[bytes]:
        """Return the bodies that the first tablet has sent."""
        return cast("list[bytes]", self._ask("said"))

    def forget(self) -> None:
        """Forget what has been sent, pushed and carried out until now."""
        self._ask("forget")

    def cpu_seconds(self) -> float:
        """Processor time of the simulator so far."""
        return float(self._ask("cpu_seconds"))

    def stop(self) -> None:
        """End the process."""
        try:
            self._pipe.send(("stop",))
            self._process.join(10)
        except OSError:
            pass
        self._process.kill()

    def _ask(self, *order: Any) -> Any:
        self._pipe.send(order)
        return self._answer()

    def _answer(self) -> Any:
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


class _Counting(Client):
    """Counts requests, and keeps the bodies of one tablet."""

    def __init__(self, connections: int) -> None:
        super().__init__(connections=connections)
        self.requests = 0
        self.watched = b""
        self.bodies: list[bytes] = []

    async def request(
        self, method: str, url: str, *, headers: dict[str, str] | None = None, body: bytes = b"", abandon: bool = False
    ) -> Response:
        self.requests += 1
        if self.watched and self.watched in body:
            self.bodies.append(body)
        return await super().request(method, url, headers=headers, body=body, abandon=abandon)


class _Process:
    """The other end: every method is an order."""

    def __init__(self, folder: Path, line: Line) -> None:
        self._line = line
        self._client = _Counting(line.connections)
        pki = read_pki(folder)
        self._topic = pki.topic
        keys = Keys(shared=1)
        self.fleet = Fleet(pki, keys=keys, keeps=WITNESSED, proxied=not line.signs, client=self._client)
        self.fleet.cloud.strict = False
        self._by_token: dict[str, str] = {}

    async def enlist(self, district: District, url: str) -> None:
        for tablet in district.tablets:
            given = papers(district, tablet, url=f"{url}/mdm/apple", topic=self._topic, signs=self._line.signs)
            self.fleet.enlist(Device(tablet.serial), given)
            self._by_token[tablet.token.hex()] = tablet.serial
        self._client.watched = district.tablets[0].udid.encode()
        gc.collect()
        gc.freeze()  # or each collection would walk thousands of tablets, and everybody waits for that

    async def behave(self, serials: Sequence[str] | None, changes: dict[str, Any]) -> None:
        self.fleet.behave(serials=serials, **changes)

    async def count(self, kind: str) -> int:
        return self.fleet.tally[Event.EXECUTED, kind, "Acknowledged"]

    async def requests(self) -> int:
        return self._client.requests

    async def executed(self, kind: str) -> list[Executed]:
        return [
            Executed(entry.serial, entry.kind, entry.at)
            for tablet in self.fleet.tablets.values()
            for entry in tablet.journal.of(Event.EXECUTED, kind)
            if entry.detail["status"] == "Acknowledged"
        ]

    async def pushes(self) -> int:
        return sum(each.delivered for each in self.fleet.cloud.journal)

    async def pushed(self) -> list[Pushed]:
        journal = self.fleet.cloud.journal
        return [Pushed(self._by_token.get(each.token, ""), each.wall) for each in journal if each.delivered]

    async def summary(self) -> dict[str, Any]:
        return self.fleet.summary()

    async def check_in(self, serials: Sequence[str]) -> None:
        await asyncio.gather(*(self.fleet.tablets[serial].check_in() for serial in serials))

    async def rehearse(self, url: str, said: Sequence[bytes]) -> float:
        messages = [plistlib.loads(body) for body in said]
        started = time.monotonic()
        await asyncio.gather(*(_say(tablet, f"{url}/mdm/apple", messages) for tablet in self.fleet.tablets.values()))
        return time.monotonic() - started

    async def said(self) -> list[bytes]:
        return self._client.bodies

    async def forget(self) -> None:
        self._client.requests = 0
        self._client.bodies.clear()
        self.fleet.tally.clear()
        self.fleet.cloud.journal.clear()
        for tablet in self.fleet.tablets.values():
            tablet.journal.entries.clear()

    async def cpu_seconds(self) -> float:
        return time.process_time()


async def _say(tablet: IPad, url: str, messages: Sequence[dict[str, Any]]) -> None:
    for message in messages:
        await tablet.say(message, url=url)


def _serve(pipe: Pipe, folder: Path, line: Line) -> None:
    uvloop.run(_run(pipe, folder, line))


async def _run(pipe: Pipe, folder: Path, line: Line) -> None:
    process = _Process(folder, line)
    await process.fleet.start()
    pipe.send(process.fleet.cloud.url)
    orders: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def listen() -> None:
        order: tuple[Any, ...] = ("",)
        while order[0] != "stop":
            order = pipe.recv()
            loop.call_soon_threadsafe(orders.put_nowait, order)

    threading.Thread(target=listen, daemon=True).start()
    try:
        while (order := await orders.get())[0] != "stop":
            act: Callable[..., Any] = getattr(process, order[0])
            try:
                pipe.send(await act(*order[1:]))
            except Exception as error:  # noqa: BLE001 - the benchmark shall hear of it, whatever it is
                pipe.send(RuntimeError(f"{order[0]}: {type(error).__name__}: {error}"))
    finally:
        await process.fleet.stop()
