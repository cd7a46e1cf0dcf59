"""What the descriptions of the fields say in words and no schema holds: limits and fields that belong together.

A policy that breaks one is rejected by Google as a whole, or cuts tablets off. Pure; sentences as in the discovery
document of the Android Management API v1, limits gathered in the fields' descriptions.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from profiles.android.discovery import Fault
from profiles.policy import pointer

MAX_APPLICATIONS: Final = 3000
MAX_MANAGED_TEXT: Final = 65_535
MAX_MESSAGE: Final = 4096
_MESSAGES: Final = ("shortSupportMessage", "longSupportMessage", "deviceOwnerLockScreenInfo")
_APN_IDENTITY: Final = (
    *("numericOperatorId", "apn", "proxyAddress", "proxyPort", "mmsProxyAddress", "mmsProxyPort", "mmsc"),
    *("mvnoType", "protocol", "roamingProtocol"),
)
_MINUTES_A_DAY: Final = 1440
_FREEZE_DAYS: Final = 90
_APART_DAYS: Final = 60
_MONTHS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

Policy = Mapping[str, Any]


def broken(policy: Policy) -> list[Fault]:
    """Say which of the rules a policy breaks that `discovery.faults` has no fault to find in."""
    return [
        *_applications(policy.get("applications", [])),
        *_enforcement(policy.get("policyEnforcementRules", [])),
        *_connectivity(policy),
        *_updates(policy.get("systemUpdate", {})),
        *_messages(policy),
    ]


def _applications(applications: list[Policy]) -> Iterator[Fault]:
    if len(applications) > MAX_APPLICATIONS:
        yield Fault("/applications", f"at most {MAX_APPLICATIONS}")
    names = Counter(app.get("packageName") for app in applications)
    kiosks = 0
    for place, app in enumerate(applications):
        at = ("applications", place)
        if names[app.get("packageName")] != 1 or not app.get("packageName"):
            yield Fault(pointer(*at, "packageName"), "each application is named once")
        if len(app.get("installConstraint", [])) > 1:
            yield Fault(pointer(*at, "installConstraint"), "at most one")
        constrained = "installConstraint" in app or "installPriority" in app
        if constrained and app.get("installType") not in {"FORCE_INSTALLED", "PREINSTALLED"}:
            yield Fault(pointer(*at, "installType"), "only an app that installs by itself has constraints")
        roles = [role.get("roleType") for role in app.get("roles", [])]
        kiosks += roles.count("KIOSK")
        if "KIOSK" in roles and app.get("installType") not in {"REQUIRED_FOR_SETUP", "CUSTOM"}:
            yield Fault(pointer(*at, "roles"), "a kiosk app is REQUIRED_FOR_SETUP or CUSTOM")
        for key, value in app.get("managedConfiguration", {}).items():
            if isinstance(value, str) and len(value) > MAX_MANAGED_TEXT:
                yield Fault(pointer(*at, "managedConfiguration", key), f"at most {MAX_MANAGED_TEXT} characters")
    if kiosks > 1:
        yield Fault("/applications", "only one app has the KIOSK role")


def _enforcement(rules: list[Policy]) -> Iterator[Fault]:
    for place, rule in enumerate(rules):
        block, wipe = rule.get("blockAction"), rule.get("wipeAction")
        if block is None or wipe is None:
            yield Fault(pointer("policyEnforcementRules", place), "both blockAction and wipeAction are needed")
        elif not 0 <= block.get("blockAfterDays", 0) < wipe.get("wipeAfterDays", 0):
            yield Fault(pointer("policyEnforcementRules", place), "blockAfterDays is less than wipeAfterDays")


def _connectivity(policy: Policy) -> Iterator[Fault]:
    links = policy.get("deviceConnectivityManagement", {})
    at = "deviceConnectivityManagement"
    apns = links.get("apnPolicy", {}).get("apnSettings", [])
    same = Counter(tuple(apn.get(field) for field in _APN_IDENTITY) for apn in apns)
    if any(number > 1 for number in same.values()):
        yield Fault(pointer(at, "apnPolicy", "apnSettings"), "two settings conflict; Google rejects the whole policy")
    for place, apn in enumerate(apns):
        if not apn.get("apnTypes") or len(set(apn["apnTypes"])) != len(apn["apnTypes"]):
            yield Fault(pointer(at, "apnPolicy", "apnSettings", place, "apnTypes"), "at least one, each once")
    if links.get("apnPolicy", {}).get("overrideApns") == "OVERRIDE_APNS_ENABLED" and not apns:
        yield Fault(pointer(at, "apnPolicy"), "no APN at all would be left")
    dns = links.get("privateDnsSettings", {})
    if (dns.get("privateDnsMode") == "PRIVATE_DNS_SPECIFIED_HOST") != ("privateDnsHost" in dns):
        yield Fault(pointer(at, "privateDnsSettings"), "a host if, and only if, the mode says so")
    ssids = links.get("wifiSsidPolicy", {})
    if ssids.get("wifiSsidPolicyType") == "WIFI_SSID_ALLOWLIST" and not ssids.get("wifiSsids"):
        yield Fault(pointer(at, "wifiSsidPolicy"), "an empty list of allowed networks")
    networks = policy.get("openNetworkConfiguration", {}).get("NetworkConfigurations", [])
    if links.get("configureWifi") == "DISALLOW_CONFIGURING_WIFI" and not networks:
        yield Fault(pointer(at, "configureWifi"), "no Wi-Fi network at all would be left")
    proxy = policy.get("recommendedGlobalProxy", {})
    if ("pacUri" in proxy) == ("host" in proxy) and proxy:
        yield Fault("/recommendedGlobalProxy", "either pacUri or host and port")


def _updates(update: Policy) -> Iterator[Fault]:
    kind = update.get("type")
    window = [update[name] for name in ("startMinutes", "endMinutes") if name in update]
    if (kind == "WINDOWED") != (len(window) == 2) or any(not 0 <= minute < _MINUTES_A_DAY for minute in window):
        yield Fault("/systemUpdate", "a window has a start and an end between 0 and 1439, and no other type has")
    periods = update.get("freezePeriods", [])
    if periods and kind is None:
        yield Fault("/systemUpdate/type", "freeze periods need a type")
    spans = sorted((_day(period["startDate"]), _length(period)) for period in periods)
    if any(length > _FREEZE_DAYS for _, length in spans):
        yield Fault("/systemUpdate/freezePeriods", f"a freeze has at most {_FREEZE_DAYS} days")
    follow = [*spans[1:], *[(start + 365, length) for start, length in spans[:1]]]
    if any(later - (start + length) < _APART_DAYS for (start, length), (later, _) in zip(spans, follow, strict=True)):
        yield Fault("/systemUpdate/freezePeriods", f"freezes lie {_APART_DAYS} days apart")


def _messages(policy: Policy) -> Iterator[Fault]:
    for name in _MESSAGES:
        message = policy.get(name, {})
        texts = [*message.get("localizedMessages", {}).values(), message.get("defaultMessage", "")]
        if any(len(text) > MAX_MESSAGE for text in texts):
            yield Fault(pointer(name), f"at most {MAX_MESSAGE} characters")
        if message.get("localizedMessages") and not message.get("defaultMessage"):
            yield Fault(pointer(name), "localised messages need a default one")


def _day(date: Policy) -> int:
    """The day of a year without 29 February, which the periods count as the 28th."""
    month, day = int(date["month"]), int(date["day"])
    return sum(_MONTHS[: month - 1]) + min(day, _MONTHS[month - 1])


def _length(period: Policy) -> int:
    return (_day(period["endDate"]) - _day(period["startDate"])) % 365 + 1
