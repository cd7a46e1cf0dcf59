"""Turn a handout into the property list an iPad executes: one RequestType per kind (reference Apple §1.12).

Schema: Apple's device-management repository, mdm/commands. Property lists are built from objects, never from text.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, assert_never

from mdm.apple import plist
from mdm.commands.kinds import Kind
from mdm.commands.profile_work import ProfileHandout
from mdm.commands.reports import Handout
from mdm.commands.sealed import open_argument

_NOBODYS: Final = "00000000-0000-0000-0000-000000000000"
"""Stands for the CommandUUID in what is kept for many tablets."""
QUERIES: Final = (
    "UDID",
    "SerialNumber",
    "ProductName",
    "ModelName",
    "ModelNumber",
    "OSVersion",
    "BuildVersion",
    "IsSupervised",
    "IsMDMLostModeEnabled",
    "BatteryLevel",
    "DeviceCapacity",
    "AvailableDeviceCapacity",
    "WiFiMAC",
    "TimeZone",
    "ServiceSubscriptions",
    "ICCID",  # this and the next five: only systems before iOS 26 know them; others leave them out
    "IMEI",
    "PhoneNumber",
    "CurrentCarrierNetwork",
    "SubscriberCarrierNetwork",
    "IsRoaming",
    "DataRoamingEnabled",
    "CellularTechnology",
    "ModemFirmwareVersion",
)
"""What an inventory asks for (Apple §1.13). Not DeviceName: people give tablets their own names (R-26)."""


def encode(handout: Handout) -> bytes:
    """Return the answer that carries this handout. Errors mean that it can never be sent as it stands."""
    if isinstance(handout, ProfileHandout):
        around = _around_profile(handout.identifier, handout.body)
    elif handout.arguments:
        around = _around(command(handout.kind, handout.arguments))
    else:
        around = _around_bare(handout.kind)
    return around[0] + str(handout.command_id).encode() + around[1]


def _around(body: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Return what stands before and behind the CommandUUID, which is the first thing in the list."""
    before, _, behind = plist.dumps({"CommandUUID": _NOBODYS, "Command": body}).partition(_NOBODYS.encode())
    return before, behind


@lru_cache(maxsize=32)
def _around_profile(identifier: str, body: bytes | None) -> tuple[bytes, bytes]:
    """A push hands the same few profiles to thousands of tablets; base64 of some kilobytes is the larger part of it."""
    if body is None:
        return _around({"RequestType": "RemoveProfile", "Identifier": identifier})
    return _around({"RequestType": "InstallProfile", "Payload": body})


@lru_cache(maxsize=32)
def _around_bare(kind: Kind) -> tuple[bytes, bytes]:
    return _around(command(kind, {}))


def command(kind: Kind, arguments: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: C901, PLR0911, PLR0912 - an arm per kind
    """Return the Command dictionary of one kind with its neutral arguments."""
    match kind:
        case Kind.LOST_MODE_ON:
            return {"RequestType": "EnableLostMode"} | _texts(arguments, "message", "phone_number", "footnote")
        case Kind.LOST_MODE_OFF:
            return {"RequestType": "DisableLostMode"}
        case Kind.LOCK_SCREEN:
            return {"RequestType": "DeviceLock"} | _texts(arguments, "message", "phone_number")
        case Kind.LOCATE:
            return {"RequestType": "DeviceLocation"}
        case Kind.PLAY_SOUND:
            return {"RequestType": "PlayLostModeSound"}
        case Kind.WIPE:
            return {
                "RequestType": "EraseDevice",
                # The SIM of a lost tablet is its only channel, and the lease goes on: the plan stays unless told.
                "PreserveDataPlan": bool(arguments.get("preserve_data_plan", True)),
                "DisallowProximitySetup": bool(arguments.get("disallow_proximity_setup", False)),
            }
        case Kind.RESTART:
            return {"RequestType": "RestartDevice"}
        case Kind.INVENTORY_DEVICE:
            return {"RequestType": "DeviceInformation", "Queries": list(QUERIES)}
        case Kind.INVENTORY_SECURITY:
            return {"RequestType": "SecurityInfo"}
        case Kind.INVENTORY_APPS:
            return {"RequestType": "InstalledApplicationList"}
        case Kind.INVENTORY_PROFILES:
            return {"RequestType": "ProfileList"}
        case Kind.INVENTORY_RESTRICTIONS:
            return {"RequestType": "Restrictions"}
        case Kind.RENEW_IDENTITY:
            return {"RequestType": "InstallProfile", "Payload": open_argument(arguments["profile"])}
        case _:
            assert_never(kind)


_KEYS: Final = {"message": "Message", "phone_number": "PhoneNumber", "footnote": "Footnote"}


def _texts(arguments: Mapping[str, Any], *names: str) -> dict[str, str]:
    return {_KEYS[name]: str(arguments[name]) for name in names if arguments.get(name)}
