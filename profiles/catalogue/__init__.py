"""The catalogue: what services are called on each platform, under which addresses they live, and where that was found.

Data stands in the YAML files beside this; nothing here decides what is denied.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from importlib.resources import files as resources
from typing import Annotated, Final

from pydantic import Field

from profiles.files import parse
from profiles.sections import SERVICES, AppRef, Part, Permission, SnsMail
from profiles.sections.base import Host

FILES: Final = ("sns.yaml", "mail.yaml", "learning.yaml", "vendors.yaml")
_SHORT: Final = 8
"""Domains up to this length are found inside too many others: `t.co` in microsoft.com, `x.com` in netflix.com."""


class Kind(StrEnum):
    """What a service is to a school."""

    SNS = "sns"
    MAIL = "mail"
    LEARNING = "learning"
    SIGN_IN = "sign_in"
    VENDOR = "vendor"


class Service(Part):
    """One service: its applications, its domains (each with all below it), and the sources of both."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: str
    kind: Kind
    apps: tuple[AppRef, ...] = ()
    domains: tuple[Host, ...] = ()
    sources: Annotated[tuple[str, ...], Field(min_length=1)]
    left_out: str | None = None
    """What could not be found, in words for the administrator."""

    @property
    def bundle_ids(self) -> tuple[str, ...]:
        """Its applications on iPadOS, in order."""
        return tuple(sorted({app.bundle_id for app in self.apps if app.bundle_id}))

    @property
    def packages(self) -> tuple[str, ...]:
        """Its applications on Android, in order."""
        return tuple(sorted({app.package for app in self.apps if app.package}))

    @property
    def entries(self) -> tuple[str, ...]:
        """Its domains as entries of a filter that looks for text anywhere in an address (iPadOS).

        A short domain is written as whole addresses, because it is found inside others: there its subdomains stay open.
        """
        return tuple(sorted(entry for domain in self.domains for entry in _entries(domain)))


@cache
def services() -> Mapping[str, Service]:
    """Every service by its name."""
    found: dict[str, Service] = {}
    for name in FILES:
        (documents,), _ = parse(resources(__name__).joinpath(name).read_text(encoding="utf-8"))
        for written in documents:
            service = Service.model_validate(written)
            if service.name in found:
                raise ValueError(f"two services of the catalogue are named {service.name}")
            found[service.name] = service
    return found


def of_kind(*kinds: Kind) -> tuple[Service, ...]:
    """The services of these kinds, in the catalogue's order."""
    return tuple(service for service in services().values() if service.kind in kinds)


def denied(section: SnsMail | None) -> tuple[Service, ...]:
    """The services that a policy denies, in the order of the schema."""
    if section is None:
        return ()
    return tuple(services()[name] for name in SERVICES if getattr(section, name) is Permission.DENY)


def _entries(domain: str) -> tuple[str, ...]:
    return (f"http://{domain}/", f"https://{domain}/") if len(domain) <= _SHORT else (domain,)
