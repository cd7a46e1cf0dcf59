"""Doubts about a policy that is valid: things its author most likely did not mean. They warn and never refuse."""

from collections.abc import Iterator
from dataclasses import dataclass

from profiles.policy import Apps, Permission, Sections, WebFilter, pointer
from profiles.urls import covers

SETTINGS_APP = "com.apple.Preferences"


@dataclass(frozen=True, slots=True)
class Doubt:
    """One warning: the pointer to the field, and a sentence."""

    pointer: str
    detail: str


def doubts(sections: Sections) -> list[Doubt]:
    """Warn about a document or an effective policy; an empty list means nothing looks odd."""
    found: list[Doubt] = []
    if sections.apps is not None:
        found += _about_apps(sections.apps)
    if sections.web_filter is not None:
        found += _about_web(sections.web_filter)
    store = sections.store
    if store is not None and store.install_apps is Permission.DENY and store.automatic_downloads is None:
        detail = "installing is denied, which stops updates by pupils too; apps that Tabane installs still update"
        found.append(Doubt("/store/install_apps", detail))
    return found


def _about_apps(apps: Apps) -> Iterator[Doubt]:
    listed = {app.bundle_id for app in apps.allowlist or ()}
    if listed and SETTINGS_APP not in listed:
        detail = f"{SETTINGS_APP} (Settings) is not listed; without it nobody can join a network on the tablet"
        yield Doubt("/apps/allowlist", detail)


def _about_web(web: WebFilter) -> Iterator[Doubt]:
    if web.allow_list and not web.adult_filter:
        yield Doubt("/web_filter/allow_list", "it holds exceptions to the adult filter, which is not on in this policy")
    if web.only_sites and (web.allow_list or web.adult_filter):
        yield Doubt("/web_filter/only_sites", "only these sites open; the adult filter and its exceptions add nothing")
    for place, site in enumerate(web.only_sites or ()):
        if hit := next((entry for entry in web.deny_list or () if covers(entry, site.url)), None):
            yield Doubt(pointer("web_filter", "only_sites", place), f"it never opens: `{hit}` is in the deny list")
    for place, entry in enumerate(web.allow_list or ()):
        if hit := next((denied for denied in web.deny_list or () if covers(denied, entry)), None):
            yield Doubt(pointer("web_filter", "allow_list", place), f"it never opens: `{hit}` is in the deny list")
    for place, entry in enumerate(web.deny_list or ()):
        host, slash, path = entry.rpartition("://")[2].partition("/")
        if slash and path and not path.endswith("/"):
            yield Doubt(
                pointer("web_filter", "deny_list", place),
                f"it also stops addresses that go on, such as {host}/{path}-and-more; end it with / to mean the folder",
            )
