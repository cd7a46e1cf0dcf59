"""Wi-Fi networks, and the certificate authorities that tablets trust.

Keys: https://github.com/apple/device-management (mdm/profiles/com.apple.wifi.managed.yaml, com.apple.security.root.yaml
and com.apple.security.pkcs1.yaml). A network names certificates by UUID inside its own profile, so it carries copies.
It holds no identities: nothing here has a private key.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from profiles.apple.envelope import payload, profile
from profiles.apple.gates import Gate, Known, hindrance
from profiles.compiled import Artifact
from profiles.policy import pointer
from profiles.sections import Authority, EapMethod, Enterprise, Permission, Sections, WifiNetwork, WifiSecurity

WIFI: Final = "com.apple.wifi.managed"
ROOT: Final = "com.apple.security.root"
INTERMEDIATE: Final = "com.apple.security.pkcs1"

NETWORK: Final = Gate("SSID_STR", (7,), supervised=False)
STRICT_WPA3: Final = Gate("EncryptionType", (16,), supervised=False)
REAL_ADDRESS: Final = Gate("DisableAssociationMACRandomization", (14,), supervised=False)
GATES: Final = frozenset({NETWORK, STRICT_WPA3, REAL_ADDRESS})

_SECURITY: Final = {
    WifiSecurity.NONE: "None",
    WifiSecurity.WEP: "WEP",
    WifiSecurity.WPA: "WPA",
    WifiSecurity.WPA2: "WPA2",
    WifiSecurity.WPA3: "WPA3",
    WifiSecurity.ANY: "Any",
}
_EAP_TYPES: Final = {EapMethod.PEAP: 25, EapMethod.TTLS: 21}


def compile_wifi(effective: Sections, known: Known) -> list[Artifact]:
    """One profile with a payload for each network, and the certificates that the networks name."""
    if effective.wifi is None or not effective.wifi.networks or not known.reaches(NETWORK, "/wifi/networks"):
        return []
    certificates = effective.certificates
    authorities = {} if certificates is None else {each.name: each for each in certificates.authorities or ()}
    trusted: dict[str, dict[str, Any]] = {}
    networks = []
    for number, network in enumerate(effective.wifi.networks):
        place = pointer("wifi", "networks", number)
        if network.enterprise is not None and network.enterprise.method not in _EAP_TYPES:
            known.refuse(f"{place}/enterprise/method", "each tablet would need a certificate of its own")
            continue
        content = _network(network, place, known)
        if network.enterprise is not None:
            anchors = _anchors(network.enterprise, authorities, f"{place}/enterprise", known)
            trusted |= anchors
            content["EAPClientConfiguration"] = _enterprise(network.enterprise, anchors)
        networks.append(payload("wifi", WIFI, content, part=f"network.{_short(network.ssid)}"))
    return [profile("wifi", [*trusted.values(), *networks])] if networks else []


def compile_certificates(effective: Sections) -> list[Artifact]:
    """One profile with every certificate authority."""
    if effective.certificates is None or not effective.certificates.authorities:
        return []
    return [profile("certificates", [_trust("certificates", each) for each in effective.certificates.authorities])]


def _network(network: WifiNetwork, place: str, known: Known) -> dict[str, Any]:
    content: dict[str, Any] = {
        NETWORK.key: network.ssid,
        "AutoJoin": network.auto_join,
        "HIDDEN_NETWORK": network.hidden,
        "EncryptionType": _SECURITY[network.security],
    }
    if network.security is WifiSecurity.WPA3 and hindrance(STRICT_WPA3, known.facts) is not None:
        known.refuse(f"{place}/security", "before iPadOS 16 any WPA network is joined")
    if network.password is not None:
        content["Password"] = network.password.get_secret_value()
    if network.captive_bypass:
        content["CaptiveBypass"] = True
    if network.random_address is Permission.DENY and known.reaches(REAL_ADDRESS, f"{place}/random_address"):
        content[REAL_ADDRESS.key] = True
    if network.proxy_server is not None:
        content |= {
            "ProxyType": "Manual",
            "ProxyServer": network.proxy_server,
            "ProxyServerPort": network.proxy_port,
        }
    return content


def _enterprise(enterprise: Enterprise, anchors: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    client: dict[str, Any] = {"AcceptEAPTypes": [_EAP_TYPES[enterprise.method]]}
    if enterprise.user is not None:
        client["UserName"] = enterprise.user
    if enterprise.password is not None:
        client["UserPassword"] = enterprise.password.get_secret_value()
    if enterprise.server_names is not None:
        client["TLSTrustedServerNames"] = list(enterprise.server_names)
    if anchors:
        client["PayloadCertificateAnchorUUID"] = [anchor["PayloadUUID"] for anchor in anchors.values()]
    return client


def _anchors(
    enterprise: Enterprise, authorities: Mapping[str, Authority], place: str, known: Known
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(enterprise.trusted or ()):
        if name in authorities:
            found[name] = _trust("wifi", authorities[name])
        else:
            known.refuse(f"{place}/trusted/{number}", "no authority of this name is under certificates.authorities")
    return found


def _trust(profile_name: str, authority: Authority) -> dict[str, Any]:
    """A self-issued certificate is a root that the tablet trusts; any other only completes chains."""
    certificate = x509.load_pem_x509_certificate(authority.pem.encode())
    kind = ROOT if certificate.issuer == certificate.subject else INTERMEDIATE
    content = {"PayloadContent": certificate.public_bytes(Encoding.DER)}
    return payload(profile_name, kind, content, part=f"authority.{_short(authority.name)}")


def _short(name: str) -> str:
    """A part's name that stays when other parts come and go."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]
