"""A pretended iPad on the real wire: enrols, wakes when it is pushed, and carries out what it is told.

https://developer.apple.com/documentation/devicemanagement (check-in and command protocol; apple.md §1.2 and §1.4)
"""

import asyncio
import random
from contextlib import suppress
from enum import Enum
from typing import Any

from simulator.tablets.behaviour import Behaviour
from simulator.tablets.device import NEVER_FAILS, WAITS, Device, answer, failed
from simulator.tablets.enrolling import Enrollment, Newcomer, Refused
from simulator.tablets.journal import Event, Journal
from simulator.tablets.keys import Keys
from simulator.tablets.line import Line
from simulator.tablets.orders import Order, read_order
from simulator.tablets.profile import BadProfile, is_enrollment, parse_profile, read_enrollment
from simulator.web import Client, Response, Unreachable

_IDLE = {"Status": "Idle"}
_LONGEST = 500
"""Commands in one conversation before the tablet calls it a loop and hangs up."""


class Status(Enum):
    """How far the tablet is."""

    OUT_OF_THE_BOX = "out_of_the_box"
    ENROLLED = "enrolled"
    REMOVED = "removed"
    """Was enrolled; is no more."""


Directory = dict[bytes, "IPad"]
"""Tablets by push token, as the push service knows them."""


