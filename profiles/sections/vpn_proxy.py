"""VPN and proxy: what the district sets, and the ways round the filter that it closes."""

from typing import Annotated, Self

from pydantic import Field, StrictBool, model_validator

from profiles.sections.base import Address, AppRef, Host, PackageName, Part, Permission, Port, SecretText, Switch, Text
from profiles.sections.merging import MergeRule


class Proxy(Part):
    """One proxy for everything, at home and in school: it must be reachable over LTE."""

    server: Host | None = None
    port: Port | None = None
    user: Text | None = None
    password: SecretText | None = None
    pac_url: Address | None = None
    """A script that chooses the proxy, instead of server and port."""
    direct_if_pac_fails: Permission | None = None
    captive_login: Permission | None = None
    """Going round the proxy to sign in to a public network."""
    excluded_hosts: Annotated[tuple[Host, ...] | None, Field(min_length=1, max_length=100)] = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.server is None) == (self.pac_url is None):
            raise ValueError("write either server and port, or pac_url")
        if (self.server is None) != (self.port is None):
            raise ValueError("write server and port together")
        return self


class AlwaysOnVpn(Part):
    """An application that carries all traffic; with lockdown and a broken application there is no network."""

    package: PackageName
    lockdown: StrictBool = False
    exempt: Annotated[tuple[AppRef, ...] | None, Field(min_length=1, max_length=100)] = None
    """Applications that pass beside it."""


class VpnProxy(Part):
    """VPN and proxy, and the ways round the filter."""

    vpn_changes: Switch = None
    """Setting up a VPN by the person who holds the tablet."""
    private_relay: Switch = None
    """The vendor's own service that hides what is opened."""
    proxy: Annotated[Proxy | None, MergeRule.REPLACE] = None
    """One proxy for everything."""
    always_on: Annotated[AlwaysOnVpn | None, MergeRule.REPLACE] = None
    """A VPN application that carries all traffic."""
