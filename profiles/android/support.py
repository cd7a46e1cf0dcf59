"""What Android does with each field of the neutral document, in one sentence each: for the documentation."""

from collections.abc import Mapping
from typing import Final

from profiles.android.browser import CHROME
from profiles.android.draft import Gate
from profiles.android.passcode import BLOCK_AFTER_DAYS, RESET_AFTER_DAYS
from profiles.android.switches import LACKS, SETTINGS, Setting
from profiles.policy import pointer
from profiles.sections import SERVICES

_LINKS: Final = "deviceConnectivityManagement"
_CHROME: Final = f"managedConfiguration of {CHROME}: "

_SERVICE: Final = f"applications[] BLOCKED for its packages; its domains in URLBlocklist of {CHROME}"

_SAID: Final[Mapping[str, str]] = {
    "/apps/allowlist": "playStoreMode WHITELIST and applications[] AVAILABLE; what leaves the list is uninstalled",
    "/apps/denylist": "applications[] BLOCKED; uninstalled where found",
    "/apps/required": "applications[] FORCE_INSTALLED",
    "/apps/removed": "applications[] BLOCKED; it cannot be installed again either",
    "/apps/network_rules": "cannot: the Android Management API has no rule for mobile data of one application",
    "/apps/installs_over_lte": "applications[].installConstraint INSTALL_ONLY_ON_UNMETERED_NETWORK of required ones",
    "/apps/installs_on_battery": "applications[].installConstraint INSTALL_ONLY_WHEN_CHARGING of required ones",
    "/apps/updates": "appAutoUpdatePolicy",
    "/store/install_apps": "cannot: with apps.allowlist the store offers only that; installAppsDisabled is never used",
    "/store/remove_apps": "uninstallAppsDisabled, where no list takes applications away",
    "/store/developer_trust": "advancedSecurityOverrides.untrustedAppsPolicy DISALLOW_INSTALL",
    "/store/other_marketplaces": "advancedSecurityOverrides.untrustedAppsPolicy DISALLOW_INSTALL",
    "/store/web_distribution": "advancedSecurityOverrides.untrustedAppsPolicy DISALLOW_INSTALL",
    "/usb/host_pairing": f"{_LINKS}.usbDataAccess DISALLOW_USB_FILE_TRANSFER",
    "/usb/data": f"{_LINKS}.usbDataAccess DISALLOW_USB_DATA_TRANSFER; Android 12 or newer, older ones stop files only",
    "/usb/nfc": "deviceRadioState.nfc NFC_DISABLED; Android 15 or newer, fully managed; older: outgoingBeamDisabled",
    "/web_filter/adult_filter": _CHROME + "SafeSitesFilterBehavior",
    "/web_filter/deny_list": _CHROME + "URLBlocklist",
    "/web_filter/allow_list": _CHROME + "URLAllowlist, without what the deny list names",
    "/web_filter/only_sites": _CHROME + "URLBlocklist * with URLAllowlist; titles are not shown",
    "/web_filter/dns": f"{_LINKS}.privateDnsSettings with the host; Android 10 or newer, fully managed",
    "/web_filter/plugin": "applications[] FORCE_INSTALLED, settings as managedConfiguration, and alwaysOnVpnPackage",
    "/web_filter/safe_search": _CHROME + "ForceGoogleSafeSearch; Google's search only",
    "/web_filter/youtube": _CHROME + "ForceYouTubeRestrict; not in YouTube's application",
    "/web_filter/private_browsing": _CHROME + "IncognitoModeAvailability",
    "/web_filter/built_in_browser": f"applications[] BLOCKED for {CHROME}",
    "/web_filter/browser_choice": "defaultApplicationSettings DEFAULT_BROWSER; Android 16 or newer, fully managed",
    "/accounts/denied_types": "accountTypesWithManagementDisabled",
    "/accounts/reset_owner_emails": "frpAdminEmails",
    "/cellular/apns": f"{_LINKS}.apnPolicy, which replaces every other APN; Android 10 or newer, fully managed",
    "/cellular/keep_esim_on_erase": "nothing to set: an eSIM stays unless an order to erase says WIPE_ESIMS",
    "/wifi/networks": "openNetworkConfiguration.NetworkConfigurations[]",
    "/wifi/only_these": f"{_LINKS}.wifiSsidPolicy WIFI_SSID_ALLOWLIST; Android 13 or newer",
    "/wifi/denied_ssids": f"{_LINKS}.wifiSsidPolicy WIFI_SSID_DENYLIST; Android 13 or newer",
    "/wifi/weakest": "deviceRadioState.minimumWifiSecurityLevel; Android 13 or newer",
    "/wifi/escape_hatch": "networkEscapeHatchEnabled",
    "/vpn_proxy/proxy": "recommendedGlobalProxy; an application may ignore it",
    "/vpn_proxy/always_on": "alwaysOnVpnPackage, and applications[] FORCE_INSTALLED",
    "/passcode/required": f"passwordPolicies[]; blocks after {BLOCK_AFTER_DAYS} days, resets after {RESET_AFTER_DAYS}",
    "/passcode/simple": "passwordPolicies[].passwordQuality NUMERIC_COMPLEX",
    "/passcode/complexity": "passwordPolicies[].passwordQuality COMPLEXITY_LOW, _MEDIUM or _HIGH",
    "/passcode/minimum_length": "passwordPolicies[].passwordMinimumLength",
    "/passcode/alphanumeric": "passwordPolicies[].passwordQuality ALPHANUMERIC",
    "/passcode/complex_characters": "passwordPolicies[].passwordQuality COMPLEX with passwordMinimumSymbols",
    "/passcode/wipe_after_failures": "passwordPolicies[].maximumFailedPasswordsForWipe",
    "/passcode/lock_after_minutes": "maximumTimeToLock",
    "/passcode/maximum_age_days": "passwordPolicies[].passwordExpirationTimeout",
    "/passcode/history": "passwordPolicies[].passwordHistoryLength",
    "/updates/minimum_ipados": "nothing: it speaks of iPadOS",
    "/updates/automatic": "systemUpdate AUTOMATIC for install, POSTPONE for off; cannot download and wait",
    "/updates/delay_days": "systemUpdate POSTPONE, always 30 days",
    "/updates/window": "systemUpdate WINDOWED",
    "/updates/freezes": "systemUpdate.freezePeriods[]",
    "/screen/lock_text": "deviceOwnerLockScreenInfo, without the control number",
    "/screen/asset_tag": "deviceOwnerLockScreenInfo, as a second line, without the control number",
    "/screen/desk_phone": "filled into the texts of the lock screen",
    "/screen/support_text": "shortSupportMessage",
    "/exam/single_app": "applications[] REQUIRED_FOR_SETUP with the role KIOSK; fully managed",
    "/exam/status_bar": "kioskCustomization.statusBar",
    "/exam/navigation": "kioskCustomization.systemNavigation",
    "/exam/power_button": "kioskCustomization.powerButtonActions",
    "/exam/settings": "kioskCustomization.deviceSettings",
    "/certificates/authorities": "openNetworkConfiguration.Certificates[]; trust beyond Wi-Fi is not documented",
    "/privacy/location": "locationMode",
}


def support() -> Mapping[str, str]:
    """Say for each field, by its pointer, what Android does with it; a sentence with `cannot:` means nothing."""
    plain = {pointer(section, name): _said(each) for section, rows in SETTINGS.items() for name, each in rows.items()}
    lacking = {
        pointer(section, name): f"cannot: {why}" for section, rows in LACKS.items() for name, why in rows.items()
    }
    services = dict.fromkeys((pointer("sns_mail", name) for name in SERVICES), _SERVICE)
    return dict(sorted({**plain, **lacking, **services, **_SAID}.items()))


def _said(setting: Setting) -> str:
    value = setting.strict if isinstance(setting.strict, str) else ""
    listed = setting.strict[0] if isinstance(setting.strict, list) else value
    needs = f"; {setting.gate}" if setting.gate != Gate() else ""
    return f"{setting.path} {listed}".rstrip() + needs
