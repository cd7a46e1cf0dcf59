"""The mobile network: access point, roaming, hotspot, plans and eSIM. A wrong access point cuts tablets off."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StrictBool

from profiles.sections.base import Demand, Host, Part, Port, SecretText, Switch, Text
from profiles.sections.merging import MergeRule


class ApnProtocol(StrEnum):
    """Which kind of address a tablet asks the network for."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"
    BOTH = "both"


class ApnLogin(StrEnum):
    """How a tablet proves itself to the access point."""

    PAP = "pap"
    CHAP = "chap"


class Apn(Part):
    """One access point of the carrier."""

    apn: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,99}$")]
    """The access point's name as the carrier writes it."""
    name: Text
    """What the tablet's settings show."""
    operator: Annotated[str | None, Field(pattern=r"^[0-9]{5,6}$")] = None
    """Country and network code of the SIM (MCC and MNC), in quotes."""
    attach: StrictBool = True
    """Whether it is also used to attach to the LTE network."""
    protocol: ApnProtocol | None = None
    """Which addresses are asked for at home."""
    roaming_protocol: ApnProtocol | None = None
    """Which addresses are asked for abroad."""
    login: ApnLogin | None = None
    """How user and password are sent."""
    user: Text | None = None
    password: SecretText | None = None
    proxy_server: Host | None = None
    proxy_port: Port | None = None
    xlat464: StrictBool | None = None
    """IPv4 over an IPv6-only network."""


class Cellular(Part):
    """The mobile network. Tablets have no other line at home: try changes on a few first."""

    apns: Annotated[tuple[Apn, ...] | None, Field(min_length=1, max_length=10), MergeRule.REPLACE] = None
    """Present: these access points instead of the SIM's own."""
    roaming: Switch = None
    """Data in other carriers' networks abroad."""
    roaming_background: Switch = None
    """Fetching in the background while roaming."""
    hotspot: Switch = None
    """Sharing the tablet's line with others."""
    hotspot_changes: Switch = None
    """Changing the hotspot's settings."""
    plan_changes: Switch = None
    """Changing the mobile plan and network settings."""
    esim_changes: Switch = None
    """Adding and removing eSIMs."""
    esim_transfers: Switch = None
    """Moving the eSIM to another device."""
    keep_esim_on_erase: Demand = None
    """The eSIM stays when a tablet is erased, so that it can still be reached."""
    app_data_changes: Switch = None
    """Choosing which applications use mobile data."""
    network_reset: Switch = None
    """Resetting all network settings."""
    airplane_mode: Switch = None
    """Switching every radio off."""
    two_g: Switch = None
    """The old second-generation network, which is easy to fake."""
    broadcast_changes: Switch = None
    """Changing the settings of emergency broadcasts."""
