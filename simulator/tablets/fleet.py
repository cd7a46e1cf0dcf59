"""Many pretended iPads and the pretended push service that wakes them, in one process.

It must not know what the server wants of the tablets: counts come from their own journals.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TextIO

from simulator.clouds.apns import ApnsCloud
from simulator.clouds.pki import PushPki
from simulator.tablets.behaviour import Behaviour
from simulator.tablets.device import Device
from simulator.tablets.enlisting import Papers
from simulator.tablets.enrolling import Refused
from simulator.tablets.ipad import Directory, IPad, Status
from simulator.tablets.journal import Event, Journal, Tally, executed_twice
from simulator.tablets.keys import Keys
from simulator.tablets.profile import BadProfile
from simulator.web import Client, Unreachable


@dataclass(frozen=True, slots=True)
class Recruit:
    """A tablet to enrol: its hardware, and where its enrolment profile is (a file or an http address)."""

    device: Device
    profile: str = ""


def read_recruits(lines: Iterable[str], *, template: str = "", door: str = "") -> Iterator[Recruit]:
    """Read JSON lines: `serial` (required), `profile` (file or URL) or `path` (on the door), and fields of `Device`.

    Where a line names no profile, `template` does, with `{serial}` in it replaced; it may be a path on the door too.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        fields: dict[str, Any] = json.loads(line)
        path = fields.pop("path", "") or template.replace("{serial}", fields.get("serial", ""))
        profile = fields.pop("profile", "") or (path if "://" in path else door.rstrip("/") + path)
        try:
            yield Recruit(Device(**fields), profile)
        except TypeError as error:
            raise ValueError(f"line {number}: {error}") from error


class Fleet:
    """Tablets, their push service and what they share. Belongs to one event loop."""

    def __init__(
        self,
        pki: PushPki,
        *,
        behaviour: Behaviour | None = None,
        seed: int = 0,
        keys: Keys | None = None,
        connections: int = 64,
        journal: TextIO | None = None,
        keeps: frozenset[Event] | None = None,
        proxied: bool = False,
        client: Client | None = None,
    ) -> None:
        """`keeps`: the events that journals keep, all if absent. `proxied`: speak as behind a proxy that ends TLS."""
        self.tablets: dict[str, IPad] = {}
        self.directory: Directory = {}
        self.cloud = ApnsCloud(pki, on_push=self._on_push)
        self.client = client or Client(connections=connections)
        self.tally: Tally = Counter()
        """What all tablets together have done, also what their journals do not keep."""
        self._behaviour = behaviour or Behaviour()
        self._seed = seed
        self._journal = journal
        self._keeps = keeps
        self._proxied = proxied
        # Fresh interpreters: a fork of a process with running threads may hang.
        self._executor = None if keys else ProcessPoolExecutor(2, mp_context=get_context("spawn"))
        self._keys = keys or Keys(executor=self._executor)

    async def start(self, *, port: int = 0) -> None:
        """Open the push service."""
        await self.cloud.start(port=port)

    async def stop(self) -> None:
        """Let conversations end for a moment, then close everything."""
        await asyncio.gather(*(tablet.stop(patience=3) for tablet in self.tablets.values()))
        await self.cloud.stop()
        await self.client.close()
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def add(self, device: Device, *, behaviour: Behaviour | None = None) -> IPad:
        """Put a tablet, not yet enrolled, into the fleet."""
        tablet = IPad(
            device,
            self.client,
            keys=self._keys,
            directory=self.directory,
            journal=Journal(device.serial, self._journal, keeps=self._keeps, tally=self.tally),
            behaviour=behaviour or self._behaviour,
            seed=self._seed,
            proxied=self._proxied,
        )
        self.tablets[device.serial] = tablet
        return tablet

    def enlist(self, device: Device, papers: Papers, *, behaviour: Behaviour | None = None) -> IPad:
        """Put a tablet into the fleet that is enrolled already; the server must know the same values. Sends nothing."""
        tablet = self.add(device, behaviour=behaviour)
        tablet.resume(papers.enrollment(), epoch=papers.epoch)
        return tablet

    async def enroll(self, recruits: Iterable[Recruit], *, at_once: int = 16) -> None:
        """Enrol all, `at_once` at a time; one that is refused or cannot reach the server is left in its journal."""
        gate = asyncio.Semaphore(at_once)

        async def one(recruit: Recruit) -> None:
            async with gate:
                tablet = self.tablets.get(recruit.device.serial) or self.add(recruit.device)
                try:
                    await tablet.enroll(await self.fetch(recruit.profile))
                except (Refused, BadProfile) as refusal:
                    print(f"{recruit.device.serial}: {refusal}", flush=True)
                except (Unreachable, FileNotFoundError) as error:
                    tablet.journal.write(Event.REFUSED, tablet.epoch + 1, where="unreachable", http=0)
                    print(f"{recruit.device.serial}: {error}", flush=True)

        await asyncio.gather(*(one(recruit) for recruit in recruits))

    async def fetch(self, profile: str) -> bytes:
        """Return an enrolment profile from a file or an http address."""
        if not profile.startswith(("http://", "https://")):
            return await asyncio.to_thread(Path(profile).read_bytes)
        response = await self.client.request("GET", profile)
        if response.status != 200:
            raise Refused("profile", response.status)
        if not response.headers.get("content-type", "").startswith("application/x-apple-aspen-config"):
            raise Refused("profile", response.status, "with another content type than a profile's")
        return response.body

    def behave(self, *, serials: Iterable[str] | None = None, **changes: Any) -> None:
        """Change how tablets behave from now on: those named, or all of them and tablets to come."""
        if serials is None:
            self._behaviour = replace(self._behaviour, **changes)
        for serial in self.tablets if serials is None else serials:
            tablet = self.tablets[serial]
            tablet.behaviour = replace(tablet.behaviour, **changes)

    def summary(self) -> dict[str, Any]:
        """Count what the tablets are and did; all of it from their own journals and states."""
        tablets = list(self.tablets.values())
        executed = Counter(
            entry.kind + ("" if entry.detail["status"] == "Acknowledged" else f" {entry.detail['status']}")
            for tablet in tablets
            for entry in tablet.journal.of(Event.EXECUTED)
        )
        profiles = Counter(identifier for tablet in tablets for identifier in tablet.device.profiles)
        events = Counter(entry.event.value for tablet in tablets for entry in tablet.journal.entries)
        return {
            "tablets": len(tablets),
            "enrolled": sum(tablet.status is Status.ENROLLED for tablet in tablets),
            "with_profiles": sum(bool(tablet.device.profiles) for tablet in tablets),
            "silent": sum(tablet.silent for tablet in tablets),
            "lost_mode": sum(tablet.device.lost_mode is not None for tablet in tablets),
            "wiped": sum(tablet.device.wipes for tablet in tablets),
            "pushes": len(self.cloud.journal),
            "events": dict(events),
            "executed": dict(executed),
            "executed_twice": len(executed_twice(tablet.journal for tablet in tablets)),
            "profiles": dict(profiles),
        }

    def _on_push(self, token: bytes, magic: str) -> None:
        tablet = self.directory.get(token)
        if tablet is not None:
            tablet.push(magic)
