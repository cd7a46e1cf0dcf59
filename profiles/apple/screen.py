"""The lock screen's two texts, the home screen, and the one application of an examination.

Keys: https://github.com/apple/device-management (mdm/profiles/com.apple.shareddeviceconfiguration.yaml,
com.apple.homescreenlayout.yaml, com.apple.webClip.managed.yaml and com.apple.app.lock.yaml). A tablet takes one of each
except web clips. It reads no clock: a sitting that is over must not be given to it.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, Final

from profiles.apple.envelope import one, payload, profile
from profiles.apple.gates import Gate, Known
from profiles.compiled import Artifact
from profiles.policy import pointer
from profiles.sections import Exam, FolderIcon, HomeScreen, Icon, Link, Permission, Screen, Sections, filled
from profiles.sections.screen import CONTROL_NUMBER

LOCK_SCREEN: Final = "com.apple.shareddeviceconfiguration"
HOME_SCREEN: Final = "com.apple.homescreenlayout"
WEB_CLIP: Final = "com.apple.webClip.managed"
APP_LOCK: Final = "com.apple.app.lock"

LOCK_TEXT: Final = Gate("LockScreenFootnote", (9, 3, 1))
ASSET_TAG: Final = Gate("AssetTagInformation", (9, 3))
LAYOUT: Final = Gate("Pages", (9, 3))
SINGLE_APP: Final = Gate("App", (6,))
GATES: Final = frozenset({LOCK_TEXT, ASSET_TAG, LAYOUT, SINGLE_APP})


def compile_screen(effective: Sections, known: Known) -> list[Artifact]:
    """Up to three profiles: lock screen, home screen, single application."""
    found: list[Artifact] = []
    if effective.screen is not None:
        found += one("lock-screen", LOCK_SCREEN, _texts(effective.screen, known))
        if effective.screen.home is not None and known.reaches(LAYOUT, "/screen/home"):
            browser = effective.web_filter is None or effective.web_filter.built_in_browser is not Permission.DENY
            found += _home_screen(effective.screen.home, known, browser=browser)
    if effective.exam is not None:
        found += _single_app(effective.exam, known)
    return found


def _texts(screen: Screen, known: Known) -> dict[str, Any]:
    content: dict[str, Any] = {}
    wishes = {"lock_text": (LOCK_TEXT, screen.lock_text), "asset_tag": (ASSET_TAG, screen.asset_tag)}
    for name, (gate, template) in wishes.items():
        place = pointer("screen", name)
        if template is None or not known.reaches(gate, place):
            continue
        number = known.facts.control_number
        if number is None and CONTROL_NUMBER in template:
            known.refuse(place, "the tablet's control number is not known, so its place stays empty")
        if text := filled(template, control_number=number, desk_phone=screen.desk_phone):
            content[gate.key] = text
    return content


def _home_screen(home: HomeScreen, known: Known, *, browser: bool) -> list[Artifact]:
    """The layout does not create web clips, so each page that stands on it comes with it."""
    pages = [icons for page in home.pages if (icons := _icons(page))]
    content: dict[str, Any] = {LAYOUT.key: pages}
    if dock := _icons(home.dock or ()):
        content["Dock"] = dock
    if not pages and not dock:
        known.refuse("/screen/home", "no application here has an iPadOS name")
        return []
    links = {link.url: link for link in _links(home)}
    if links and not browser:
        known.refuse("/screen/home", "links do not open there while web_filter.built_in_browser is denied")
    clips = [
        payload("home-screen", WEB_CLIP, _clip(link), part=f"link.{hashlib.sha256(url.encode()).hexdigest()[:16]}")
        for url, link in sorted(links.items())
    ]
    return [profile("home-screen", [*clips, payload("home-screen", HOME_SCREEN, content)])]


def _icons(icons: tuple[Icon | FolderIcon, ...]) -> list[dict[str, Any]]:
    return [made for icon in icons if (made := _icon(icon)) is not None]


def _icon(icon: Icon | FolderIcon) -> dict[str, Any] | None:
    """One place on a page; None for an application that iPadOS has no name for, and for a folder of such."""
    if icon.link is not None:
        return {"Type": "WebClip", "URL": icon.link.url}
    if icon.app is not None:
        return None if icon.app.bundle_id is None else {"Type": "App", "BundleID": icon.app.bundle_id}
    folder = icon.folder if isinstance(icon, Icon) else None
    if folder is None:
        return None
    pages = [made for page in folder.pages if (made := _icons(page))]
    return {"Type": "Folder", "DisplayName": folder.title, "Pages": pages} if pages else None


def _links(home: HomeScreen) -> Iterator[Link]:
    for page in (home.dock or (), *home.pages):
        for icon in page:
            inside = [each for page in icon.folder.pages for each in page] if icon.folder is not None else []
            yield from (each.link for each in (icon, *inside) if each.link is not None)


def _clip(link: Link) -> dict[str, Any]:
    return {"URL": link.url, "Label": link.title, "IsRemovable": False}


def _single_app(exam: Exam, known: Known) -> list[Artifact]:
    """The profile ends by itself at the sitting's end, also on a tablet that is out of reach then."""
    sitting = exam.single_app
    if sitting is None or not known.reaches(SINGLE_APP, "/exam/single_app"):
        return []
    if sitting.app.bundle_id is None:
        known.refuse("/exam/single_app", "the application has no iPadOS name here")
        return []
    app: dict[str, Any] = {"Identifier": sitting.app.bundle_id}
    if exam.power_button is Permission.DENY:
        app["Options"] = {"DisableSleepWakeButton": True}
    made = payload("exam", APP_LOCK, {SINGLE_APP.key: app})
    return [profile("exam", [made], ends_at=sitting.ends_at)]
