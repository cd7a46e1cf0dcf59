"""What stands between a tablet and the services that lessons and management need, as far as a policy says it (R-05).

Pure. It knows the policy's lists and each platform's way of matching; what a vendor's adult filter or a name server
does nobody can say from here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

from profiles.catalogue import Kind, Service, denied, of_kind, services
from profiles.sections import AppRef, Sections, WebFilter
from profiles.urls import chrome_finds, finds

NEEDED = (Kind.LEARNING, Kind.SIGN_IN, Kind.VENDOR)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """One needed address or application that a policy closes: which, for what, and by which field."""

    pointer: str
    service: str
    closed: str
    detail: str


def obstacles(sections: Sections) -> list[Obstacle]:
    """Everything needed that these sections would close on at least one platform; empty is good."""
    found: list[Obstacle] = []
    for service in of_kind(*NEEDED):
        found += _sites(service, sections)
        if service.kind is not Kind.VENDOR:
            found += _apps(service, sections)
    return found


def closes(sections: Sections, url: str) -> tuple[str, str] | None:
    """The pointer and the entry that would stop a complete address on some platform; None when it opens."""
    web = sections.web_filter or WebFilter()
    if hit := _stopped(web.deny_list or (), url):
        return "/web_filter/deny_list", hit
    for service in denied(sections.sns_mail):
        if hit := _stopped_with(service.name, url):
            return f"/sns_mail/{service.name}", hit
    if web.only_sites is not None and not any(chrome_finds(site.url, url) for site in web.only_sites):
        return "/web_filter/only_sites", "it is not among the only sites"
    return None


def _stopped(entries: tuple[str, ...], url: str) -> str | None:
    known = _stopped_of_needed(entries)
    return known.get(url) if url in _needed() else _first(entries, url)


@lru_cache(maxsize=128)
def _stopped_of_needed(entries: tuple[str, ...]) -> Mapping[str, str]:
    """Hundreds of effective policies share a few deny lists, so each list meets the needed addresses once."""
    return {url: hit for url in _needed() if (hit := _first(entries, url))}


@cache
def _needed() -> frozenset[str]:
    return frozenset(f"https://{domain}/" for service in of_kind(*NEEDED) for domain in service.domains)


def _first(entries: tuple[str, ...], url: str) -> str | None:
    return next((entry for entry in entries if finds(entry, url) or chrome_finds(entry, url)), None)


@lru_cache(maxsize=4096)
def _stopped_with(name: str, url: str) -> str | None:
    """What of a denied service stops an address; each platform gets the form that it understands."""
    service = services()[name]
    on_ipads = (entry for entry in service.entries if finds(entry, url))
    return next(on_ipads, next((domain for domain in service.domains if chrome_finds(domain, url)), None))


def _sites(service: Service, sections: Sections) -> Iterator[Obstacle]:
    for domain in service.domains:
        if closed := closes(sections, f"https://{domain}/"):
            place, entry = closed
            # The built-in list of only sites binds browsers; push and management do not pass through them.
            if place == "/web_filter/only_sites" and service.kind is Kind.VENDOR:
                continue
            yield Obstacle(place, service.name, domain, f"{service.title}: {domain} would not open ({entry})")


def _apps(service: Service, sections: Sections) -> Iterator[Obstacle]:
    apps = sections.apps
    if apps is None or not service.apps:
        return
    denials = {"denylist": _names(apps.denylist), "removed": _names(apps.removed)}
    listed = _names(apps.allowlist)
    for needed in service.apps:
        names = _names((needed,))
        called = needed.label or min(names)
        for field, gone in denials.items():
            if names & gone:
                yield Obstacle(f"/apps/{field}", service.name, called, f"{service.title}: {called} is in the {field}")
        if apps.allowlist is not None and (missing := sorted(names - listed)):
            detail = f"{service.title}: {called} is not in the allowlist ({', '.join(missing)})"
            yield Obstacle("/apps/allowlist", service.name, called, detail)


def _names(apps: tuple[AppRef, ...] | None) -> set[str]:
    return {name for app in apps or () for name in app.key if name}
