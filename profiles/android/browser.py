"""The web filter: Chrome's managed configuration, private DNS for everything, and a vendor's filter as always-on VPN.

Keys: chromium's components/policy/resources/templates/policy_definitions; filters:
https://www.chromium.org/administrators/url-blocklist-filter-format/. On Android, Chrome takes a list as text that holds
JSON, and a choice as text (chromium's generate_policy_source.py; managedConfiguration in the discovery document).
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from profiles.android.applications import PLAY
from profiles.android.draft import Draft, Gate
from profiles.android.rules import MAX_MANAGED_TEXT
from profiles.sections import DnsFilter, Permission, PluginFilter, Sections, WebFilter, YouTubeMode
from profiles.urls import chrome_finds

CHROME: Final = "com.android.chrome"
MAX_FILTERS: Final = 1000
_YOUTUBE: Final = {YouTubeMode.MODERATE: "1", YouTubeMode.STRICT: "2"}
_DNS: Final = "deviceConnectivityManagement.privateDnsSettings"
_VPN: Final = "alwaysOnVpnPackage"


def write(effective: Sections, services: Sequence[str], draft: Draft) -> None:
    """Write the web filter; `services` are the domains of the social networks that the policy denies."""
    web = effective.web_filter or WebFilter()
    if web.plugin is not None:
        _plugin(web.plugin, draft)
    dns = web.dns is not None and _dns(web.dns, draft)
    if web.built_in_browser is Permission.DENY:
        draft.install(CHROME, "BLOCKED")
        draft.lacks("/web_filter/built_in_browser", "Chrome is blocked; makers' own browsers belong in apps.denylist")
    if web.browser_choice is Permission.DENY:
        _default_browser(draft)
    chrome, places = _chrome(web, services, draft)
    if dns:
        chrome["DnsOverHttpsMode"] = "off"
    _attach(chrome, places, draft)


def _chrome(web: WebFilter, services: Sequence[str], draft: Draft) -> tuple[dict[str, object], list[str]]:
    """Return Chrome's configuration, and the pointers of the wishes it fulfils."""
    said: dict[str, object] = {}
    places: list[str] = []

    def say(field: str, key: str, value: object) -> None:
        said[key] = value
        places.append(f"/web_filter/{field}")

    denied = [*(web.deny_list or ()), *services]
    if web.only_sites:
        sites = _outside([site.url for site in web.only_sites], denied)
        # What is denied inside one of the sites is the narrower filter, and stays closed.
        say("only_sites", "URLBlocklist", _filters("/web_filter/deny_list", ["*", *denied], draft))
        say("only_sites", "URLAllowlist", _filters("/web_filter/only_sites", sites, draft))
    elif denied:
        said["URLBlocklist"] = _filters("/web_filter/deny_list", denied, draft)
        places += ["/web_filter/deny_list"] if web.deny_list else []
        places += ["/sns_mail"] if services else []
    if web.adult_filter:
        say("adult_filter", "SafeSitesFilterBehavior", "1")
    if web.allow_list and not web.adult_filter:
        draft.lacks("/web_filter/allow_list", "exceptions exist only while the adult filter is on")
    elif web.allow_list and not web.only_sites:
        # Chrome would let an exception win over the deny list; here the denial does.
        exceptions = _outside(web.allow_list, denied)
        say("allow_list", "URLAllowlist", _filters("/web_filter/allow_list", exceptions, draft))
    if web.safe_search:
        say("safe_search", "ForceGoogleSafeSearch", value=True)
    if web.youtube is not None:
        say("youtube", "ForceYouTubeRestrict", _YOUTUBE[web.youtube])
    if web.private_browsing is Permission.DENY:
        say("private_browsing", "IncognitoModeAvailability", "1")
    return said, places


def _attach(chrome: dict[str, object], places: Sequence[str], draft: Draft) -> None:
    if not chrome:
        return
    listed = CHROME in draft.applications and not draft.is_blocked(CHROME)
    if draft.is_blocked(CHROME) or (draft.policy[PLAY] == "WHITELIST" and not listed):
        for place in dict.fromkeys(places):
            draft.lacks(place, f"the filter lives in Chrome, and the policy keeps {CHROME} away")
        return
    draft.install(CHROME, "AVAILABLE")["managedConfiguration"] = chrome
    if draft.policy[PLAY] == "BLACKLIST":
        draft.lacks("/web_filter", "Chrome alone filters; only apps.allowlist or web_filter.dns holds other browsers")


