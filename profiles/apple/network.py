"""The mobile network's access points, data rules of single applications, and the proxy for everything.

Keys: https://github.com/apple/device-management (mdm/profiles/com.apple.cellular.yaml, com.apple.networkusagerules.yaml
and com.apple.proxy.http.global.yaml). A tablet takes one payload of each; the first is refused beside
com.apple.apn.managed and speaks for the preferred data SIM only. It plans no canary: a wrong access point cuts tablets
off, and the profile then stays under its identifier so that it can be removed over Wi-Fi.
"""

from collections.abc import Sequence
from typing import Any, Final

from profiles.apple.envelope import one
from profiles.apple.gates import Gate, Known
from profiles.compiled import Artifact
from profiles.policy import pointer
from profiles.sections import Apn, ApnProtocol, NetworkRule, Permission, Proxy, Sections

CELLULAR: Final = "com.apple.cellular"
USAGE_RULES: Final = "com.apple.networkusagerules"
PROXY: Final = "com.apple.proxy.http.global"

ACCESS_POINTS: Final = Gate("APNs", (7,), supervised=False)
XLAT: Final = Gate("EnableXLAT464", (16,), supervised=False)
APP_RULES: Final = Gate("ApplicationRules", (9,), supervised=False)
GLOBAL_PROXY: Final = Gate("ProxyType", (6,))
GATES: Final = frozenset({ACCESS_POINTS, XLAT, APP_RULES, GLOBAL_PROXY})

_MASKS: Final = {ApnProtocol.IPV4: 1, ApnProtocol.IPV6: 2, ApnProtocol.BOTH: 3}


def compile_network(effective: Sections, known: Known) -> list[Artifact]:
    """Up to three profiles, one for each payload that a tablet takes once."""
    found: list[Artifact] = []
    apns = None if effective.cellular is None else effective.cellular.apns
    if apns and known.reaches(ACCESS_POINTS, "/cellular/apns"):
        found += one("apn", CELLULAR, _access_points(apns, known))
    rules = None if effective.apps is None else effective.apps.network_rules
    if rules and known.reaches(APP_RULES, "/apps/network_rules"):
        found += one("network-usage", USAGE_RULES, _usage_rules(rules))
    proxy = None if effective.vpn_proxy is None else effective.vpn_proxy.proxy
    if proxy is not None and known.reaches(GLOBAL_PROXY, "/vpn_proxy/proxy"):
        found += one("proxy", PROXY, _proxy(proxy, known))
    return found


def _access_points(apns: Sequence[Apn], known: Known) -> dict[str, Any]:
    """`Name` is the access point's own name: the payload has no other key for it, and none for a title."""
    content: dict[str, Any] = {
        ACCESS_POINTS.key: [_login(apn) | _beyond_login(apn, number, known) for number, apn in enumerate(apns)]
    }
    attaching = next((apn for apn in apns if apn.attach), None)
    if attaching is not None:
        content["AttachAPN"] = _login(attaching)
    return content


def _login(apn: Apn) -> dict[str, Any]:
    content: dict[str, Any] = {"Name": apn.apn}
    if apn.login is not None:
        content["AuthenticationType"] = apn.login.value.upper()
    if apn.user is not None:
        content["Username"] = apn.user
    if apn.password is not None:
        content["Password"] = apn.password.get_secret_value()
    if apn.protocol is not None:
        content["AllowedProtocolMask"] = _MASKS[apn.protocol]
    return content


def _beyond_login(apn: Apn, number: int, known: Known) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if apn.roaming_protocol is not None:
        content["AllowedProtocolMaskInRoaming"] = _MASKS[apn.roaming_protocol]
    if apn.proxy_server is not None:
        content["ProxyServer"] = apn.proxy_server
    if apn.proxy_port is not None:
        content["ProxyPort"] = apn.proxy_port
    if apn.xlat464 and known.reaches(XLAT, pointer("cellular", "apns", number, "xlat464")):
        content[XLAT.key] = True
    return content


def _usage_rules(wishes: Sequence[NetworkRule]) -> dict[str, Any]:
    """The rules hold for applications that Tabane manages; what a pupil installed is not under them."""
    rules = []
    for rule in wishes:
        content: dict[str, Any] = {}
        if rule.cellular is not None:
            content["AllowCellularData"] = rule.cellular is Permission.ALLOW
        if rule.roaming is not None:
            content["AllowRoamingCellularData"] = rule.roaming is Permission.ALLOW
        if rule.bundle_id is not None and content:
            rules.append({"AppIdentifierMatches": [rule.bundle_id], **content})
    return {APP_RULES.key: rules} if rules else {}


def _proxy(proxy: Proxy, known: Known) -> dict[str, Any]:
    if proxy.excluded_hosts:
        known.refuse("/vpn_proxy/proxy/excluded_hosts", "iPadOS has no key for this; a script (pac_url) can choose")
    content: dict[str, Any]
    if proxy.pac_url is not None:
        content = {GLOBAL_PROXY.key: "Auto", "ProxyPACURL": proxy.pac_url}
        if proxy.direct_if_pac_fails is not None:
            content["ProxyPACFallbackAllowed"] = proxy.direct_if_pac_fails is Permission.ALLOW
    else:
        content = {GLOBAL_PROXY.key: "Manual", "ProxyServer": proxy.server, "ProxyServerPort": proxy.port}
        if proxy.user is not None:
            content["ProxyUsername"] = proxy.user
        if proxy.password is not None:
            content["ProxyPassword"] = proxy.password.get_secret_value()
    if proxy.captive_login is not None:
        content["ProxyCaptiveLoginAllowed"] = proxy.captive_login is Permission.ALLOW
    return content
