"""The body of a pretended iPad: what it is, what is installed on it, and how it answers each command. No network here.

https://developer.apple.com/documentation/devicemanagement/commands-and-queries
Numbers in error chains are invented: no list of them is published.
"""

import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from simulator.tablets.profile import BadProfile, parse_profile
from simulator.tablets.restrictions import total

Answer = dict[str, Any]


@dataclass(slots=True)
class Device:
    """The state of one iPad. A wipe resets all that is not hardware."""

    serial: str
    model: str = "A3162"
    product: str = "iPad13,18"
    imei: str = ""
    iccid: str = ""
    """Digits; empty: no SIM in the slot."""
    esim: bool = False
    os_version: str = "18.1"
    supervised: bool = True
    passcode: bool = False
    battery: float = 0.8
    place: tuple[float, float] = (35.0, 135.0)
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Installed profiles by PayloadIdentifier: `uuid`, `name`, `sha256`, and `xml` unless it was signed."""
    loses: list[str] = field(default_factory=list)
    """PayloadIdentifiers that it acknowledges and does not keep, without a word: a tablet that drifts."""
    ignores: list[str] = field(default_factory=list)
    """Restrictions that it does not enforce although a profile holds them."""
    lost_mode: dict[str, str] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    sounds: int = 0
    restarts: int = 0
    wipes: int = 0

    @property
    def udid(self) -> str:
        """Stable for the hardware, whatever is installed on it."""
        return _udid(self.serial)

    def wipe(self, *, preserve_data_plan: bool) -> None:
        """Forget everything; an eSIM too, unless its plan is preserved."""
        self.profiles.clear()
        self.settings.clear()
        self.lost_mode = None
        self.passcode = False
        self.wipes += 1
        if self.esim and not preserve_data_plan:
            self.iccid = ""


@lru_cache(maxsize=32_768)
def _udid(serial: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"ipad:{serial}")).upper()


WAITS = frozenset(
    {
        *("InstallProfile", "RemoveProfile", "ProfileList", "Restrictions"),
        *("DeviceInformation", "SecurityInfo", "InstalledApplicationList"),
    }
)
"""What a locked tablet may answer with NotNow; lock, lost mode and wipe run at once."""
NEVER_FAILS = frozenset({"EraseDevice", "EnableLostMode", "DisableLostMode", "DeviceLocation", "DeviceLock"})
_SUPERVISED = frozenset({"EnableLostMode", "DisableLostMode", "DeviceLocation", "PlayLostModeSound", "RestartDevice"})
_RIGHTS = {
    "ProfileList": 1,
    "InstallProfile": 2,
    "RemoveProfile": 2,
    "DeviceLock": 4,
    "RestartDevice": 4,
    "EraseDevice": 8,
    "DeviceInformation": 16,
    "InstalledApplicationList": 256,
    "Restrictions": 512,
    "SecurityInfo": 1024,
    "Settings": 2048,
}
_NETWORK_RIGHT = 32
_NETWORK_QUERIES = frozenset({"ServiceSubscriptions", "WiFiMAC", "BluetoothMAC", "CellularTechnology", "ICCID", "IMEI"})
_APPS = (
    ("jp.example.drill", "Invented Drill", "3.2.0", 48_000_000),
    ("jp.example.reader", "Invented Reader", "1.9.1", 120_500_000),
)


def failed(text: str, code: int = 12000, domain: str = "MCMDMErrorDomain") -> Answer:
    """Return an Error answer with a chain of one."""
    link = {"ErrorCode": code, "ErrorDomain": domain, "LocalizedDescription": text, "USEnglishDescription": text}
    return {"Status": "Error", "ErrorChain": [link]}


def answer(device: Device, command: dict[str, Any], access_rights: int) -> Answer:
    """Carry out `command` on `device`; return the keys of the answer, Status among them."""
    kind = command.get("RequestType")
    act = _ACTS.get(kind) if isinstance(kind, str) else None
    if kind is None or act is None:
        return {"Status": "CommandFormatError"}
    if kind in _SUPERVISED and not device.supervised:
        return failed(f"{kind} is not a valid request type.", 12021)
    right = _RIGHTS.get(kind, 0)
    if access_rights & right != right:
        return failed(f"The access rights do not allow {kind}.", 12006)
    try:
        return {"Status": "Acknowledged"} | act(device, command, access_rights)
    except (KeyError, TypeError):
        return {"Status": "CommandFormatError"}


def _install_profile(device: Device, command: dict[str, Any], _rights: int) -> Answer:
    body: bytes = command["Payload"]
    try:
        document = parse_profile(body)
    except BadProfile as error:
        return failed(str(error), 4001, "MCInstallationErrorDomain")
    if document["PayloadIdentifier"] in device.loses:
        device.profiles.pop(document["PayloadIdentifier"], None)
        return {}
    device.profiles[document["PayloadIdentifier"]] = {
        "uuid": document["PayloadUUID"],
        "name": document.get("PayloadDisplayName", ""),
        "sha256": hashlib.sha256(body).hexdigest(),
        "xml": sys.intern(body.decode()) if body.startswith(b"<") else "",  # one copy for a whole fleet
    }
    return {}


def _remove_profile(device: Device, command: dict[str, Any], _rights: int) -> Answer:
    if device.profiles.pop(command["Identifier"], None) is None:
        return failed("The profile is not installed.", 12075)
    return {}


def _profile_list(device: Device, _command: dict[str, Any], _rights: int) -> Answer:
    return {
        "ProfileList": [
            {
                "PayloadIdentifier": identifier,
                "PayloadUUID": profile["uuid"],
                "PayloadDisplayName": profile["name"],
                "PayloadVersion": 1,
                "IsManaged": True,
                "IsEncrypted": False,
                "PayloadContent": [],
            }
            for identifier, profile in sorted(device.profiles.items())
        ]
    }


def _restrictions(device: Device, _command: dict[str, Any], _rights: int) -> Answer:
    held = [profile["xml"] for profile in device.profiles.values()]
    return {"GlobalRestrictions": total(held, ignores=device.ignores)}


def _grouped(digits: str) -> str:
    """Write an ICCID as tablets do, with spaces between groups of four."""
    return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))


def _facts(device: Device) -> dict[str, Any]:
    slot: dict[str, Any] = {"Slot": "CTSubscriptionSlotOne", "IMEI": device.imei, "IsDataPreferred": True}
    if device.iccid:
        slot |= {"ICCID": _grouped(device.iccid), "CurrentCarrierNetwork": "Invented Mobile", "IsRoaming": False}
    seed = hashlib.sha256(device.serial.encode()).hexdigest()
    old = {"ICCID": _grouped(device.iccid), "IMEI": device.imei} if float(device.os_version.split(".")[0]) < 26 else {}
    return old | {
        "UDID": device.udid,
        "DeviceName": device.settings.get("DeviceName", "iPad"),
        "OSVersion": device.os_version,
        "BuildVersion": "22B83",
        "ModelName": "iPad",
        "Model": device.model,
        "ProductName": device.product,
        "SerialNumber": device.serial,
        "DeviceCapacity": 64.0,
        "AvailableDeviceCapacity": 31.5,
        "BatteryLevel": device.battery,
        "CellularTechnology": 1,
        "ModemFirmwareVersion": "1.00.00",
        "IsSupervised": device.supervised,
        "IsMDMLostModeEnabled": device.lost_mode is not None,
        "DataRoamingEnabled": device.settings.get("DataRoaming", False),
        "PersonalHotspotEnabled": False,
        "TimeZone": "Asia/Tokyo",
        "WiFiMAC": ":".join(seed[at : at + 2] for at in range(0, 12, 2)),
        "BluetoothMAC": ":".join(seed[at : at + 2] for at in range(12, 24, 2)),
        "ServiceSubscriptions": [slot],
    }


def _device_information(device: Device, command: dict[str, Any], rights: int) -> Answer:
    facts = _facts(device)
    asked = [name for name in command["Queries"] if name in facts]
    allowed = [name for name in asked if rights & _NETWORK_RIGHT or name not in _NETWORK_QUERIES]
    return {"QueryResponses": {name: facts[name] for name in allowed}}


def _security_info(device: Device, _command: dict[str, Any], _rights: int) -> Answer:
    info = {
        "HardwareEncryptionCaps": 3,
        "PasscodePresent": device.passcode,
        "PasscodeCompliant": True,
        "PasscodeCompliantWithProfiles": True,
        "ManagementStatus": {"EnrolledViaDEP": False, "IsUserEnrollment": False},
    }
    return {"SecurityInfo": info}


def _apps(_device: Device, _command: dict[str, Any], _rights: int) -> Answer:
    keys = ("Identifier", "Name", "ShortVersion", "BundleSize")
    return {"InstalledApplicationList": [dict(zip(keys, app, strict=True)) for app in _APPS]}


def _enable_lost_mode(device: Device, command: dict[str, Any], _rights: int) -> Answer:
    shown: dict[str, str] = {name: command[name] for name in ("Message", "PhoneNumber", "Footnote") if name in command}
    if not {"Message", "PhoneNumber"} & set(shown):
        return {"Status": "CommandFormatError"}
    device.lost_mode = shown
    return {}


def _disable_lost_mode(device: Device, _command: dict[str, Any], _rights: int) -> Answer:
    device.lost_mode = None
    return {}


def _location(device: Device, _command: dict[str, Any], _rights: int) -> Answer:
    if device.lost_mode is None:
        return failed("The device is not in Lost Mode.", 12067)
    latitude, longitude = device.place
    return {
        "Latitude": latitude,
        "Longitude": longitude,
        "HorizontalAccuracy": 12.0,
        "VerticalAccuracy": 4.0,
        "Altitude": 40.0,
        "Speed": -1.0,
        "Course": -1.0,
        "Timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _sound(device: Device, _command: dict[str, Any], _rights: int) -> Answer:
    if device.lost_mode is None:
        return failed("The device is not in Lost Mode.", 12067)
    device.sounds += 1
    return {}


def _lock(device: Device, _command: dict[str, Any], _rights: int) -> Answer:
    if device.lost_mode is not None:
        return {"MessageResult": "DeviceInLostMode"}
    return {"MessageResult": "Success" if device.passcode else "NoPasscodeSet"}


def _erase(_device: Device, _command: dict[str, Any], _rights: int) -> Answer:
    return {}  # acknowledged first; the tablet wipes itself when the answer has left


def _restart(device: Device, _command: dict[str, Any], _rights: int) -> Answer:
    device.restarts += 1
    return {}


def _settings(device: Device, command: dict[str, Any], _rights: int) -> Answer:
    results = []
    for item in command["Settings"]:
        name = item["Item"]
        value = item.get("Enabled", item.get(name))
        if value is None:
            results.append({"Item": name, "Status": "CommandFormatError"})
        else:
            device.settings[name] = value
            results.append({"Item": name, "Status": "Acknowledged"})
    return {"Settings": results}


_ACTS: dict[str, Callable[[Device, dict[str, Any], int], Answer]] = {
    "InstallProfile": _install_profile,
    "RemoveProfile": _remove_profile,
    "ProfileList": _profile_list,
    "Restrictions": _restrictions,
    "DeviceInformation": _device_information,
    "SecurityInfo": _security_info,
    "InstalledApplicationList": _apps,
    "EnableLostMode": _enable_lost_mode,
    "DisableLostMode": _disable_lost_mode,
    "DeviceLocation": _location,
    "PlayLostModeSound": _sound,
    "DeviceLock": _lock,
    "EraseDevice": _erase,
    "RestartDevice": _restart,
    "Settings": _settings,
}
