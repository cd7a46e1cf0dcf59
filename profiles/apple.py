"""The compiler for iPadOS: a neutral policy becomes one configuration profile per section.

Keys, types, gates: https://github.com/apple/device-management (mdm/profiles/com.apple.applicationaccess.yaml and
com.apple.webcontent-filter.yaml). Pure: equal input gives equal bytes, because a changed PayloadUUID under the same
identifier makes a tablet install the profile again. It stores and sends nothing.
"""

import plistlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid5

from profiles.compiled import Artifact, Cannot, Compiled, Facts
from profiles.policy import MAX_ENTRIES, Apps, Permission, Sections, WebFilter, pointer

RESTRICTIONS: Final = "com.apple.applicationaccess"
WEB_FILTER: Final = "com.apple.webcontent-filter"
PREFIX: Final = "tabane.policy"
_NAMESPACE: Final = UUID("6f1d7f1a-3c56-5d0e-9d6b-0b6a4f7c2b11")
"""Fixed for ever: every PayloadUUID of every policy derives from it."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One key of a payload with what a tablet needs for it to work."""

    key: str
    minimum: tuple[int, ...]
    supervised: bool = True


APP_ALLOWLIST: Final = Gate("allowListedAppBundleIDs", (15,))

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
        # allowUSBRestrictedMode is left alone on purpose: false would let accessories connect while locked.
        "external_storage": Gate("allowFilesUSBDriveAccess", (13,)),
        "host_pairing": Gate("allowHostPairing", (7,)),
    },
}

# The built-in filter works on supervised tablets; an unsupervised one needs a form for managed apps only.
ADULT_FILTER: Final = Gate("AutoFilterEnabled", ())
ADULT_EXCEPTIONS: Final = Gate("PermittedURLs", ())
DENY_LIST: Final = Gate("DenyListURLs", (14, 5))
ONLY_SITES: Final = Gate("AllowListBookmarks", (14, 5))

_GATES: Final = (
    APP_ALLOWLIST,
    *(gate for switches in SWITCHES.values() for gate in switches.values()),
    *(ADULT_FILTER, ADULT_EXCEPTIONS, DENY_LIST, ONLY_SITES),
)
_TIERS: Final = tuple(sorted({gate.minimum for gate in _GATES}))


def facts(*, supervised: bool | None, os_version: str | None) -> Facts:
    """Reduce supervision and a version such as `17.5.1` to the facts that change a profile.

    Unknown counts as supervised and newest: the fleet is enrolled supervised, an older system ignores a key it does
    not know, and the first inventory corrects it.
    """
    version = _TIERS[-1] if os_version is None else _version(os_version)
    reached = [tier for tier in _TIERS if tier <= version]
    return Facts(supervised=supervised is not False, os=reached[-1])


def compile_policy(effective: Sections, facts: Facts) -> Compiled:
    """Compile the sections that are present; a section of which nothing remains gives no profile."""
    cannot: list[Cannot] = []
    payloads: dict[str, dict[str, Any]] = {}
    if effective.apps is not None:
        payloads["apps"] = _apps(effective.apps, facts, cannot)
    for section, gates in SWITCHES.items():
        if (part := getattr(effective, section)) is not None:
            wishes: dict[str, Permission] = {n: v for n in gates if (v := getattr(part, n)) is not None}
            payloads[section] = _switches(section, wishes, facts, cannot)
    if effective.web_filter is not None:
        payloads["web_filter"] = _web_filter(effective.web_filter, facts, cannot)
    artifacts = [_profile(section, content) for section, content in payloads.items() if content]
    artifacts.sort(key=lambda artifact: artifact.identifier)
    return Compiled(tuple(artifacts), tuple(sorted(cannot, key=lambda wish: wish.pointer)))


def _apps(apps: Apps, facts: Facts, cannot: list[Cannot]) -> dict[str, Any]:
    if apps.allowlist is None or not _reached(APP_ALLOWLIST, facts, "/apps/allowlist", cannot):
        return {}
    return {APP_ALLOWLIST.key: [app.bundle_id for app in apps.allowlist]}


