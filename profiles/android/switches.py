"""The switches that are one field of an AMAPI policy each, and those for which Android has nothing.

Fields, values and the versions they need: the field descriptions of enterprises.policies in the discovery document.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from profiles.android.draft import Draft, Gate
from profiles.policy import pointer
from profiles.sections import Permission, Sections

_NOTHING: Final = "Android has nothing of the kind"
_NO_FIELD: Final = "the Android Management API has no setting for this"


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of the policy: what stands there when the wish is spoken, and when its contrary is."""

    path: str
    strict: object
    """For `deny`, or for a demand."""
    loose: object = None
    """For `allow`, where Google's own default is to forbid; None leaves the field out."""
    gate: Gate = Gate()  # noqa: RUF009 - frozen


def _on(path: str, gate: Gate = Gate()) -> Setting:  # noqa: B008 - frozen
    return Setting(path, strict=True, gate=gate)


_MANAGED: Final = Gate(managed=True)
_LINKS: Final = "deviceConnectivityManagement"
_RADIO: Final = "deviceRadioState"
_SECURITY: Final = "advancedSecurityOverrides"

SETTINGS: Final[Mapping[str, Mapping[str, Setting]]] = {
    "store": {
        "account_changes": _on("modifyAccountsDisabled"),
        "scan_apps": Setting(f"{_SECURITY}.googlePlayProtectVerifyApps", "VERIFY_APPS_ENFORCED"),
    },
    "usb": {
        "external_storage": _on("mountPhysicalMediaDisabled"),
        "bluetooth": _on("bluetoothDisabled"),
        "bluetooth_changes": _on("bluetoothConfigDisabled"),
        "bluetooth_sharing": Setting(f"{_LINKS}.bluetoothSharing", "BLUETOOTH_SHARING_DISALLOWED", gate=Gate(8)),
        "debugging": Setting(
            f"{_SECURITY}.developerSettings", "DEVELOPER_SETTINGS_DISABLED", "DEVELOPER_SETTINGS_ALLOWED"
        ),
    },
    "sns_mail": {
        "messages": _on("smsDisabled"),
        "phone_calls": _on("outgoingCallsDisabled"),
    },
    "accounts": {
        "add_users": _on("addUserDisabled"),
        "factory_reset": _on("factoryResetDisabled"),
        "automatic_clock": Setting("autoDateAndTimeZone", "AUTO_DATE_AND_TIME_ZONE_ENFORCED"),
    },
    "cellular": {
        "roaming": _on("dataRoamingDisabled"),
        "hotspot": Setting(f"{_LINKS}.tetheringSettings", "DISALLOW_ALL_TETHERING"),
        "plan_changes": _on("mobileNetworksConfigDisabled"),
        "esim_changes": Setting(
            f"{_RADIO}.userInitiatedAddEsimSettings", "USER_INITIATED_ADD_ESIM_DISALLOWED", gate=Gate(15)
        ),
        "network_reset": _on("networkResetDisabled", _MANAGED),
        "airplane_mode": Setting(f"{_RADIO}.airplaneModeState", "AIRPLANE_MODE_DISABLED", gate=Gate(9)),
        "two_g": Setting(f"{_RADIO}.cellularTwoGState", "CELLULAR_TWO_G_DISABLED", gate=Gate(14)),
        "broadcast_changes": _on("cellBroadcastsConfigDisabled"),
    },
    "wifi": {
        "adding": Setting(f"{_LINKS}.configureWifi", "DISALLOW_ADD_WIFI_CONFIG", gate=Gate(13)),
        "always_on": Setting(f"{_RADIO}.wifiState", "WIFI_ENABLED", gate=Gate(13)),
        "direct": Setting(f"{_LINKS}.wifiDirectSettings", "DISALLOW_WIFI_DIRECT", gate=Gate(13)),
    },
    "vpn_proxy": {"vpn_changes": _on("vpnConfigDisabled")},
    "screen": {
        "wallpaper_changes": _on("setWallpaperDisabled"),
        "notifications_when_locked": Setting("keyguardDisabledFeatures", ["NOTIFICATIONS"]),
        "camera_when_locked": Setting("keyguardDisabledFeatures", ["CAMERA"]),
    },
    "passcode": {"biometrics": Setting("keyguardDisabledFeatures", ["BIOMETRICS"])},
    "certificates": {"changes": _on("credentialsConfigDisabled")},
    "privacy": {
        "camera": Setting("cameraAccess", "CAMERA_ACCESS_DISABLED"),
        "microphone": Setting("microphoneAccess", "MICROPHONE_ACCESS_DISABLED", gate=_MANAGED),
        "screenshots": _on("screenCaptureDisabled"),
        "printing": Setting("printingPolicy", "PRINTING_DISALLOWED", gate=Gate(9)),
        "cloud_backup": Setting(
            "backupService", "BACKUP_SERVICE_DISABLED", "BACKUP_SERVICE_USER_CHOICE", Gate(8, managed=True)
        ),
        "location_sharing": _on("shareLocationDisabled"),
    },
}

