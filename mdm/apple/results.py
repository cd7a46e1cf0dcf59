"""Translate what an iPad answers (Apple §1.4, §1.12, §1.13) into neutral results; pure, and lenient about extra keys.

It must not decide what an answer changes: that is `mdm.commands.results`, which first checks what was asked.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mdm.apple.plist import to_json
from mdm.commands.kinds import Kind
from mdm.commands.results import Inventory, TabletFacts

_ENVELOPE: Final = frozenset(
    ("Status", "UDID", "EnrollmentID", "CommandUUID", "ErrorChain", "RequestType", "NotOnConsole", "UserID")
)
_RESULT_BYTES: Final = 64 * 1024
_CHAIN_LENGTH: Final = 16
_TEXT_LENGTH: Final = 500

_LEGACY_SIM: Final = ("ICCID", "IMEI", "MEID", "PhoneNumber", "CurrentCarrierNetwork", "SubscriberCarrierNetwork")
"""Top-level keys of DeviceInformation before the array (deprecated in 16, removed in 26: Apple §1.13)."""
_NOT_KEPT: Final = frozenset(("ServiceSubscriptions", "DeviceName", *_LEGACY_SIM))
"""Said elsewhere in the report, or, DeviceName, apt to be a pupil's name (R-26)."""
_SIM_KEYS: Final[dict[str, str]] = {
    "Slot": "slot",
    "ICCID": "iccid",
    "EID": "eid",
    "IMEI": "imei",
    "MEID": "meid",
    "PhoneNumber": "phone_number",
    "CurrentCarrierNetwork": "carrier",
    "SubscriberCarrierNetwork": "subscriber_carrier",
    "CurrentMCC": "mcc",
    "CurrentMNC": "mnc",
    "IsDataPreferred": "data_preferred",
    "IsRoaming": "roaming",
    "Label": "label",
}
_DIGITS_ONLY: Final = frozenset(("iccid", "eid", "imei"))


def read(document: Mapping[str, Any]) -> tuple[dict[str, Any] | None, Inventory | None]:
    """Return an acknowledged command's result in JSON, or the inventory that it carries; both None when it is bare."""
    inventory = _inventory(document)
    if inventory is not None:
        return None, inventory
    rest = {key: to_json(value) for key, value in document.items() if key not in _ENVELOPE}
    if not rest or len(json.dumps(rest)) > _RESULT_BYTES:
        return None, None
    return rest, None


def _inventory(document: Mapping[str, Any]) -> Inventory | None:
    match document:
        case {"QueryResponses": dict() as responses}:
            return device_information(responses)
        case {"SecurityInfo": dict() as security}:
            return Inventory(Kind.INVENTORY_SECURITY, to_json(security))
        case {"InstalledApplicationList": list() as apps}:
            return Inventory(Kind.INVENTORY_APPS, {"apps": to_json(apps)})
        case {"ProfileList": list() as profiles}:
            return Inventory(Kind.INVENTORY_PROFILES, {"profiles": to_json(profiles)})
        case {"GlobalRestrictions": dict() as restrictions}:
            return Inventory(Kind.INVENTORY_RESTRICTIONS, to_json(restrictions))
    return None


def device_information(responses: Mapping[str, Any]) -> Inventory:
    """Read the answers to DeviceInformation: facts, the SIMs by slot, and the rest as it came."""
    body = {
        "subscriptions": subscriptions(responses),
        "responses": {key: to_json(value) for key, value in responses.items() if key not in _NOT_KEPT},
    }
    facts = TabletFacts(
        supervised=_flag(responses.get("IsSupervised")),
        os_version=_text(responses.get("OSVersion")),
        product=_text(responses.get("ProductName")),
        lost_mode=_flag(responses.get("IsMDMLostModeEnabled")),
    )
    return Inventory(Kind.INVENTORY_DEVICE, body, facts)


def subscriptions(responses: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one entry per SIM slot, from the array or, where an old system has none, from the top-level keys."""
    rows = responses.get("ServiceSubscriptions")
    if isinstance(rows, list):
        return [_subscription(row) for row in rows if isinstance(row, dict)]
    legacy = {
        key: responses[key] for key in (*_LEGACY_SIM, "IsRoaming", "CurrentMCC", "CurrentMNC") if key in responses
    }
    return [_subscription(legacy)] if any(key in legacy for key in _LEGACY_SIM) else []


def _subscription(row: Mapping[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for key, name in _SIM_KEYS.items():
        value = row.get(key)
        if isinstance(value, bool):
            entry[name] = value
        elif isinstance(value, str):
            # ICCIDs come with spaces, IMEIs with spaces or hyphens; a slot without a SIM has neither.
            kept = "".join(filter(str.isdecimal, value)) if name in _DIGITS_ONLY else value[:_TEXT_LENGTH]
            if kept:
                entry[name] = kept
    return entry


def error_chain(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tablet's reasons, bounded in number and length."""
    chain = document.get("ErrorChain")
    return [_link(link) for link in _dicts(chain)][:_CHAIN_LENGTH]


def _link(link: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key in ("ErrorCode", "ErrorDomain", "LocalizedDescription", "USEnglishDescription"):
        value = link.get(key)
        if isinstance(value, str):
            kept[key] = value[:_TEXT_LENGTH]
        elif isinstance(value, int):
            kept[key] = value
    return kept


def _dicts(value: Any) -> Iterable[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