def _filters(place: str, entries: Sequence[str], draft: Draft) -> str:
    """Write a list as Chrome takes it, cut to what it takes."""
    wanted = list(dict.fromkeys(map(_filter, entries)))
    kept = wanted[:MAX_FILTERS]
    while len(text := json.dumps(kept, separators=(",", ":"))) > MAX_MANAGED_TEXT:
        kept = kept[: len(kept) * MAX_MANAGED_TEXT // len(text)]
    if excess := len(wanted) - len(kept):
        draft.lacks(place, f"{excess} entries more than Chrome takes; they belong in a DNS filter")
    return text


def _filter(entry: str) -> str:
    """Turn an entry into Chrome's form, in which a host stands for its subdomains; `www.` would exclude the others."""
    scheme, mark, rest = entry.rpartition("://")
    return f"{scheme}{mark}{rest.removeprefix('www.')}"


def _outside(entries: Sequence[str], denied: Sequence[str]) -> list[str]:
    """Leave out what the deny list closes; an entry without a scheme goes when it closes either of the two."""
    by_host: defaultdict[str, list[str]] = defaultdict(list)
    for wide in map(_filter, denied):
        by_host[_host(wide)].append(wide)
    return [entry for entry in entries if not _stopped(entry, by_host)]


def _stopped(entry: str, by_host: Mapping[str, Sequence[str]]) -> bool:
    addresses = [entry] if "://" in entry else [f"https://{entry}", f"http://{entry}"]
    labels = _host(entry).split(".")
    near = [wide for place in range(len(labels)) for wide in by_host.get(".".join(labels[place:]), ())]
    return any(chrome_finds(wide, address) for wide in near for address in addresses)


def _host(entry: str) -> str:
    return entry.rpartition("://")[2].partition("/")[0].partition(":")[0]


def _default_browser(draft: Draft) -> None:
    place = "/web_filter/browser_choice"
    if draft.is_blocked(CHROME):
        draft.lacks(place, f"{CHROME} is denied, and no other is named")
    elif draft.policy[PLAY] == "WHITELIST" and CHROME not in draft.applications:
        draft.lacks(place, f"{CHROME} is not in apps.allowlist")
    elif draft.reached(place, Gate(16, managed=True)):
        draft.install(CHROME, "AVAILABLE")
        setting = {
            "defaultApplicationType": "DEFAULT_BROWSER",
            "defaultApplications": [{"packageName": CHROME}],
            "defaultApplicationScopes": ["SCOPE_FULLY_MANAGED"],
        }
        draft.put("defaultApplicationSettings", [setting])


def _dns(dns: DnsFilter, draft: Draft) -> bool:
    if dns.host is None:
        draft.lacks("/web_filter/dns", "Android takes only DNS over TLS: write its host")
        return False
    if dns.domains:
        reason = "left out: Android would ask this server for every name, not only for these domains"
        draft.lacks("/web_filter/dns/domains", reason)
        return False
    if not draft.reached("/web_filter/dns", Gate(10, managed=True)):
        return False
    draft.put(_DNS, {"privateDnsMode": "PRIVATE_DNS_SPECIFIED_HOST", "privateDnsHost": dns.host})
    if dns.not_on_wifi:
        draft.lacks("/web_filter/dns/not_on_wifi", "Android uses it on every network")
    if dns.addresses:
        draft.lacks("/web_filter/dns/addresses", "Android finds the server by its name alone")
    if not dns.locked:
        draft.lacks("/web_filter/dns/locked", "Android locks a given server always")
    return True


def _plugin(plugin: PluginFilter, draft: Draft) -> None:
    place = "/web_filter/plugin"
    if plugin.package is None:
        draft.lacks(place, "no Android package is named")
    elif draft.is_blocked(plugin.package):
        draft.lacks(place, f"{plugin.package} is denied")
    else:
        app = draft.install(plugin.package, "FORCE_INSTALLED")
        if plugin.settings:
            app["managedConfiguration"] = dict(plugin.settings)
        draft.put(_VPN, {"packageName": plugin.package, "lockdownEnabled": plugin.lockdown})
        for name in ("server", "organization", "user", "password"):
            if getattr(plugin, name) is not None:
                draft.lacks(f"{place}/{name}", "Android knows only the application's own settings")