LACKS: Final[Mapping[str, Mapping[str, str]]] = {
    "store": {
        "storefront": "Google says no way to hide Play that keeps managed installs; an allowlist is all it shows then",
        "remove_system_apps": "applications of the system cannot be deleted on Android anyway",
        "in_app_purchases": _NO_FIELD,
        "media_store": _NOTHING,
        "book_store": _NOTHING,
        "app_clips": "instant apps can only be stopped one by one: name them in apps.denylist",
        "automatic_downloads": _NOTHING,
        "manual_profiles": "Android has no configuration profiles",
        "app_rating_limit": _NO_FIELD,
        "rating_region": _NO_FIELD,
    },
    "usb": {
        "accessories_while_locked": _NO_FIELD,
        "recovery_boot": _NO_FIELD,
        "network_drives": _NO_FIELD,
        "airdrop": _NO_FIELD,
    },
    "web_filter": {
        "hide_deny_list": _NO_FIELD,
        "history_clearing": "Chrome on Android has no such policy",
    },
    "sns_mail": {
        "rcs_messages": _NO_FIELD,
        "video_calls": "the system has none of its own: name the application in apps.denylist",
        "game_network": "the system has none of its own: name the application in apps.denylist",
    },
    "accounts": {
        "device_name_changes": _NO_FIELD,
        "new_device_setup": _NO_FIELD,
        "screen_time": _NO_FIELD,
        "find_my_device": "it follows the private account: close store.account_changes",
    },
    "cellular": {
        "roaming_background": _NO_FIELD,
        "hotspot_changes": "there is only one switch for the hotspot as a whole: cellular.hotspot",
        "esim_transfers": _NO_FIELD,
        "app_data_changes": _NO_FIELD,
    },
    "vpn_proxy": {"private_relay": _NOTHING},
    "passcode": {
        "grace_minutes": _NO_FIELD,
        "changes": _NO_FIELD,
        "biometric_changes": _NO_FIELD,
    },
    "updates": {
        "deadline": "Android has no day by which a version must be there",
        "details_url": _NO_FIELD,
        "over_lte": "Android has no rule for the network of system updates; a window at night on Wi-Fi comes closest",
        "security_responses": _NOTHING,
        "security_response_removal": _NOTHING,
        "minimum_android_api": "a tablet below minimumApiLevel would be blocked, and reset after 30 days; left out",
    },
    "screen": {
        "home": "the home screen cannot be arranged",
        "volume_changes": "Android mutes a tablet whose volume cannot be changed",
    },
}


def write(effective: Sections, draft: Draft) -> None:
    """Write every plain switch; own up to those that need more than the tablet has."""
    for section, settings in SETTINGS.items():
        for name, wish in _spoken(effective, section, settings):
            _write(draft, pointer(section, name), settings[name], strict=_is_strict(wish))
    for section, reasons in LACKS.items():
        for name, wish in _spoken(effective, section, reasons):
            # What is allowed needs nothing to stay allowed.
            if wish is not Permission.ALLOW and wish is not False:
                draft.lacks(pointer(section, name), reasons[name])


def _write(draft: Draft, place: str, setting: Setting, *, strict: bool) -> None:
    value = setting.strict if strict else setting.loose
    if value is not None and draft.reached(place, setting.gate):
        draft.put(setting.path, value)


def _is_strict(wish: object) -> bool:
    return wish is Permission.DENY or wish is True


def _spoken(effective: Sections, section: str, names: Mapping[str, Any]) -> list[tuple[str, object]]:
    part = getattr(effective, section)
    return [] if part is None else [(name, wish) for name in names if (wish := getattr(part, name)) is not None]
