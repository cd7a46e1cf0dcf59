"""Doubts about valid policies."""

import pytest

from mdm.platform import Platform
from profiles import presets
from profiles.lint import Code, doubts, harms, harms_of_change
from profiles.sections import Sections


@pytest.mark.parametrize(
    ("sections", "place"),
    [
        ({"apps": {"allowlist": [{"bundle_id": "a.a"}]}}, "/apps/allowlist"),
        ({"web_filter": {"allow_list": ["a.jp"]}}, "/web_filter/allow_list"),
        (
            {"web_filter": {"adult_filter": True, "allow_list": ["a.jp"], "deny_list": ["a.jp"]}},
            "/web_filter/allow_list/0",
        ),
        ({"web_filter": {"deny_list": ["a.jp/b"]}}, "/web_filter/deny_list/0"),
        (
            {"web_filter": {"deny_list": ["a.jp"], "only_sites": [{"url": "https://a.jp/", "title": "a"}]}},
            "/web_filter/only_sites/0",
        ),
        ({"store": {"install_apps": "deny"}}, "/store/install_apps"),
    ],
)
def test_what_the_author_hardly_meant_is_warned_of(sections, place):
    """A warning points at the field and refuses nothing."""
    assert [doubt.pointer for doubt in doubts(Sections.model_validate(sections))] == [place]


def test_a_plain_policy_raises_no_doubt():
    """Warnings that always appear are read by nobody."""
    assert doubts(Sections.model_validate({"usb": {"external_storage": "deny"}})) == []


OURS = "mdm.example.jp"
SETTINGS = {"bundle_id": "com.apple.Preferences"}


def codes(**sections):
    return {harm.code for harm in harms(Sections.model_validate(sections), OURS)}


@pytest.mark.parametrize(
    ("sections", "code"),
    [
        ({"web_filter": {"deny_list": ["example.jp"]}}, Code.OWN_SERVER),
        ({"web_filter": {"deny_list": ["push.apple.com"]}}, Code.PUSH),
        ({"web_filter": {"deny_list": ["mtalk.google.com"]}}, Code.PUSH),
        ({"web_filter": {"deny_list": ["microsoftonline.com"]}}, Code.SIGN_IN),
        ({"web_filter": {"deny_list": ["teams.microsoft.com"]}}, Code.LEARNING),
        ({"web_filter": {"only_sites": [{"url": "https://a.jp", "title": "a"}]}}, Code.LEARNING),
        ({"apps": {"removed": [{"package": "com.microsoft.teams"}]}}, Code.LEARNING),
        ({"apps": {"allowlist": [{"bundle_id": "jp.example.drill"}]}}, Code.NO_SETTINGS),
        (
            {"apps": {"allowlist": [SETTINGS], "required": [{"bundle_id": "jp.example.drill"}]}},
            Code.NO_REQUIRED,
        ),
    ],
)
def test_what_cuts_tablets_off_or_stops_lessons_is_a_harm(sections, code):
    """Each is one line in a file that looks harmless."""
    assert code in codes(**sections)


@pytest.mark.parametrize(
    "sections",
    [
        {"usb": {"external_storage": "deny"}},
        {"web_filter": {"deny_list": ["social.example.com"]}},
        {"apps": {"allowlist": [SETTINGS, {"bundle_id": "a.a"}], "required": [{"bundle_id": "a.a"}]}},
        {
            "web_filter": {"only_sites": [{"url": "https://exam.example.jp", "title": "exam"}]},
            "exam": {"single_app": {"app": {"bundle_id": "a.a"}, "ends_at": "2026-12-01T09:00:00+09:00"}},
        },
    ],
)
def test_a_plain_policy_and_an_examination_do_no_harm(sections):
    """A gate that always closes is always overridden."""
    assert codes(**sections) == set()


@pytest.mark.parametrize("name", presets.names())
def test_no_preset_does_harm(name):
    """What we offer passes our own gate."""
    assert harms(presets.load(name).sections(), OURS) == []


def changed(before, after, platform=Platform.APPLE):
    harms_found = harms_of_change(Sections.model_validate(before), Sections.model_validate(after), platform)
    return [(harm.code, harm.pointer) for harm in harms_found]


def test_uninstalling_is_a_harm_where_the_platform_uninstalls():
    """IPadOS hides what leaves the list; Android's store takes it away."""
    app = {"bundle_id": "jp.example.drill", "package": "jp.example.drill"}
    other = {"bundle_id": "b.b", "package": "b.b"}
    gone = [(Code.UNINSTALLS, "/apps/removed")]
    assert changed({}, {"apps": {"removed": [app]}}) == gone
    assert changed({"apps": {"removed": [app]}}, {"apps": {"removed": [app]}}) == []
    narrower = ({"apps": {"allowlist": [app, other]}}, {"apps": {"allowlist": [other]}})
    assert changed(*narrower) == []
    assert changed(*narrower, Platform.ANDROID) == [(Code.UNINSTALLS, "/apps/allowlist")]


@pytest.mark.parametrize(
    "after",
    [
        {"cellular": {"apns": [{"apn": "school.example.jp", "name": "school"}]}},
        {"vpn_proxy": {"proxy": {"server": "proxy.example.jp", "port": 8080}}},
        {"wifi": {"only_these": True}},
    ],
)
def test_a_change_of_the_line_wants_a_canary(after):
    """A wrong access point reaches every tablet, and then nothing reaches them."""
    assert [code for code, _ in changed({}, after)] == [Code.NO_CANARY]
    assert changed(after, after) == []
