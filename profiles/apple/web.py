"""What the web may show: the built-in filter, a vendor's filter application and a filtering name server.

Keys: https://github.com/apple/device-management (mdm/profiles/com.apple.webcontent-filter.yaml and
com.apple.dnsSettings.managed.yaml). A tablet lets pass what all installed filters let pass. It knows no services.
"""

from typing import Any, Final

from profiles.apple.envelope import one
from profiles.apple.gates import Gate, Known
from profiles.compiled import Artifact
from profiles.policy import pointer
from profiles.sections import MAX_ENTRIES, DnsFilter, PluginFilter, Sections, WebFilter

WEB_FILTER: Final = "com.apple.webcontent-filter"
DNS: Final = "com.apple.dnsSettings.managed"

# The built-in filter works on supervised tablets; an unsupervised one needs a form for managed apps only.
ADULT_FILTER: Final = Gate("AutoFilterEnabled", ())
ADULT_EXCEPTIONS: Final = Gate("PermittedURLs", ())
DENY_LIST: Final = Gate("DenyListURLs", (14, 5))
HIDE_DENY_LIST: Final = Gate("HideDenyListURLs", (18,))
ONLY_SITES: Final = Gate("AllowListBookmarks", (14, 5))
PLUGIN: Final = Gate("PluginBundleID", (8,))
NAME_SERVER: Final = Gate("DNSSettings", (14,), supervised=False)
DNS_LOCK: Final = Gate("ProhibitDisablement", (14,))
GATES: Final = frozenset(
    {ADULT_FILTER, ADULT_EXCEPTIONS, DENY_LIST, HIDE_DENY_LIST, ONLY_SITES, PLUGIN, NAME_SERVER, DNS_LOCK}
)

_INTEGERS: Final = range(-(1 << 63), 1 << 63)


def compile_web(effective: Sections, known: Known) -> list[Artifact]:
    """Up to three profiles: built-in filter, filter application, name server."""
    web = effective.web_filter
    if web is None:
        return []
    found = one("web-filter", WEB_FILTER, _built_in(web, known))
    if web.plugin is not None:
        found += one("web-filter-plugin", WEB_FILTER, _plugin(web.plugin, known))
    if web.dns is not None and known.reaches(NAME_SERVER, "/web_filter/dns"):
        found += one("dns", DNS, _name_server(web.dns, known))
    return found


def deny_list(entries: tuple[str, ...], place: str, known: Known) -> dict[str, Any]:
    """A built-in filter that only denies; entries over the ceiling are cut and counted."""
    if not entries or not known.reaches(DENY_LIST, place):
        return {}
    if (excess := len(entries) - MAX_ENTRIES) > 0:
        known.refuse(place, f"{excess} entries more than the {MAX_ENTRIES} a tablet takes")
    return {"FilterType": "BuiltIn", DENY_LIST.key: list(entries[:MAX_ENTRIES])}


def _built_in(web: WebFilter, known: Known) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if web.adult_filter and known.reaches(ADULT_FILTER, "/web_filter/adult_filter"):
        content[ADULT_FILTER.key] = True
    if web.allow_list:
        if not web.adult_filter:
            known.refuse("/web_filter/allow_list", "exceptions exist only while the adult filter is on")
        elif known.reaches(ADULT_EXCEPTIONS, "/web_filter/allow_list"):
            content[ADULT_EXCEPTIONS.key] = list(web.allow_list)
    denied = deny_list(web.deny_list or (), "/web_filter/deny_list", known)
    content |= denied
    if denied and web.hide_deny_list and known.reaches(HIDE_DENY_LIST, "/web_filter/hide_deny_list"):
        content[HIDE_DENY_LIST.key] = True
    if web.only_sites and known.reaches(ONLY_SITES, "/web_filter/only_sites"):
        content[ONLY_SITES.key] = [{"Title": site.title, "URL": site.url} for site in web.only_sites]
    return {"FilterType": "BuiltIn", **content} if content else {}


def _plugin(plugin: PluginFilter, known: Known) -> dict[str, Any]:
    place = "/web_filter/plugin"
    if plugin.bundle_id is None:
        known.refuse(place, "the filter application has no iPadOS name here")
        return {}
    if not known.reaches(PLUGIN, place):
        return {}
    content: dict[str, Any] = {
        "FilterType": "Plugin",
        PLUGIN.key: plugin.bundle_id,
        "UserDefinedName": plugin.name,
        "FilterBrowsers": plugin.browsers,
        "FilterSockets": plugin.sockets,
    }
    texts = {"ServerAddress": plugin.server, "Organization": plugin.organization, "UserName": plugin.user}
    content |= {key: value for key, value in texts.items() if value is not None}
    if plugin.password is not None:
        content["Password"] = plugin.password.get_secret_value()
    vendor: dict[str, Any] = {}
    for name, value in (plugin.settings or {}).items():
        if isinstance(value, int) and value not in _INTEGERS:
            known.refuse(pointer("web_filter", "plugin", "settings", name), "a profile holds integers of 64 bits")
        else:
            vendor[name] = value
    return content | ({"VendorConfig": vendor} if vendor else {})


def _name_server(dns: DnsFilter, known: Known) -> dict[str, Any]:
    """DNS over HTTPS where both forms are given: it passes networks that close the port of DNS over TLS."""
    settings: dict[str, Any] = (
        {"DNSProtocol": "HTTPS", "ServerURL": dns.url}
        if dns.url is not None
        else {"DNSProtocol": "TLS", "ServerName": dns.host}
    )
    if dns.addresses is not None:
        settings["ServerAddresses"] = [str(address) for address in dns.addresses]
    if dns.domains is not None:
        settings["SupplementalMatchDomains"] = list(dns.domains)
    content: dict[str, Any] = {NAME_SERVER.key: settings}
    if dns.not_on_wifi is not None:
        # The first rule that matches decides; the last one catches LTE and every other network.
        content["OnDemandRules"] = [
            {"Action": "Disconnect", "InterfaceTypeMatch": "WiFi", "SSIDMatch": list(dns.not_on_wifi)},
            {"Action": "Connect"},
        ]
    if dns.locked and known.reaches(DNS_LOCK, "/web_filter/dns/locked"):
        content[DNS_LOCK.key] = True
    return content
