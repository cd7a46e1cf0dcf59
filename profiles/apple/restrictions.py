"""Restrictions: the switches of every section, as one profile for each section.

Keys: https://github.com/apple/device-management (mdm/profiles/com.apple.applicationaccess.yaml, also the generation of
iPadOS 27). A tablet takes many such payloads, but one restriction must not stand in two of them, so every key belongs
to one section. It decides nothing that a policy does not say.
"""

from collections.abc import Mapping
from typing import Any, Final

from profiles import catalogue
from profiles.apple.envelope import one
from profiles.apple.gates import Gate, Known, hindrance
from profiles.compiled import Artifact
from profiles.policy import pointer
from profiles.sections import Part, Permission, Sections

RESTRICTIONS: Final = "com.apple.applicationaccess"

SWITCHES: Final[Mapping[str, Mapping[str, Gate]]] = {
    "store": {
        "install_apps": Gate("allowAppInstallation", ()),
        "storefront": Gate("allowUIAppInstallation", (9,)),
        "remove_apps": Gate("allowAppRemoval", (4, 2, 1)),
        "remove_system_apps": Gate("allowSystemAppRemoval", (11,)),
        "in_app_purchases": Gate("allowInAppPurchases", (), supervised=False),
        "media_store": Gate("allowiTunes", ()),
        "book_store": Gate("allowBookstore", (6,)),
        "app_clips": Gate("allowAppClips", (14,)),
        "automatic_downloads": Gate("allowAutomaticAppDownloads", (9,)),
        "developer_trust": Gate("allowEnterpriseAppTrust", (9,), supervised=False),
        "other_marketplaces": Gate("allowMarketplaceAppInstallation", (17, 4)),
        "web_distribution": Gate("allowWebDistributionAppInstallation", (17, 5)),
        "manual_profiles": Gate("allowUIConfigurationProfileInstallation", (6,)),
        "account_changes": Gate("allowAccountModification", (7,)),
    },
    "usb": {
        "external_storage": Gate("allowFilesUSBDriveAccess", (13,)),
        "host_pairing": Gate("allowHostPairing", (7,)),
        "recovery_boot": Gate("allowUnpairedExternalBootToRecovery", (14, 5)),
        "network_drives": Gate("allowFilesNetworkDriveAccess", (13, 1)),
        "airdrop": Gate("allowAirDrop", (7,)),
        "bluetooth_changes": Gate("allowBluetoothModification", (11,)),
        "nfc": Gate("allowNFC", (14, 2)),
    },
    "web_filter": {
        "built_in_browser": Gate("allowSafari", ()),
        "browser_choice": Gate("allowDefaultBrowserModification", (18, 2)),
        "private_browsing": Gate("allowSafariPrivateBrowsing", (26,)),
        "history_clearing": Gate("allowSafariHistoryClearing", (26,)),
    },
    "sns_mail": {
        "messages": Gate("allowChat", (5,)),
        "rcs_messages": Gate("allowRCSMessaging", (18, 1)),
        "video_calls": Gate("allowVideoConferencing", ()),
        "game_network": Gate("allowGameCenter", (6,)),
    },
    "accounts": {
        "factory_reset": Gate("allowEraseContentAndSettings", (8,)),
        "device_name_changes": Gate("allowDeviceNameModification", (9,)),
        "new_device_setup": Gate("allowProximitySetupToNewDevice", (11,)),
        "screen_time": Gate("allowEnablingRestrictions", (8,)),
        "find_my_device": Gate("allowFindMyDevice", (13,)),
    },
    "cellular": {
        "roaming_background": Gate("allowGlobalBackgroundFetchWhenRoaming", (), supervised=False),
        "hotspot_changes": Gate("allowPersonalHotspotModification", (12, 2)),
        "plan_changes": Gate("allowCellularPlanModification", (11,)),
        "esim_changes": Gate("allowESIMModification", (12, 1)),
        "esim_transfers": Gate("allowESIMOutgoingTransfers", (18,)),
        "app_data_changes": Gate("allowAppCellularDataModification", (7,)),
    },
    "vpn_proxy": {
        "vpn_changes": Gate("allowVPNCreation", (11,)),
        "private_relay": Gate("allowCloudPrivateRelay", (15,)),
    },
    "passcode": {
        "changes": Gate("allowPasscodeModification", (9,)),
        "biometric_changes": Gate("allowFingerprintModification", (8, 3)),
        "biometrics": Gate("allowFingerprintForUnlock", (7,), supervised=False),
    },
    "updates": {
        "security_responses": Gate("allowRapidSecurityResponseInstallation", (16,), removed=(27,)),
        "security_response_removal": Gate("allowRapidSecurityResponseRemoval", (16,), removed=(27,)),
    },
    "screen": {
        "wallpaper_changes": Gate("allowWallpaperModification", (9,)),
        "notifications_when_locked": Gate("allowLockScreenNotificationsView", (7,), supervised=False),
    },
    "privacy": {
        "camera": Gate("allowCamera", (), supervised=False),
        "screenshots": Gate("allowScreenShot", (3, 1), supervised=False),
        "printing": Gate("allowAirPrint", (11,)),
        "cloud_backup": Gate("allowCloudBackup", (5,), supervised=False),
        "location_sharing": Gate("allowFindMyFriends", (13,)),
    },
}
"""Switches of the same sense: a denial is `false`."""

