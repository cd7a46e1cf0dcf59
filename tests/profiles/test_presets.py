"""The presets: they load, they meet what the ward requires, and lessons stay open under each on both platforms."""

import json
import plistlib

import pytest

from mdm.errors import NotFound
from profiles import android, apple, catalogue, presets
from profiles.catalogue import Kind
from profiles.catalogue.reach import closes, obstacles
from profiles.files import load
from profiles.layers import merge
from profiles.lint import doubts, harms
from profiles.policy import pointer
from profiles.urls import chrome_finds, finds

LESSONS = catalogue.of_kind(Kind.LEARNING, Kind.SIGN_IN)
NEWEST = {"supervised": True, "os_version": None}

# R-items (the ward's document) to the fields that meet them, with the value that the baseline must hold.
REQUIREMENTS = {
    "R-16": {"/store/scan_apps": True},
    "R-20": {
        "/accounts/factory_reset": "deny",
        "/cellular/keep_esim_on_erase": True,
        "/cellular/esim_changes": "deny",
        "/cellular/airplane_mode": "deny",
        "/passcode/required": True,
    },
    "R-21": {
        "/web_filter/adult_filter": True,
        "/web_filter/safe_search": True,
        "/web_filter/private_browsing": "deny",
        "/vpn_proxy/vpn_changes": "deny",
        "/vpn_proxy/private_relay": "deny",
    },
    "R-22": {
        **{f"/sns_mail/{name}": "deny" for name in ("facebook", "x", "instagram", "line", "tiktok", "discord")},
        **{f"/sns_mail/{name}": "deny" for name in ("mail_app", "gmail", "outlook", "messages")},
        "/store/account_changes": "deny",
    },
    "R-23": {
        "/store/storefront": "deny",
        "/store/install_apps": "deny",
        "/store/developer_trust": "deny",
        "/store/other_marketplaces": "deny",
        "/store/web_distribution": "deny",
        "/store/manual_profiles": "deny",
    },
    "R-24": {"/usb/external_storage": "deny", "/usb/network_drives": "deny", "/usb/host_pairing": "deny"},
}


def every(name):
    """A preset alone, and on top of the baseline as a school would use it."""
    alone = presets.load(name).sections()
    return alone, merge(presets.load("giga-baseline").sections(), alone)


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_is_an_ordinary_policy_file_without_a_doubt(name):
    """It can be shown, saved, changed and applied."""
    (policy,) = load(presets.written(name))
    assert policy == presets.load(name)
    assert policy.name == name
    assert policy.description
    assert doubts(policy.sections()) == []


def test_an_unknown_preset_is_told_the_ones_there_are():
    """A typing mistake ends in a sentence."""
    with pytest.raises(NotFound, match="giga-baseline"):
        presets.load("giga")


@pytest.mark.parametrize(("requirement", "fields"), REQUIREMENTS.items(), ids=str)
def test_the_baseline_meets_the_requirement(requirement, fields):
    """Each R-item has its fields, so nobody loosens the baseline by accident."""
    body = presets.load("giga-baseline").body()
    held = {pointer(section, name): value for section in body for name, value in _fields(body[section])}
    assert {place: held.get(place) for place in fields} == fields


def _fields(section):
    return section.items() if isinstance(section, dict) else ()


@pytest.mark.parametrize("place", [place for fields in REQUIREMENTS.values() for place in fields])
def test_what_a_requirement_asks_is_done_or_owned_up_to_on_both_platforms(place):
    """A field that meets an R-item is in the support table of each compiler, with a key or with why not."""
    for compiler in (apple, android):
        assert compiler.support()[place]


@pytest.mark.parametrize("name", presets.names())
def test_lessons_and_management_stay_reachable_under_a_preset(name):
    """R-05: Microsoft 365 and its sign-in, the drill service, SKY's service, and the vendors' own hosts."""
    for sections in every(name):
        assert obstacles(sections) == []
        assert harms(sections, "mdm.example.jp") == []


@pytest.mark.parametrize("name", presets.names())
def test_compiled_for_an_ipad_lessons_stay_open(name):
    """No entry of any compiled filter is found in a needed address; every needed application is on the list."""
    for sections in every(name):
        payloads = [
            payload
            for artifact in apple.compile_policy(sections, apple.facts(**NEWEST)).artifacts
            for payload in plistlib.loads(artifact.body)["PayloadContent"]
        ]
        entries = [entry for payload in payloads for entry in payload.get("DenyListURLs", ())]
        hits = [(entry, url) for entry in entries for url in _addresses() if finds(entry, url)]
        assert hits == []
        assert not any("AllowListBookmarks" in payload for payload in payloads)
        needed = {name for service in LESSONS for name in service.bundle_ids}
        for payload in payloads:
            assert needed <= set(payload.get("allowListedAppBundleIDs", needed))
            assert not needed & set(payload.get("blockedAppBundleIDs", ()))


@pytest.mark.parametrize("name", presets.names())
def test_compiled_for_android_lessons_stay_open(name):
    """Chrome's list names no needed host; every needed application may be installed and none is blocked."""
    for sections in every(name):
        (artifact,) = android.compile_policy(sections, android.facts(**NEWEST)).artifacts
        policy = json.loads(artifact.body)
        applications = {app["packageName"]: app for app in policy.get("applications", ())}
        chrome = applications.get("com.android.chrome", {}).get("managedConfiguration", {})
        blocked = chrome.get("URLBlocklist", [])
        entries = json.loads(blocked) if isinstance(blocked, str) else blocked
        assert "*" not in entries
        assert [(entry, url) for entry in entries for url in _addresses() if chrome_finds(entry, url)] == []
        for package in {name for service in LESSONS for name in service.packages}:
            assert applications.get(package, {}).get("installType") != "BLOCKED"
            if sections.apps is not None and sections.apps.allowlist is not None:
                assert package in applications


@pytest.mark.parametrize(
    "url", ["https://www.facebook.com/", "https://x.com/home", "https://www.tiktok.com/", "https://line.me/"]
)
def test_the_baseline_closes_social_networks(url):
    """R-22, on the web as well."""
    assert closes(presets.load("giga-baseline").sections(), url) is not None


@pytest.mark.parametrize("name", ["giga-baseline", "exam-mode"])
def test_compiled_for_an_ipad_social_networks_are_closed(name):
    """R-22: the sites stand in a filter, and the applications on no allowlist and in a blocklist or on neither."""
    payloads = [
        payload
        for artifact in apple.compile_policy(presets.load(name).sections(), apple.facts(**NEWEST)).artifacts
        for payload in plistlib.loads(artifact.body)["PayloadContent"]
    ]
    entries = [entry for payload in payloads for entry in payload.get("DenyListURLs", ())]
    blocked = {app for payload in payloads for app in payload.get("blockedAppBundleIDs", ())}
    listed = [set(payload["allowListedAppBundleIDs"]) for payload in payloads if "allowListedAppBundleIDs" in payload]
    for service in catalogue.denied(presets.load(name).sns_mail):
        assert all(any(finds(entry, f"https://{domain}/") for entry in entries) for domain in service.domains)
        for app in service.bundle_ids:
            assert app in blocked or (listed and app not in listed[0])


def _addresses():
    """The needed addresses, deep ones and those of subdomains among them."""
    for service in catalogue.of_kind(Kind.LEARNING, Kind.SIGN_IN, Kind.VENDOR):
        for domain in service.domains:
            yield from (f"https://{domain}/", f"https://{domain}/a/b.html?c=d", f"https://sub.{domain}/login")
