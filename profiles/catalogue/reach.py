"""What stands between a tablet and the services that lessons and management need, as far as a policy says it (R-05).

Pure. It knows the policy's lists and each platform's way of matching; what a vendor's adult filter or a name server
does nobody can say from here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from profiles.catalogue import Kind, Service, denied, of_kind
from profiles.sections import Sections, WebFilter
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
    for entry in web.deny_list or ():
        if finds(entry, url) or chrome_finds(entry, url):
            return "/web_filter/deny_list", entry
    for service in denied(sections.sns_mail):
        if hit := _first(service.entries, finds, url) or _first(service.domains, chrome_finds, url):
            return f"/sns_mail/{service.name}", hit
    if web.only_sites is not None and not any(chrome_finds(site.url, url) for site in web.only_sites):
        return "/web_filter/only_sites", "it is not among the only sites"
    return None


def _first(entries: tuple[str, ...], match: Callable[[str, str], bool], url: str) -> str | None:
    return next((entry for entry in entries if match(entry, url)), None)


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
    for needed in service.apps:
        names = {name for name in needed.key if name}
        called = needed.label or next(iter(sorted(names)))
        for field in ("denylist", "removed"):
            listed = getattr(apps, field) if apps is not None else None
            if names & {name for app in listed or () for name in app.key}:
                yield Obstacle(f"/apps/{field}", service.name, called, f"{service.title}: {called} is in the {field}")
        if apps is not None and apps.allowlist is not None:
            listed_names = {name for app in apps.allowlist for name in app.key}
            if missing := sorted(names - listed_names):
                detail = f"{service.title}: {called} is not in the allowlist ({', '.join(missing)})"
                yield Obstacle("/apps/allowlist", service.name, called, detail)
