"""Cables, radios and networks: USB data, NFC, access points, rules for Wi-Fi, VPN and proxy; the networks: `onc`.

Traps: override APNs replace every other one, so a wrong entry leaves no network; DISALLOW_CONFIGURING_WIFI would forget
home networks and is never used; a VPN with lockdown that does not work leaves no network either.
"""

from typing import Any, Final

from profiles.android.draft import Draft, Gate
from profiles.android.rules import broken
from profiles.sections import (
    AlwaysOnVpn,
    Apn,
    ApnLogin,
    ApnProtocol,
    Cellular,
    Permission,
    Proxy,
    Sections,
    Usb,
    VpnProxy,
    Wifi,
    WifiFloor,
)

_LINKS: Final = "deviceConnectivityManagement"
_PROTOCOLS: Final = {ApnProtocol.IPV4: "IP", ApnProtocol.IPV6: "IPV6", ApnProtocol.BOTH: "IPV4V6"}
_LOGINS: Final = {ApnLogin.PAP: "PAP", ApnLogin.CHAP: "CHAP"}
_FLOORS: Final = {
    WifiFloor.PERSONAL: "PERSONAL_NETWORK_SECURITY",
    WifiFloor.ENTERPRISE: "ENTERPRISE_NETWORK_SECURITY",
}
_VPN: Final = "alwaysOnVpnPackage"


def write(effective: Sections, draft: Draft) -> None:
    """Write what the sections usb, cellular, wifi and vpn_proxy say beyond plain switches."""
    if effective.usb is not None:
        _usb(effective.usb, draft)
    if effective.cellular is not None:
        _cellular(effective.cellular, draft)
    if effective.wifi is not None:
        _wifi(effective.wifi, draft)
    if effective.vpn_proxy is not None:
        _vpn_proxy(effective.vpn_proxy, draft)


def _usb(usb: Usb, draft: Draft) -> None:
    if usb.data is Permission.DENY and draft.reached("/usb/data", Gate(12)):
        draft.put(f"{_LINKS}.usbDataAccess", "DISALLOW_USB_DATA_TRANSFER")
    elif Permission.DENY in (usb.data, usb.host_pairing):
        draft.put(f"{_LINKS}.usbDataAccess", "DISALLOW_USB_FILE_TRANSFER")
    elif usb.data is Permission.ALLOW:
        draft.put(f"{_LINKS}.usbDataAccess", "ALLOW_USB_DATA_TRANSFER")
    if usb.nfc is Permission.DENY:
        draft.put("outgoingBeamDisabled", value=True)
        if draft.reached("/usb/nfc", Gate(15, managed=True)):
            draft.put("deviceRadioState.nfc", "NFC_DISABLED")


def _cellular(cellular: Cellular, draft: Draft) -> None:
    place = "/cellular/apns"
    if not cellular.apns or not draft.reached(place, Gate(10, managed=True)):
        return
    apns = {"overrideApns": "OVERRIDE_APNS_ENABLED", "apnSettings": [_apn(apn) for apn in cellular.apns]}
    if faults := broken({_LINKS: {"apnPolicy": apns}}):
        draft.lacks(place, f"left out: {faults[0].detail}")
        return
    draft.put(f"{_LINKS}.apnPolicy", apns)
    if any(apn.xlat464 is not None for apn in cellular.apns):
        draft.lacks(f"{place}/xlat464", "the Android Management API has no setting for this")


def _apn(apn: Apn) -> dict[str, Any]:
    setting = {
        "displayName": apn.name,
        "apn": apn.apn,
        "apnTypes": ["DEFAULT", "IA"] if apn.attach else ["DEFAULT"],
        "numericOperatorId": apn.operator,
        "protocol": apn.protocol and _PROTOCOLS[apn.protocol],
        "roamingProtocol": apn.roaming_protocol and _PROTOCOLS[apn.roaming_protocol],
        "authType": apn.login and _LOGINS[apn.login],
        "username": apn.user,
        "password": apn.password and apn.password.get_secret_value(),
        "proxyAddress": apn.proxy_server,
        "proxyPort": apn.proxy_port,
    }
    return {name: value for name, value in setting.items() if value is not None}


