"""Social networks and mail: what the catalogue names for each denied service, and their sites in a filter of their own.

The applications go into the list of `restrictions`, so that a tablet has one list. It names no service itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from profiles.apple.envelope import one
from profiles.apple.gates import Known
from profiles.apple.web import WEB_FILTER, deny_list
from profiles.compiled import Artifact
from profiles.policy import pointer
from profiles.sections import SERVICES, Permission, Sections

_CATALOGUE: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {}


@dataclass(frozen=True, slots=True)
class Service:
    """A denied service as an iPad meets it."""

    name: str
    bundle_ids: tuple[str, ...]
    domains: tuple[str, ...]


def denied_services(effective: Sections) -> list[Service]:
    """The services that the policy denies, in the order of the schema."""
    sns = effective.sns_mail
    if sns is None:
        return []
    return [_service(name) for name in SERVICES if getattr(sns, name) is Permission.DENY]


def compile_services(effective: Sections, known: Known) -> list[Artifact]:
    """One filter with the sites of all denied services; a tablet lets pass what this and the other filters let pass."""
    services = denied_services(effective)
    for service in services:
        if not service.bundle_ids and not service.domains:
            known.refuse(pointer("sns_mail", service.name), "the catalogue names nothing of it for iPadOS")
    domains = sorted({domain for service in services for domain in service.domains})
    return one("sns-mail-sites", WEB_FILTER, deny_list(tuple(domains), "/sns_mail", known))


def _service(name: str) -> Service:
    bundle_ids, domains = _CATALOGUE.get(name, ((), ()))
    return Service(name, bundle_ids, domains)