class IPad:
    """One tablet. All its methods belong to one event loop."""

    def __init__(
        self,
        device: Device,
        client: Client,
        *,
        keys: Keys,
        directory: Directory,
        journal: Journal | None = None,
        behaviour: Behaviour | None = None,
        seed: int = 0,
        proxied: bool = False,
    ) -> None:
        self.device = device
        self.journal = journal or Journal(device.serial)
        self.behaviour = behaviour or Behaviour()
        self.status = Status.OUT_OF_THE_BOX
        self.epoch = 0
        self.enrollment: Enrollment | None = None
        self._directory = directory
        self._chance = random.Random(f"{seed}:{device.serial}")
        self._line = Line(client, self.journal, self._chance, lambda: self.behaviour, proxied=proxied)
        self._newcomer = Newcomer(device, client, self._line, keys)
        self._talking = asyncio.Lock()
        self._conversation: asyncio.Task[None] | None = None
        self._called = False
        self._offline = False
        self._cut_off = False
        """A profile that it has just carried out will silence it once the acknowledgement is answered."""
        self.silent = False
        """For good: as after a profile with a wrong APN."""

    # Enrolment.

    def resume(self, enrollment: Enrollment, *, epoch: int = 1) -> None:
        """Be enrolled already, by values that the server knows too; nothing is sent."""
        self.epoch = epoch
        self._enter(enrollment, Status.ENROLLED)

    async def enroll(self, profile: bytes) -> None:
        """Install an enrolment profile: SCEP, Authenticate, TokenUpdate. `Refused`, `BadProfile` or `Unreachable`."""
        async with self._talking:
            read = read_enrollment(parse_profile(profile))
            try:
                enrollment = await self._newcomer.join(read, epoch=self.epoch + 1)
            except Refused as refusal:
                self.journal.write(Event.REFUSED, self.epoch + 1, where=refusal.where, http=refusal.status)
                raise
            self.epoch += 1
            self._enter(enrollment, Status.ENROLLED)
            self.silent = self._cut_off = False
            self.journal.write(Event.ENROLLED, self.epoch)
        self._call()

    async def refresh_token(self) -> None:
        """Get a new push token, as after a restore, and tell the server."""
        async with self._talking:
            now = self._present()
            fresh = Enrollment(now.profile, now.signer, unsent=now.unsent)
            await self._newcomer.update_token(fresh, unlock=False, epoch=self.epoch)
            self._enter(fresh, Status.ENROLLED)

    async def check_out(self) -> None:
        """Remove the enrolment as its user would; the server is told if the profile says so, at best effort."""
        async with self._talking:
            now = self._present()
            if now.profile.check_out_when_removed:
                message = {"MessageType": "CheckOut", "Topic": now.profile.topic, "UDID": self.device.udid}
                with suppress(Unreachable):
                    await self._send(now, now.profile.check_in_url, message, faults=False)
            self._forget("checked out")

    async def say(self, message: dict[str, Any], *, url: str | None = None) -> Response:
        """Send one message of the caller's choice and return the answer; what it holds is not heeded."""
        now = self._present()
        return await self._send(now, url or now.profile.server_url, message | {"UDID": self.device.udid})

    # Reachability.

    def push(self, magic: str) -> None:
        """Take a push from the push service; out of reach, one is kept for later."""
        if self.enrollment is None or self.silent:
            return
        if magic != self.enrollment.magic:
            self.journal.write(Event.STRANGE_PUSH, self.epoch)
            return
        self.journal.write(Event.PUSHED, self.epoch)
        self._call()

    def go_offline(self) -> None:
        """Be out of reach until `come_online`."""
        self._offline = True

    def come_online(self) -> None:
        """Be back; a push that was kept arrives now."""
        self._offline = False
        self._begin()

    async def check_in(self) -> None:
        """Talk to the server now, and return when the conversation is over."""
        self._call()
        await self.settled()

    async def settled(self) -> None:
        """Wait until no conversation is under way; a return after NotNow is not waited for."""
        while self._conversation is not None and not self._conversation.done():
            await asyncio.wait([self._conversation])

    async def stop(self, patience: float = 0) -> None:
        """Be out of reach for good; a conversation gets `patience` seconds to end by itself."""
        self.go_offline()
        if self._conversation is not None:
            _, late = await asyncio.wait([self._conversation], timeout=patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _call(self) -> None:
        """Have a conversation: now, after the running one, or when the tablet is back in reach."""
        self._called = True
        self._begin()

    def _begin(self) -> None:
        under_way = self._conversation is not None and not self._conversation.done()
        away = self._offline or self.silent or self.enrollment is None
        if self._called and not under_way and not away:
            self._conversation = asyncio.ensure_future(self._converse())

    # The conversation.

    async def _converse(self) -> None:
        while self._called and not self._offline and not self.silent:
            self._called = False
            await asyncio.sleep(self._chance.uniform(0, self.behaviour.latency_s))
            async with self._talking:
                try:
                    postponed = await self._talk()
                except Unreachable:
                    postponed = True
            if postponed and self.behaviour.returns_after_s is not None:
                asyncio.get_running_loop().call_later(self.behaviour.returns_after_s, self._call)
        if self._chance.random() < self.behaviour.offline:
            self.go_offline()
            asyncio.get_running_loop().call_later(self.behaviour.offline_s, self.come_online)

    async def _talk(self) -> bool:
        """Report, carry out, report, until the server has nothing more; return whether something was put off."""
        postponed = False
        now = self.enrollment
        message = _IDLE if now is None or now.unsent is None else now.unsent
        for _ in range(_LONGEST):
            now = self.enrollment
            if now is None:
                return False
            response = await self._send(now, now.profile.server_url, message | {"UDID": self.device.udid})
            now.unsent = None
            if self._cut_off:
                self._fall_silent()
                return False
            if response.status != 200:
                self._heed(response)
                return postponed
            if not response.body:
                return postponed
            message = await self._carry_out(now, read_order(response.body))
            postponed = postponed or message["Status"] == "NotNow"
        self.journal.write(Event.REFUSED, self.epoch, where="endless conversation")
        return False

    async def _carry_out(self, now: Enrollment, order: Order) -> dict[str, Any]:
        uuid, command = order.uuid, order.command
        kind = command.get("RequestType", "")
        if kind in WAITS and self._chance.random() < self.behaviour.not_now:
            self.journal.write(Event.NOT_NOW, self.epoch, command=uuid, kind=kind)
            return {"Status": "NotNow", "CommandUUID": uuid}
        if kind not in NEVER_FAILS and self._chance.random() < self.behaviour.error:
            result = failed("This tablet fails at times.")
        elif (renewal := self._renewal(command)) is not None:
            result = await self._renew(now, renewal, uuid)
        else:
            result = answer(self.device, command, now.profile.access_rights)
        self.journal.write(Event.EXECUTED, self.epoch, command=uuid, kind=kind, status=result["Status"])
        self._cut_off = result["Status"] == "Acknowledged" and self._is_silencing(command)
        message = {"CommandUUID": uuid} | result
        if self.enrollment is not None:
            self.enrollment.unsent = message
        if kind == "EraseDevice" and result["Status"] == "Acknowledged":
            await self._erase(now, message, preserve_data_plan=bool(command.get("PreserveDataPlan", False)))
        return message

    async def _erase(self, now: Enrollment, message: dict[str, Any], *, preserve_data_plan: bool) -> None:
        """Acknowledge once at most (the line may lose it for good), then forget everything."""
        if self._chance.random() >= self.behaviour.lost_reply:
            with suppress(Unreachable):
                await self._send(now, now.profile.server_url, message | {"UDID": self.device.udid}, faults=False)
        self.device.wipe(preserve_data_plan=preserve_data_plan)
        self._forget("erased")

    def _renewal(self, command: dict[str, Any]) -> dict[str, Any] | None:
        """Return the document of an enrolment profile that is to be installed, or None for any other command."""
        if command.get("RequestType") != "InstallProfile":
            return None
        try:
            document = parse_profile(command["Payload"])
        except (BadProfile, KeyError):
            return None
        return document if is_enrollment(document) else None

    async def _renew(self, now: Enrollment, document: dict[str, Any], uuid: str) -> dict[str, Any]:
        """Get a new identity for the same enrolment; the old one stays where that fails."""
        try:
            profile = read_enrollment(document)
        except BadProfile as error:
            return failed(str(error), 4001, "MCInstallationErrorDomain")
        old = now.profile
        fixed = ("identifier", "topic", "server_url", "check_in_url")
        if any(getattr(profile, name) != getattr(old, name) for name in fixed):
            return failed("An enrolment profile may not change who it belongs to.", 12032)
        if profile.access_rights & ~old.access_rights:
            return failed("An enrolment profile may not widen its access rights.", 12033)
        done = {"Status": "Acknowledged"}
        if self.behaviour.acknowledges_before_renewal:
            early = done | {"CommandUUID": uuid, "UDID": self.device.udid}
            await self._send(now, old.server_url, early, faults=False)
        try:
            fresh = await self._newcomer.join(profile, renews=now.signer, epoch=self.epoch)
        except (Refused, Unreachable) as error:
            return failed(f"The identity could not be renewed: {error}", 14006)
        self._enter(fresh, Status.ENROLLED)
        self.journal.write(Event.RENEWED, self.epoch)
        return done

    # Small parts.

    def _is_silencing(self, command: dict[str, Any]) -> bool:
        """Cast whether this command, carried out, cuts the tablet off."""
        manner = self.behaviour
        if not manner.silent_after_install or command.get("RequestType") != "InstallProfile":
            return False
        if manner.silent_marker.encode() not in command["Payload"]:
            return False
        return self._chance.random() < manner.silent_after_install

    def _fall_silent(self) -> None:
        """Never be heard again; what the server answered last is not heard either."""
        self._cut_off = self._called = False
        self.silent = True
        self.journal.write(Event.SILENCED, self.epoch)

    def _present(self) -> Enrollment:
        if self.enrollment is None:
            raise Refused("not enrolled", 0)
        return self.enrollment

    async def _send(self, now: Enrollment, url: str, message: dict[str, Any], *, faults: bool = True) -> Response:
        return await self._line.send(
            url, message, signer=now.signer, signed=now.profile.sign_message, epoch=self.epoch, faults=faults
        )

    def _heed(self, response: Response) -> None:
        """Drop the enrolment where an answer means that: 401, and 403 that says the device is not recognised."""
        if response.status == 401 or (response.status == 403 and b"com.apple.unrecognized.device" in response.body):
            self._forget(f"answered {response.status}")

    def _enter(self, enrollment: Enrollment, status: Status) -> None:
        if self.enrollment is not None:
            self._directory.pop(self.enrollment.token, None)
        self.enrollment = enrollment
        self.status = status
        self._directory[enrollment.token] = self

    def _forget(self, why: str) -> None:
        if self.enrollment is not None:
            self._directory.pop(self.enrollment.token, None)
        self.enrollment = None
        self.status = Status.REMOVED
        self.device.profiles.clear()
        self._called = False
        self.journal.write(Event.REMOVED, self.epoch, why=why)