def _wifi(wifi: Wifi, draft: Draft) -> None:
    known = [network.ssid for network in wifi.networks or () if network.ssid not in (wifi.denied_ssids or ())]
    if wifi.only_these and not known:
        draft.lacks("/wifi/only_these", "left out: it would leave no Wi-Fi network at all")
    elif wifi.only_these:
        _ssids("/wifi/only_these", "WIFI_SSID_ALLOWLIST", known, draft)
    elif wifi.denied_ssids:
        _ssids("/wifi/denied_ssids", "WIFI_SSID_DENYLIST", list(wifi.denied_ssids), draft)
    if wifi.weakest in _FLOORS and draft.reached("/wifi/weakest", Gate(13)):
        draft.put("deviceRadioState.minimumWifiSecurityLevel", _FLOORS[wifi.weakest])
    if wifi.escape_hatch is not None:
        draft.put("networkEscapeHatchEnabled", wifi.escape_hatch)


def _ssids(place: str, kind: str, ssids: list[str], draft: Draft) -> None:
    if draft.reached(place, Gate(13)):
        listed = [{"wifiSsid": ssid} for ssid in sorted(set(ssids))]
        draft.put(f"{_LINKS}.wifiSsidPolicy", {"wifiSsidPolicyType": kind, "wifiSsids": listed})


def _vpn_proxy(section: VpnProxy, draft: Draft) -> None:
    if section.proxy is not None:
        _proxy(section.proxy, draft)
    if section.always_on is not None:
        _always_on(section.always_on, draft)


def _proxy(proxy: Proxy, draft: Draft) -> None:
    place = "/vpn_proxy/proxy"
    written: dict[str, object] = {"pacUri": proxy.pac_url} if proxy.pac_url else {}
    if proxy.server is not None:
        written = {"host": proxy.server, "port": proxy.port}
        if proxy.excluded_hosts:
            written["excludedHosts"] = list(proxy.excluded_hosts)
    elif proxy.excluded_hosts:
        draft.lacks(f"{place}/excluded_hosts", "beside pac_url the script itself decides that")
    draft.put("recommendedGlobalProxy", written)
    draft.lacks(place, "a recommendation only: Android lets an application ignore the proxy")
    for name in ("user", "password", "direct_if_pac_fails", "captive_login"):
        if getattr(proxy, name) is not None:
            draft.lacks(f"{place}/{name}", "the Android Management API has no setting for this")


def _always_on(vpn: AlwaysOnVpn, draft: Draft) -> None:
    place = "/vpn_proxy/always_on"
    if draft.is_blocked(vpn.package):
        draft.lacks(place, f"{vpn.package} is denied")
        return
    other = draft.policy.get(_VPN, {}).get("packageName", vpn.package)
    if other != vpn.package:
        # One VPN at a time; the one that was asked for by this name is the one that stays.
        draft.lacks("/web_filter/plugin", f"a tablet has one always-on VPN, and {place[1:]} names {vpn.package}")
    draft.install(vpn.package, "FORCE_INSTALLED")
    draft.put(_VPN, {"packageName": vpn.package, "lockdownEnabled": vpn.lockdown})
    exempt = [app.package for app in vpn.exempt or () if app.package is not None]
    if len(exempt) < len(vpn.exempt or ()):
        draft.lacks(f"{place}/exempt", "no Android package is named for some of them")
    if exempt and vpn.lockdown and draft.reached(f"{place}/exempt", Gate(10)):
        for package in exempt:
            # Naming an application must not make it available, so only those that are there anyway are exempt.
            if package in draft.applications and not draft.is_blocked(package):
                draft.applications[package]["alwaysOnVpnLockdownExemption"] = "VPN_LOCKDOWN_EXEMPTION"
            else:
                draft.lacks(f"{place}/exempt", f"{package} is in no list of the policy")
