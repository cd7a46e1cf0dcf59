"""Compiled artifacts taken apart again, key by key, for people who compare them. Passwords in them become dots.

It knows the two forms that compilers write, property lists and JSON, and no key's meaning but its danger.
"""

import json
import plistlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from profiles.sections import HIDDEN

_NAMES: Final = frozenset({"PayloadUUID", "PayloadIdentifier", "PayloadVersion", "PayloadDisplayName", "PayloadType"})
_SECRET: Final = re.compile(r"(password|passphrase|sharedsecret|presharedkey)$", re.IGNORECASE)
_RISKY: Final = re.compile(
    # Payload types and keys (Apple), fields of a policy (AMAPI), that can cut tablets off or close what lessons need.
    r"com\.apple\.(cellular|apn\.managed|proxy\.http\.global|wifi\.managed|dnsSettings\.managed|webcontent-filter"
    r"|vpn\.managed.*|app\.lock|networkusagerules)\."
    r"|.*\.(allowListedAppBundleIDs|blockedAppBundleIDs|forceWiFi\w+|allowAirPlaneMode\w*)$"
    r"|(applications|playStoreMode|openNetworkConfiguration|recommendedGlobalProxy|alwaysOnVpnPackage"
    r"|deviceConnectivityManagement|deviceRadioState|kioskCustomization|persistentPreferredActivities"
    r"|policyEnforcementRules|networkEscapeHatchEnabled|mobileNetworksConfigDisabled|wifiConfigDisabled)(\.|$)"
)


def keys_of(body: bytes) -> dict[str, Any]:
    """Return an artifact's keys with their values: `com.apple.applicationaccess.allowAirDrop`, `usbDataAccess`.

    Lists stay whole, names and numbers of the envelope are left out; JSON values only, passwords as dots.
    """
    if body.lstrip().startswith(b"<"):
        profile = plistlib.loads(body)
        flat: dict[str, Any] = {}
        for payload in profile.get("PayloadContent", []):
            kind = payload.get("PayloadType", "")
            flat |= dict(_flat(kind, {key: value for key, value in payload.items() if key not in _NAMES}))
        return flat
    return dict(_flat("", json.loads(body)))


def is_risky(key: str) -> bool:
    """Whether a mistake in this key can cut tablets off or close what lessons need."""
    return _RISKY.match(key) is not None


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), part)
    else:
        yield prefix, _shown(prefix.rpartition(".")[2], value)


def _shown(key: str, value: Any) -> Any:
    """A value as JSON for people to read."""
    match value:
        case Mapping():
            return {str(name): _shown(str(name), part) for name, part in value.items()}
        case list():
            return [_shown(key, part) for part in value]
        case str() | bytes() if _SECRET.search(key):
            return HIDDEN
        case bytes():
            return f"({len(value)} bytes)"
        case str() | bool() | int() | float() | None:
            return value
        case _:
            return str(value)
