"""What no profile can do on an iPad, field by field, with the reason that the operator reads. It holds no keys.

Sources: https://github.com/apple/device-management (no payload has a key for these; declarations and commands are named
where they could do it).
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final

from profiles.apple.gates import Known
from profiles.policy import pointer
from profiles.sections import AppUpdates, Location, Permission, Sections

_NO_KEY: Final = "iPadOS has no key for this"
_DECLARATION: Final = "only declarative management can do this on iPadOS {}, a profile cannot"
_SINGLE: Final = "the single application mode of iPadOS never leaves this open"

CANNOT: Final[Mapping[str, str]] = {
    "/apps/required": "a profile installs no application; that takes a licence and an install command for each tablet",
    "/apps/removed": "a profile removes no application, and a command removes only managed ones; denying hides it",
    "/apps/installs_over_lte": _DECLARATION.format("26 and newer"),
    "/apps/installs_on_battery": _NO_KEY,
    "/apps/updates": _DECLARATION.format("26 and newer"),
    "/store/scan_apps": "iPadOS has no scanner for installed software; closing the ways in is its answer",
    "/usb/data": "charging, keyboards and cameras cannot be told apart; deny external_storage and host_pairing instead",
    "/usb/bluetooth": "a command can switch Bluetooth off once; deny bluetooth_changes to keep it so",
    "/usb/bluetooth_sharing": _NO_KEY,
    "/usb/debugging": _NO_KEY,
    "/web_filter/safe_search": "iPadOS has no key for this; a filtering name server or a filter application can do it",
    "/web_filter/youtube": "iPadOS has no key for this; a filtering name server or a filter application can do it",
    "/sns_mail/phone_calls": _NO_KEY,
    "/accounts/denied_types": "iPadOS cannot tell kinds of account apart; store.account_changes stops all of them",
    "/cellular/roaming": "a command can switch roaming off once, but no key keeps it so; the carrier can",
    "/cellular/hotspot": "a command can switch it off once; deny hotspot_changes to keep it so",
    "/cellular/network_reset": _NO_KEY,
    "/cellular/airplane_mode": _NO_KEY,
    "/cellular/two_g": _NO_KEY,
    "/cellular/broadcast_changes": _NO_KEY,
    "/wifi/denied_ssids": "iPadOS cannot deny single networks; only_these allows none but the listed ones",
    "/wifi/adding": "iPadOS has no key for this; only_these allows none but the listed networks",
    "/wifi/direct": _NO_KEY,
    "/wifi/weakest": _NO_KEY,
    "/wifi/escape_hatch": _NO_KEY,
    "/vpn_proxy/always_on": "the application is named for Android only",
    "/passcode/complexity": "iPadOS has no such levels; minimum_length and alphanumeric can be asked for",
    "/updates/minimum_ipados": _DECLARATION.format("17 and newer"),
    "/updates/deadline": _DECLARATION.format("17 and newer"),
    "/updates/details_url": _DECLARATION.format("17 and newer"),
    "/updates/automatic": _DECLARATION.format("18 and newer"),
    "/updates/window": _NO_KEY,
    "/updates/freezes": "iPadOS has no key for this; delay_days keeps a version back for up to 90 days",
    "/updates/over_lte": _NO_KEY,
    "/screen/support_text": _NO_KEY,
    "/screen/volume_changes": _NO_KEY,
    "/screen/camera_when_locked": "iPadOS has no key for this; privacy.camera closes the camera as a whole",
    "/certificates/changes": "certificates come with profiles there; deny store.manual_profiles instead",
    "/privacy/microphone": _NO_KEY,
    "/privacy/location": _NO_KEY,
}
"""Wishes that no iPad can fulfil by a profile."""

OPENED: Final[Mapping[str, str]] = {
    "/exam/status_bar": _SINGLE,
    "/exam/navigation": _SINGLE,
    "/exam/settings": _SINGLE,
}
"""Here the denial holds by itself, and the allowance is what cannot be had."""

NOT_HERE: Final[Mapping[str, str]] = {
    "/accounts/add_users": "nothing to close: an iPad has one user, unless it was set up as a Shared iPad",
    "/accounts/reset_owner_emails": "not for iPadOS",
    "/updates/minimum_android_api": "not for iPadOS",
}
"""Fields that mean nothing to an iPad, so nothing is missing."""


def refuse(effective: Sections, known: Known) -> None:
    """Add each wish of the policy that no iPad can fulfil."""
    for section in Sections.model_fields:
        part = getattr(effective, section)
        if part is None:
            continue
        for name in type(part).model_fields:
            place, value = pointer(section, name), getattr(part, name)
            if place in CANNOT and _wished(value):
                known.refuse(place, CANNOT[place])
            elif place in OPENED and value is Permission.ALLOW:
                known.refuse(place, OPENED[place])


def _wished(value: object) -> bool:
    """Whether a value asks for something: silence, an allowance and the system's own way do not."""
    idle: tuple[Enum, ...] = (Permission.ALLOW, AppUpdates.USER, Location.USER)
    return value is not None and value is not False and not any(value is word for word in idle)
