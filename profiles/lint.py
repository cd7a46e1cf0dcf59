"""What a valid policy does that its author hardly meant: doubts, which warn, and harms, which stop until overridden.

Pure. A harm is judged on what tablets would really have, after all layers; who stops for it is `plans`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mdm.platform import Platform
from profiles.catalogue import Kind, services
from profiles.catalogue.reach import closes, obstacles
from profiles.policy import pointer
from profiles.sections import AppRef, Apps, Permission, Sections, WebFilter
from profiles.urls import covers

SETTINGS_APP = "com.apple.Preferences"
ONLY_SITES = "/web_filter/only_sites"


@dataclass(frozen=True, slots=True)
class Doubt:
    """One warning: the pointer to the field, and a sentence."""

    pointer: str
    detail: str


class Code(StrEnum):
    """The harms, under the names by which they are overridden."""

    OWN_SERVER = "own-server-blocked"
    """The filter stops our own server: the tablet could not be mended any more."""
    PUSH = "push-blocked"
    """The filter stops the vendor's push service: nothing wakes the tablet."""
    SIGN_IN = "sign-in-blocked"
    """Nobody can sign in to lessons."""
    LEARNING = "learning-blocked"
    """A learning service of the district does not open (R-05)."""
    NO_SETTINGS = "allowlist-without-settings"
    """Nobody can join a network, and a tablet off the network stays so."""
    NO_REQUIRED = "allowlist-without-required-app"
    """An application is installed that cannot be opened."""
    UNINSTALLS = "uninstalls-apps"
    """Applications go, with what pupils made in them."""
    NO_CANARY = "no-canary"
    """The line itself changes on a whole layer at once, and was not seen to work on any tablet."""


@dataclass(frozen=True, slots=True)
class Harm:
    """One harm: its code, the pointer to the field, and a sentence."""

    code: Code
    pointer: str
    detail: str


_CODES = {Kind.VENDOR: Code.PUSH, Kind.SIGN_IN: Code.SIGN_IN, Kind.LEARNING: Code.LEARNING}
# The hosts of FCM on tablets: https://firebase.google.com/docs/cloud-messaging/network-configuration.
_FCM = ("mtalk.google.com", "android.apis.google.com", "firebaseinstallations.googleapis.com")
_NAME_FIELD = {"apple": "bundle_id", "android": "package"}

LINE = (
    "/cellular/apns",
    "/vpn_proxy/proxy",
    "/vpn_proxy/always_on",
    "/wifi/only_these",
    "/wifi/adding",
    "/wifi/weakest",
    "/web_filter/dns",
)
"""Fields through which a mistake leaves tablets without any network; such a change goes to a few tablets first."""


def harms(sections: Sections, own_host: str) -> list[Harm]:
    """What an effective policy would do to lessons and to our hold on the tablet; `own_host` is this server's.

    What an allowlist lacks of the learning services is no harm here: which of their applications a class uses is its
    own matter. Their sites must open, and none of their applications may be denied or removed (R-05).
    """
    found: list[Harm] = []
    if sections.apps is not None:
        found += _closed_apps(sections.apps)
    for what, code, host in (
        ("this server", Code.OWN_SERVER, own_host),
        *(("Google's push service", Code.PUSH, host) for host in _FCM),
    ):
        closed = closes(sections, f"https://{host}/")
        # Only sites bind what people open; push and management do not pass through a browser.
        if closed is not None and closed[0] != ONLY_SITES:
            found.append(Harm(code, closed[0], f"`{closed[1]}` stops {host} ({what})"))
    kinds = {name: service.kind for name, service in services().items()}
    for each in obstacles(sections):
        # An examination means to close the rest.
        meant = each.pointer == ONLY_SITES and sections.exam is not None
        if each.pointer != "/apps/allowlist" and not meant:
            found.append(Harm(_CODES[kinds[each.service]], each.pointer, each.detail))
    return found


def harms_of_change(before: Sections, after: Sections, platform: Platform) -> list[Harm]:
    """What going from one effective policy to another would do: applications lost, the line changed."""
    found = [
        Harm(Code.UNINSTALLS, place, f"{name} would be uninstalled") for place, name in _gone(before, after, platform)
    ]
    for place in LINE:
        section, name = place.removeprefix("/").split("/")
        was, now = (getattr(getattr(each, section), name, None) for each in (before, after))
        if was != now and now is not None:
            detail = "it changes the tablets' line; roll it out to a few tablets first and see them answer"
            found.append(Harm(Code.NO_CANARY, place, detail))
    return found


def _closed_apps(apps: Apps) -> Iterator[Harm]:
    listed = {app.bundle_id for app in apps.allowlist or () if app.bundle_id}
    if listed and SETTINGS_APP not in listed:
        yield Harm(Code.NO_SETTINGS, "/apps/allowlist", f"{SETTINGS_APP} (Settings) is not listed")
    packages = {app.package for app in apps.allowlist or () if app.package}
    for app in apps.required or ():
        for name, names in ((app.bundle_id, listed), (app.package, packages)):
            if name and names and name not in names:
                yield Harm(Code.NO_REQUIRED, "/apps/allowlist", f"{name} is required, and not listed")


def _gone(before: Sections, after: Sections, platform: Platform) -> Iterator[tuple[str, str]]:
    """Applications that the change uninstalls, by the platform's names."""
    was, now = before.apps or Apps(), after.apps or Apps()
    yield from (
        ("/apps/removed", name) for name in sorted(_names(now.removed, platform) - _names(was.removed, platform))
    )
    if platform is not Platform.APPLE:
        # Android's managed Play uninstalls what leaves the list of allowed applications, and what is blocked
        # (androidmanagement v1: PlayStoreMode.WHITELIST, InstallType.BLOCKED). iPadOS only hides.
        denied = _names(now.denylist, platform) - _names(was.denylist, platform)
        yield from (("/apps/denylist", name) for name in sorted(denied))
        if now.allowlist:
            left = _names(was.allowlist, platform) - _names(now.allowlist, platform)
            yield from (("/apps/allowlist", name) for name in sorted(left))


def _names(apps: Sequence[AppRef] | None, platform: Platform) -> set[str]:
    return {name for app in apps or () if (name := getattr(app, _NAME_FIELD[platform.value])) is not None}


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