DEMANDS: Final[Mapping[str, Mapping[str, Gate]]] = {
    "accounts": {"automatic_clock": Gate("forceAutomaticDateAndTime", (12,))},
    "cellular": {"keep_esim_on_erase": Gate("forcePreserveESIMOnErase", (17, 2))},
    "wifi": {
        "only_these": Gate("forceWiFiToAllowedNetworksOnly", (14, 5)),
        "always_on": Gate("forceWiFiPowerOn", (13,)),
    },
    # The sense is turned round here. An allowance stays the system's own setting: false would let accessories connect
    # to locked tablets at any time.
    "usb": {"accessories_while_locked": Gate("allowUSBRestrictedMode", (11, 4, 1))},
}
"""Keys that are `true` when the policy asks for something."""

APP_ALLOWLIST: Final = Gate("allowListedAppBundleIDs", (15,))
APP_DENYLIST: Final = Gate("blockedAppBundleIDs", (15,))
UPDATE_DELAY: Final = Gate("enforcedSoftwareUpdateDelay", (11, 3), removed=(27,))
RATING: Final = Gate("ratingApps", (), supervised=False)
REGION: Final = Gate("ratingRegion", (), supervised=False)
REGIONS: Final = frozenset({"us", "au", "ca", "de", "fr", "ie", "jp", "nz", "gb"})

PROFILES: Final[Mapping[str, str]] = {"web_filter": "browser", "wifi": "wifi-rules", "passcode": "passcode-rules"}
"""Names of the profiles where the section's own name belongs to another payload."""


def compile_restrictions(effective: Sections, known: Known) -> list[Artifact]:
    """One profile for each section that says something a restriction can hold."""
    found: list[Artifact] = []
    for section in Sections.model_fields:
        part: Part | None = getattr(effective, section)
        content = {} if part is None else _switched(section, part, known)
        match section:
            case "apps":
                content |= _apps(effective, known)
            case "store":
                content |= _ratings(effective, known)
            case "updates":
                content |= _delay(effective, known)
        found += one(PROFILES.get(section, section.replace("_", "-")), RESTRICTIONS, content)
    return found


def gates() -> frozenset[Gate]:
    """Every gate of this payload."""
    tables = [*SWITCHES.values(), *DEMANDS.values()]
    rest = {APP_ALLOWLIST, APP_DENYLIST, UPDATE_DELAY, RATING, REGION}
    return frozenset({gate for table in tables for gate in table.values()} | rest)


def _switched(section: str, part: Part, known: Known) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name, gate in SWITCHES.get(section, {}).items():
        wish = getattr(part, name)
        # What is allowed needs no key to stay allowed, so only a denial can be out of reach.
        if wish is not None and hindrance(gate, known.facts) is None:
            content[gate.key] = wish is Permission.ALLOW
        elif wish is Permission.DENY:
            known.reaches(gate, pointer(section, name))
    for name, gate in DEMANDS.get(section, {}).items():
        wish = getattr(part, name)
        if (wish is True or wish is Permission.DENY) and known.reaches(gate, pointer(section, name)):
            content[gate.key] = True
    return content


def _apps(effective: Sections, known: Known) -> dict[str, Any]:
    """The allowlist without what is denied, or what is denied alone: two lists on one tablet are hard to explain."""
    apps = effective.apps
    denied = {app.bundle_id for app in (None if apps is None else apps.denylist) or () if app.bundle_id is not None}
    places = ["/apps/denylist"] if denied else []
    for service in catalogue.denied(effective.sns_mail):
        if service.bundle_ids:
            denied |= set(service.bundle_ids)
            places.append(pointer("sns_mail", service.name))
    content: dict[str, Any] = {}
    if apps is not None and apps.allowlist is not None and known.reaches(APP_ALLOWLIST, "/apps/allowlist"):
        listed = sorted({app.bundle_id for app in apps.allowlist if app.bundle_id is not None})
        allowed = [name for name in listed if name not in denied]
        if allowed:
            return {APP_ALLOWLIST.key: allowed}
        if listed:
            content[APP_ALLOWLIST.key] = listed
        else:
            known.refuse("/apps/allowlist", "no application of the list has an iPadOS name")
    reached = [known.reaches(APP_DENYLIST, place) for place in places]
    if any(reached):
        content[APP_DENYLIST.key] = sorted(denied)
    return content


def _ratings(effective: Sections, known: Known) -> dict[str, Any]:
    store = effective.store
    if store is None:
        return {}
    content: dict[str, Any] = {}
    if store.app_rating_limit is not None:
        content[RATING.key] = store.app_rating_limit
    if store.rating_region in REGIONS:
        content[REGION.key] = store.rating_region
    elif store.rating_region is not None:
        known.refuse("/store/rating_region", f"iPadOS knows only {', '.join(sorted(REGIONS))}")
    return content


def _delay(effective: Sections, known: Known) -> dict[str, Any]:
    updates = effective.updates
    if updates is None or updates.delay_days is None or not known.reaches(UPDATE_DELAY, "/updates/delay_days"):
        return {}
    return {"forceDelayedSoftwareUpdates": True, UPDATE_DELAY.key: updates.delay_days}
