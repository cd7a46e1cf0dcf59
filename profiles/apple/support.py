"""What becomes of each field on an iPad, in words for the documentation; taken from the tables that the compiler uses.

It compiles nothing.
"""

from collections.abc import Mapping
from typing import Final

from profiles import catalogue
from profiles.apple import network, passcode, refusals, restrictions, screen, web, wifi
from profiles.apple.gates import Gate
from profiles.policy import pointer
from profiles.sections import SERVICES

_APN_NOTE: Final = (
    "preferred data SIM only; one payload a tablet, and none beside com.apple.apn.managed;"
    " `AttachAPN` is the first with `attach`; `operator` and `name` are Android's"
)
_MADE: Final[tuple[tuple[str, str, Gate, str], ...]] = (
    ("/apps/allowlist", restrictions.RESTRICTIONS, restrictions.APP_ALLOWLIST, "without what is denied"),
    ("/apps/denylist", restrictions.RESTRICTIONS, restrictions.APP_DENYLIST, "beside an allowlist: taken out of it"),
    ("/apps/network_rules", network.USAGE_RULES, network.APP_RULES, "managed applications only; one payload a tablet"),
    ("/store/app_rating_limit", restrictions.RESTRICTIONS, restrictions.RATING, ""),
    ("/store/rating_region", restrictions.RESTRICTIONS, restrictions.REGION, ", ".join(sorted(restrictions.REGIONS))),
    ("/web_filter/adult_filter", web.WEB_FILTER, web.ADULT_FILTER, ""),
    ("/web_filter/deny_list", web.WEB_FILTER, web.DENY_LIST, "500 entries at most"),
    ("/web_filter/allow_list", web.WEB_FILTER, web.ADULT_EXCEPTIONS, "only while the adult filter is on"),
    ("/web_filter/only_sites", web.WEB_FILTER, web.ONLY_SITES, ""),
    ("/web_filter/hide_deny_list", web.WEB_FILTER, web.HIDE_DENY_LIST, "beside a deny list"),
    ("/web_filter/dns", web.DNS, web.NAME_SERVER, "`locked` is `ProhibitDisablement` and needs supervision"),
    ("/web_filter/plugin", web.WEB_FILTER, web.PLUGIN, "the application must be installed; `lockdown` is Android's"),
    ("/cellular/apns", network.CELLULAR, network.ACCESS_POINTS, _APN_NOTE),
    ("/wifi/networks", wifi.WIFI, wifi.NETWORK, "before iPadOS 16 any WPA network; no `method: tls`"),
    ("/vpn_proxy/proxy", network.PROXY, network.GLOBAL_PROXY, "one payload a tablet; no `excluded_hosts`"),
    ("/updates/delay_days", restrictions.RESTRICTIONS, restrictions.UPDATE_DELAY, ""),
    ("/screen/lock_text", screen.LOCK_SCREEN, screen.LOCK_TEXT, "`{control_number}` gives each tablet its own profile"),
    ("/screen/asset_tag", screen.LOCK_SCREEN, screen.ASSET_TAG, "`{control_number}` gives each tablet its own profile"),
    ("/screen/home", screen.HOME_SCREEN, screen.LAYOUT, "links are web clips; one payload a tablet"),
    ("/exam/single_app", screen.APP_LOCK, screen.SINGLE_APP, "ends by `RemovalDate`; one payload a tablet"),
)  # fmt: skip

_SAID: Final[Mapping[str, str]] = {
    "/screen/desk_phone": "filled in for `{desk_phone}`",
    "/exam/power_button": "`App.Options.DisableSleepWakeButton` in com.apple.app.lock; supervised",
    "/certificates/authorities": "`PayloadContent` in com.apple.security.root, or in pkcs1 when another one issued it",
    "/passcode/required": "`forcePIN` in com.apple.mobiledevice.passwordpolicy",
    "/passcode/simple": "`allowSimple` in com.apple.mobiledevice.passwordpolicy",
    "/passcode/alphanumeric": "`requireAlphanumeric` in com.apple.mobiledevice.passwordpolicy",
}


def support() -> Mapping[str, str]:
    """For every field, by its pointer: the payload's key and gates, or `cannot: ` and why."""
    found: dict[str, str] = dict(_SAID)
    for tables in (restrictions.SWITCHES, restrictions.DEMANDS):
        for section, gates in tables.items():
            for name, gate in gates.items():
                found[pointer(section, name)] = _words(restrictions.RESTRICTIONS, gate, "")
    for place, kind, gate, note in _MADE:
        found[place] = _words(kind, gate, note)
    for name, key in passcode.NUMBERS.items():
        found[pointer("passcode", name)] = f"`{key}` in {passcode.PASSCODE}"
    for name in SERVICES:
        found[pointer("sns_mail", name)] = _of_service(catalogue.services()[name])
    found |= {place: f"cannot: {reason}" for place, reason in refusals.CANNOT.items()}
    found |= {place: f"denied by nature; cannot allow: {reason}" for place, reason in refusals.OPENED.items()}
    found |= refusals.NOT_HERE
    return dict(sorted(found.items()))


def _of_service(service: catalogue.Service) -> str:
    parts = []
    if service.bundle_ids:
        parts.append(
            _words(restrictions.RESTRICTIONS, restrictions.APP_DENYLIST, "beside an allowlist: taken out of it")
        )
    if service.entries:
        parts.append(_words(web.WEB_FILTER, web.DENY_LIST, "a filter of its own"))
    return "; and ".join(parts) or "cannot: the catalogue names nothing of it for iPadOS"


def _words(kind: str, gate: Gate, note: str) -> str:
    parts = [f"`{gate.key}` in {kind}"]
    if gate.supervised:
        parts.append("supervised")
    if gate.minimum:
        parts.append(f"iPadOS {'.'.join(map(str, gate.minimum))}")
    if gate.removed:
        parts.append(f"until iPadOS {'.'.join(map(str, gate.removed))}, which took it away")
    if note:
        parts.append(note)
    return "; ".join(parts)
