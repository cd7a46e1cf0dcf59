"""What the web may show: lists, an adult filter, a DNS filter that works on LTE, and a filter application."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, IPvAnyAddress, StrictBool, StrictInt, StrictStr, model_validator

from profiles.sections.base import (
    MAX_ENTRIES,
    Address,
    BundleId,
    Demand,
    EntryList,
    Host,
    PackageName,
    Part,
    SecretText,
    Switch,
    Text,
)
from profiles.sections.merging import MergeRule, ranked
from profiles.urls import https_address


class Site(Part):
    """One of the only sites a tablet may open, with the title shown for it."""

    url: Address
    title: Text


class DnsFilter(Part):
    """A name server that filters: it works on every network, LTE included, and for every application."""

    url: Annotated[str | None, AfterValidator(https_address)] = None
    """The address for DNS over HTTPS, with https://."""
    host: Host | None = None
    """The host for DNS over TLS; Android takes only this form."""
    addresses: Annotated[tuple[IPvAnyAddress, ...] | None, Field(min_length=1, max_length=8)] = None
    """Its IP addresses, so that it is found without another name server."""
    domains: Annotated[tuple[Host, ...] | None, Field(min_length=1, max_length=MAX_ENTRIES)] = None
    """Present: only names in these domains are asked there."""
    not_on_wifi: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=32)], ...] | None, Field(min_length=1, max_length=20)
    ] = None
    """Wi-Fi names where it is not used, because the school's line has its own filter."""
    locked: StrictBool = True
    """Whether the person who holds the tablet is kept from switching it off."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.url is None and self.host is None:
            raise ValueError("write url (DNS over HTTPS), host (DNS over TLS) or both")
        return self


class PluginFilter(Part):
    """A filter vendor's application that sees what the tablet opens; the application must be installed first."""

    name: Text
    """What the tablet shows for it."""
    bundle_id: BundleId | None = None
    package: PackageName | None = None
    server: Annotated[str | None, Field(min_length=1, max_length=1024)] = None
    organization: Text | None = None
    user: Text | None = None
    password: SecretText | None = None
    settings: Annotated[dict[str, StrictBool | StrictInt | StrictStr] | None, Field(max_length=100)] = None
    """Handed to the application as it is; no secrets here, they would be shown."""
    browsers: StrictBool = True
    """Whether it filters browsers."""
    sockets: StrictBool = False
    """Whether it filters every connection of every application."""
    lockdown: StrictBool = False
    """On Android it works as a VPN: whether nothing may pass while it is down."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.bundle_id is None and self.package is None:
            raise ValueError("name the application: bundle_id, package or both")
        if not (self.browsers or self.sockets):
            raise ValueError("it would filter nothing: set browsers or sockets to true")
        return self


class YouTubeMode(StrEnum):
    """How much of YouTube is left."""

    MODERATE = "moderate"
    STRICT = "strict"


class WebFilter(Part):
    """The filter that the tablet itself carries, in school and at home (R-21)."""

    adult_filter: Demand = None
    """The system's own filter for adult pages."""
    deny_list: EntryList = None
    """Addresses that never open."""
    allow_list: EntryList = None
    """Exceptions that the adult filter would stop; it opens nothing that the deny list names."""
    only_sites: Annotated[tuple[Site, ...] | None, Field(min_length=1, max_length=MAX_ENTRIES), MergeRule.REPLACE] = (
        None
    )
    """Present: nothing else opens."""
    hide_deny_list: Demand = None
    """Do not show the denied addresses in the tablet's settings."""
    dns: Annotated[DnsFilter | None, MergeRule.REPLACE] = None
    """A filtering name server."""
    plugin: Annotated[PluginFilter | None, MergeRule.REPLACE] = None
    """A filter vendor's application."""
    safe_search: Demand = None
    """Search engines leave out adult results."""
    youtube: Annotated[YouTubeMode | None, MergeRule.STRICTEST, ranked(YouTubeMode.MODERATE, YouTubeMode.STRICT)] = None
    """YouTube's restricted mode."""
    private_browsing: Switch = None
    """Browsing that leaves no history on the tablet."""
    history_clearing: Switch = None
    """Deleting the browser's history."""
    built_in_browser: Switch = None
    """The system's own browser."""
    browser_choice: Switch = None
    """Choosing another browser as the usual one."""
