"""How a tablet gets in: SCEP, Authenticate, TokenUpdate, for a new enrolment as for the renewal of an identity.

It knows nothing of commands. Order and keys: apple.md §1.2, §1.6.
"""

import secrets
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from simulator.tablets.cms import BadMessage, Signer
from simulator.tablets.device import Device
from simulator.tablets.keys import Keys
from simulator.tablets.line import Line
from simulator.tablets.profile import EnrollmentProfile
from simulator.tablets.scep import ScepRefused, obtain
from simulator.web import Client


class Refused(Exception):
    """The server did not let the tablet in: `where` (scep, Authenticate, TokenUpdate) and the HTTP status, or 0."""

    def __init__(self, where: str, status: int, text: str = "") -> None:
        super().__init__(f"{where} refused: {status or ''} {text}".strip())
        self.where = where
        self.status = status


@dataclass(slots=True)
class Enrollment:
    """What the tablet holds while it is enrolled."""

    profile: EnrollmentProfile
    signer: Signer
    token: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    magic: str = field(default_factory=lambda: str(uuid4()).upper())
    unsent: dict[str, Any] | None = None
    """The answer to a command that was carried out, until the server has confirmed it."""


class Newcomer:
    """The part of a tablet that gets it in."""

    def __init__(self, device: Device, client: Client, line: Line, keys: Keys) -> None:
        self._device = device
        self._client = client
        self._line = line
        self._keys = keys

    async def join(self, profile: EnrollmentProfile, *, epoch: int, renews: Signer | None = None) -> Enrollment:
        """Make a key, get a certificate and introduce the tablet with it; `Refused` or `Unreachable`.

        With `renews` and a profile without challenge, that identity signs the request for the new one (RenewalReq).
        """
        key = await self._keys.take(profile.scep.key_size)
        old = renews if profile.scep.challenge is None else None
        try:
            signer = await obtain(self._client, profile.scep, key, renews=old, lose_answer=self._line.drops())
        except (ScepRefused, BadMessage) as error:
            raise Refused("scep", 0, str(error)) from error
        enrollment = Enrollment(profile, signer)
        await self._check_in(enrollment, self._introduction(profile), epoch)
        await self.update_token(enrollment, unlock=True, epoch=epoch)
        return enrollment

    async def update_token(self, enrollment: Enrollment, *, unlock: bool, epoch: int) -> None:
        """Tell the server where to push; with `unlock` the UnlockToken goes along, as it does once in a while."""
        message: dict[str, Any] = {
            "MessageType": "TokenUpdate",
            "Topic": enrollment.profile.topic,
            "UDID": self._device.udid,
            "Token": enrollment.token,
            "PushMagic": enrollment.magic,
        }
        if unlock:
            message["UnlockToken"] = secrets.token_bytes(128)
        await self._check_in(enrollment, message, epoch)

    def _introduction(self, profile: EnrollmentProfile) -> dict[str, Any]:
        message = {"MessageType": "Authenticate", "Topic": profile.topic, "UDID": self._device.udid}
        if not profile.access_rights & 16:  # what the device is comes only with the right to know it
            return message
        return message | {
            "OSVersion": self._device.os_version,
            "BuildVersion": "22B83",
            "ProductName": self._device.product,
            "SerialNumber": self._device.serial,
            "IMEI": self._device.imei,
            "DeviceName": "iPad",
            "Model": self._device.model,
            "ModelName": "iPad",
        }

    async def _check_in(self, enrollment: Enrollment, message: dict[str, Any], epoch: int) -> None:
        profile = enrollment.profile
        response = await self._line.send(
            profile.check_in_url, message, signer=enrollment.signer, signed=profile.sign_message, epoch=epoch
        )
        if response.status != 200:
            raise Refused(message["MessageType"], response.status)
