"""Wi-Fi networks, and what pupils may join. A policy that leaves only Wi-Fi can cut tablets off."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StrictBool, model_validator

from profiles.sections.base import Demand, Host, Part, Permission, Port, SecretText, Sorted, Switch, Text
from profiles.sections.merging import MergeRule, ranked


class WifiSecurity(StrEnum):
    """How a network is protected."""

    NONE = "none"
    WEP = "wep"
    WPA = "wpa"
    WPA2 = "wpa2"
    WPA3 = "wpa3"
    ANY = "any"


class EapMethod(StrEnum):
    """How a tablet proves itself to an 802.1X network."""

    PEAP = "peap"
    TTLS = "ttls"
    TLS = "tls"


class Enterprise(Part):
    """Sign-in of an 802.1X network."""

    method: EapMethod
    user: Text | None = None
    password: SecretText | None = None
    server_names: Annotated[tuple[Host, ...] | None, Field(min_length=1, max_length=20)] = None
    """The names that the network's own certificate may carry."""
    trusted: Annotated[tuple[Text, ...] | None, Field(min_length=1, max_length=20)] = None
    """Names of `certificates.authorities` that may have signed it."""


class WifiNetwork(Part):
    """One network that tablets join by themselves."""

    ssid: Annotated[str, Field(min_length=1, max_length=32)]
    security: WifiSecurity = WifiSecurity.ANY
    password: SecretText | None = None
    enterprise: Enterprise | None = None
    hidden: StrictBool = False
    auto_join: StrictBool = True
    captive_bypass: StrictBool = False
    """Do not open a sign-in page when the network shows one."""
    random_address: Permission | None = None
    """Whether a tablet may hide its hardware address from the network."""
    proxy_server: Host | None = None
    proxy_port: Port | None = None

    @property
    def key(self) -> str:
        """What makes two entries one."""
        return self.ssid

    @model_validator(mode="after")
    def _signs_in_one_way(self) -> Self:
        if self.password is not None and (self.enterprise is not None or self.security is WifiSecurity.NONE):
            raise ValueError("a password beside `enterprise` or `security: none` is never used")
        if (self.proxy_server is None) != (self.proxy_port is None):
            raise ValueError("write proxy_server and proxy_port together")
        return self


class WifiFloor(StrEnum):
    """The weakest network a tablet may join."""

    OPEN = "open"
    PERSONAL = "personal"
    ENTERPRISE = "enterprise"


class Wifi(Part):
    """Wi-Fi networks, and what may be joined; home networks stay possible unless this says otherwise."""

    networks: Annotated[tuple[WifiNetwork, ...] | None, Field(min_length=1, max_length=50), Sorted, MergeRule.UNION] = (
        None
    )
    """Networks that every tablet knows."""
    only_these: Demand = None
    """Join only `networks`: no home network, no public one."""
    denied_ssids: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=32)], ...] | None,
        Field(min_length=1, max_length=100),
        Sorted,
        MergeRule.UNION,
    ] = None
    """Networks that are never joined."""
    adding: Switch = None
    """Adding networks by the person who holds the tablet; `deny` cuts tablets off from home networks."""
    always_on: Demand = None
    """Wi-Fi cannot be switched off."""
    direct: Switch = None
    """Connections from tablet to tablet over Wi-Fi Direct."""
    weakest: Annotated[
        WifiFloor | None,
        MergeRule.STRICTEST,
        ranked(WifiFloor.OPEN, WifiFloor.PERSONAL, WifiFloor.ENTERPRISE),
    ] = None
    """The weakest protection a joined network may have."""
    escape_hatch: Annotated[StrictBool | None, MergeRule.REPLACE] = None
    """Offer a temporary network when a tablet starts without any, so that it can fetch a mended policy."""