def _switches(section: str, wishes: Mapping[str, Permission], facts: Facts, cannot: list[Cannot]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name, wish in wishes.items():
        gate = SWITCHES[section][name]
        # What is allowed needs no key to stay allowed, so only a denial can be out of reach.
        lost: list[Cannot] = []
        if _reached(gate, facts, pointer(section, name), lost):
            content[gate.key] = wish is Permission.ALLOW
        elif wish is Permission.DENY:
            cannot.extend(lost)
    return content


def _web_filter(web: WebFilter, facts: Facts, cannot: list[Cannot]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if web.adult_filter and _reached(ADULT_FILTER, facts, "/web_filter/adult_filter", cannot):
        content[ADULT_FILTER.key] = True
    if web.allow_list:
        if not web.adult_filter:
            cannot.append(Cannot("/web_filter/allow_list", "exceptions exist only while the adult filter is on"))
        elif _reached(ADULT_EXCEPTIONS, facts, "/web_filter/allow_list", cannot):
            content[ADULT_EXCEPTIONS.key] = list(web.allow_list)
    if web.deny_list and _reached(DENY_LIST, facts, "/web_filter/deny_list", cannot):
        content[DENY_LIST.key] = list(web.deny_list[:MAX_ENTRIES])
        if (excess := len(web.deny_list) - MAX_ENTRIES) > 0:
            reason = f"{excess} entries more than the {MAX_ENTRIES} a tablet takes"
            cannot.append(Cannot("/web_filter/deny_list", reason))
    if web.only_sites and _reached(ONLY_SITES, facts, "/web_filter/only_sites", cannot):
        content[ONLY_SITES.key] = [{"Title": site.title, "URL": site.url} for site in web.only_sites]
    return {"FilterType": "BuiltIn", **content} if content else {}


def _reached(gate: Gate, facts: Facts, place: str, cannot: list[Cannot]) -> bool:
    """Say whether the tablet passes a gate; if not, add why to `cannot`."""
    if gate.supervised and not facts.supervised:
        cannot.append(Cannot(place, "only a supervised tablet can do this"))
    elif facts.os < gate.minimum:
        cannot.append(Cannot(place, f"needs iPadOS {'.'.join(map(str, gate.minimum))} or newer"))
    else:
        return True
    return False


_PAYLOAD_TYPES: Final = {"apps": RESTRICTIONS, "store": RESTRICTIONS, "usb": RESTRICTIONS, "web_filter": WEB_FILTER}


def _profile(section: str, content: Mapping[str, Any]) -> Artifact:
    identifier = f"{PREFIX}.{section.replace('_', '-')}"
    payload = {
        "PayloadIdentifier": f"{identifier}.payload",
        "PayloadType": _PAYLOAD_TYPES[section],
        "PayloadVersion": 1,
        **content,
    }
    payload["PayloadUUID"] = _uuid(payload)
    profile = {
        "PayloadContent": [payload],
        "PayloadDisplayName": f"Tabane: {section.replace('_', ' ')}",
        "PayloadIdentifier": identifier,
        "PayloadRemovalDisallowed": True,
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
    }
    profile["PayloadUUID"] = _uuid(profile)
    return Artifact(identifier, plistlib.dumps(profile, fmt=plistlib.FMT_XML, sort_keys=True))


def _uuid(content: Mapping[str, Any]) -> str:
    """A name-based UUID over the content itself: it changes when, and only when, the content does."""
    written = plistlib.dumps(dict(content), fmt=plistlib.FMT_XML, sort_keys=True)
    return str(uuid5(_NAMESPACE, written.hex())).upper()


def _version(text: str) -> tuple[int, ...]:
    numbers = re.match(r"\d{1,4}(?:\.\d{1,4}){0,3}", text)
    return tuple(int(part) for part in numbers[0].split(".")) if numbers else ()
