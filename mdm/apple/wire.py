"""What an iPad says at the door, as typed messages (reference Apple §1.2, §1.4). Pure: bytes in, values out.

Schema: Apple's device-management repository, mdm/checkin and mdm/commands. Lenient about unknown keys, content types
and which of the two addresses a message came to; strict about what is acted upon.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from mdm.apple import plist, results
from mdm.commands.reports import Report, Said
from mdm.devices.life import PushAddress
from mdm.errors import Malformed

_NAME: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_STATUS: Final = {
    "Idle": Said.IDLE,
    "Acknowledged": Said.DONE,
    "Error": Said.FAILED,
    "CommandFormatError": Said.FAILED,
    "NotNow": Said.NOT_NOW,
}
_TOKEN_BYTES: Final = 128
_UNLOCK_TOKEN_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Authenticate:
    """The tablet wants in."""

    udid: str
    topic: str
    serial: str
    os_version: str
    product: str
    model: str


@dataclass(frozen=True, slots=True)
class TokenUpdate:
    """The tablet says where it can be pushed."""

    udid: str
    address: PushAddress


@dataclass(frozen=True, slots=True)
class CheckOut:
    """The tablet says that it leaves."""

    udid: str


@dataclass(frozen=True, slots=True)
class Other:
    """A check-in of a kind that changes nothing here; `kind` is its MessageType."""

    kind: str
    udid: str


@dataclass(frozen=True, slots=True)
class OfUser:
    """A message of the user channel, which is not kept: it must never be taken for the tablet's own."""

    kind: str


Message = Authenticate | TokenUpdate | CheckOut | Other | OfUser | Report


def parse(body: bytes, identity: bytes) -> Message:
    """Read a message whose signer is `identity` (SHA-256 of the certificate); `Malformed` for anything else."""
    document = plist.loads(body)
    status = document.get("Status")
    if "MessageType" in document:
        return _check_in(document)
    if status is None:
        raise Malformed("The message has neither MessageType nor Status.")
    if "UserID" in document:
        return OfUser("Status")
    said = _STATUS.get(status) if isinstance(status, str) else None
    if said is None:
        raise Malformed("The message has a Status of no known kind.")
    if said is Said.IDLE:
        return Report(identity, _name(document))
    return _report(document, identity, said)


def _report(document: Mapping[str, Any], identity: bytes, said: Said) -> Report:
    name, number = _name(document), _text(document, "CommandUUID")
    try:
        command_id = UUID(number)
    except ValueError:
        command_id = None  # never one of ours; the tablet still gets its next command
    error = None
    if said is Said.FAILED:
        error = results.error_chain(document)
        if document["Status"] == "CommandFormatError":
            error.append({"ErrorDomain": "CommandFormatError"})
    result, inventory = results.read(document) if said is Said.DONE else (None, None)
    return Report(identity, name, said, command_id, error, result, inventory)


def _check_in(document: Mapping[str, Any]) -> Message:
    kind = _text(document, "MessageType")
    if "UserID" in document or kind == "UserAuthenticate":
        return OfUser(kind)
    name = _name(document)
    match kind:
        case "Authenticate":
            return Authenticate(
                udid=name,
                topic=_text(document, "Topic", limit=128),
                serial=_optional(document, "SerialNumber").strip().upper(),
                os_version=_optional(document, "OSVersion"),
                product=_optional(document, "ProductName"),
                model=_optional(document, "ModelName") or _optional(document, "Model"),
            )
        case "TokenUpdate":
            return TokenUpdate(name, _address(document))
        case "CheckOut":
            return CheckOut(name)
        case _:
            return Other(kind, name)


def _address(document: Mapping[str, Any]) -> PushAddress:
    unlock_token = document.get("UnlockToken")
    awaiting = document.get("AwaitingConfiguration")
    if unlock_token is not None and not (isinstance(unlock_token, bytes) and len(unlock_token) <= _UNLOCK_TOKEN_BYTES):
        raise Malformed("UnlockToken is not data, or too long.")
    if awaiting is not None and not isinstance(awaiting, bool):
        raise Malformed("AwaitingConfiguration is not a boolean.")
    token = document.get("Token")
    if not isinstance(token, bytes) or not 0 < len(token) <= _TOKEN_BYTES:
        raise Malformed("Token is missing, not data, or too long.")
    return PushAddress(
        topic=_text(document, "Topic", limit=128),
        token=token,
        magic=_text(document, "PushMagic"),
        unlock_token=unlock_token or None,
        awaiting_configuration=awaiting,
    )


def _name(document: Mapping[str, Any]) -> str:
    """Return the UDID, or the EnrollmentID of a message without one."""
    value = document.get("UDID") or document.get("EnrollmentID")
    if not isinstance(value, str) or _NAME.fullmatch(value) is None:
        raise Malformed("UDID is missing or none.")
    return value


def _text(document: Mapping[str, Any], key: str, *, limit: int = 200) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= limit:
        raise Malformed(f"{key} is missing, not text, or too long.")
    return value


def _optional(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key, "")
    if not isinstance(value, str) or len(value) > 200:
        raise Malformed(f"{key} is not text, or too long.")
    return value
