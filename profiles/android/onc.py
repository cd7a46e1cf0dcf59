"""Wi-Fi networks and certificate authorities as Open Network Configuration, in the subset that Android takes.

https://developers.google.com/android/management/configure-networks and chromium's components/onc/docs/onc_spec.md.
"""

import re
from typing import Any, Final
from uuid import UUID, uuid5

from profiles.android.draft import Draft, Gate
from profiles.policy import pointer
from profiles.sections import Certificates, EapMethod, Enterprise, Permission, Sections, Wifi, WifiNetwork, WifiSecurity

_NAMESPACE: Final = UUID("0b7b3e0a-7c1d-5d5b-8a3e-2f6f0f6f4a51")
"""Fixed for ever: a network that keeps its name keeps its GUID, so a tablet changes it in place."""
_WEP_KEY: Final = re.compile(r"[0-9A-Fa-f]{10}|[0-9A-Fa-f]{26}")
_OUTER: Final = {EapMethod.PEAP: "PEAP", EapMethod.TTLS: "EAP-TTLS"}
_CERTIFICATE: Final = "certificate"
_NETWORK: Final = "network"


def write(effective: Sections, draft: Draft) -> None:
    """Write networks and authorities; one that Android would refuse is left out with the reason."""
    authorities = (effective.certificates or Certificates()).authorities or ()
    certificates = [
        {"GUID": _guid(_CERTIFICATE, authority.name), "Type": "Authority", "X509": authority.pem}
        for authority in authorities
    ]
    names = frozenset(authority.name for authority in authorities)
    networks = []
    for place, network in enumerate((effective.wifi or Wifi()).networks or ()):
        if (written := _network(network, names, pointer("wifi", "networks", place), draft)) is not None:
            networks.append(written)
    configuration = {"NetworkConfigurations": networks, "Certificates": certificates}
    if any(configuration.values()):
        draft.put("openNetworkConfiguration", {name: part for name, part in configuration.items() if part})
    if certificates:
        reason = "given as certificates of the network configuration; Google says nothing of trust beyond Wi-Fi"
        draft.lacks("/certificates/authorities", reason)


def _network(network: WifiNetwork, names: frozenset[str], place: str, draft: Draft) -> dict[str, Any] | None:
    wifi = _protection(network, names, place, draft)
    if wifi is None:
        return None
    wifi |= {"SSID": network.ssid, "AutoConnect": network.auto_join}
    if network.hidden:
        wifi["HiddenSSID"] = True
    if network.random_address is not None and draft.reached(f"{place}/random_address", Gate(13)):
        wifi["MACAddressRandomizationMode"] = "Hardware" if network.random_address is Permission.DENY else "Automatic"
    if network.captive_bypass:
        draft.lacks(f"{place}/captive_bypass", "the Android Management API has no setting for this")
    written: dict[str, Any] = {
        "GUID": _guid(_NETWORK, network.ssid),
        "Name": network.ssid,
        "Type": "WiFi",
        "WiFi": wifi,
    }
    if network.proxy_server is not None:
        proxy = {"Host": network.proxy_server, "Port": network.proxy_port}
        written["ProxySettings"] = {"Type": "Manual", "Manual": {"HTTPProxy": proxy, "SecureHTTPProxy": proxy}}
    return written


def _protection(network: WifiNetwork, names: frozenset[str], place: str, draft: Draft) -> dict[str, Any] | None:
    """Return the part of a network that protects it, or None when Android would not take it."""
    if network.enterprise is not None:
        return _enterprise(network.enterprise, names, place, draft)
    if network.password is None:
        if network.security in (WifiSecurity.NONE, WifiSecurity.ANY):
            return {"Security": "None"}
        draft.lacks(f"{place}/password", "left out: a protected network needs its password")
        return None
    password = network.password.get_secret_value()
    if network.security is WifiSecurity.WEP:
        if not _WEP_KEY.fullmatch(password):
            draft.lacks(f"{place}/password", "left out: Android takes a WEP key as 10 or 26 hexadecimal digits")
            return None
        return {"Security": "WEP-PSK", "Passphrase": password}
    if network.security is WifiSecurity.WPA3:
        draft.lacks(f"{place}/security", "set up as WPA2: Android takes no WPA3 password network from a policy")
    return {"Security": "WPA-PSK", "Passphrase": password}


def _enterprise(sign_in: Enterprise, names: frozenset[str], place: str, draft: Draft) -> dict[str, Any] | None:
    if sign_in.method is EapMethod.TLS:
        draft.lacks(f"{place}/enterprise", "left out: a policy holds no client certificates")
        return None
    if not sign_in.server_names:
        draft.lacks(f"{place}/enterprise/server_names", "left out: Android refuses such a network without them")
        return None
    if missing := [name for name in sign_in.trusted or () if name not in names]:
        draft.lacks(f"{place}/enterprise/trusted", f"left out: no authority is named {missing[0]}")
        return None
    eap: dict[str, Any] = {
        "Outer": _OUTER[sign_in.method],
        "Inner": "MSCHAPv2",
        "DomainSuffixMatch": list(sign_in.server_names),
    }
    if sign_in.user is not None:
        eap["Identity"] = sign_in.user
    if sign_in.password is not None:
        eap["Password"] = sign_in.password.get_secret_value()
    if sign_in.trusted:
        eap["ServerCARefs"] = [_guid(_CERTIFICATE, name) for name in sign_in.trusted]
    return {"Security": "WPA-EAP", "EAP": eap}


def _guid(kind: str, name: str) -> str:
    return str(uuid5(_NAMESPACE, f"{kind}:{name}"))
