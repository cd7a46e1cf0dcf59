"""Doubts about valid policies."""

import pytest

from profiles.lint import doubts
from profiles.policy import Sections


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
