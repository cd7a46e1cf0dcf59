"""The catalogue: every service of the schema is in it with its source, and denying one closes no lesson."""

import pytest

from profiles import catalogue
from profiles.catalogue import Kind
from profiles.catalogue.reach import closes, obstacles
from profiles.policy import Sections
from profiles.sections import MAX_ENTRIES, SERVICES
from profiles.urls import chrome_finds, finds, normal_entry

EVERYTHING_DENIED = Sections.model_validate({"sns_mail": dict.fromkeys(SERVICES, "deny")})


def test_the_schema_and_the_catalogue_name_the_same_services():
    """A switch without an entry would deny nothing, and an entry without a switch could not be denied."""
    assert {service.name for service in catalogue.of_kind(Kind.SNS, Kind.MAIL)} == set(SERVICES)


@pytest.mark.parametrize("service", catalogue.services().values(), ids=lambda service: service.name)
def test_every_entry_names_something_and_its_source(service):
    """Nothing was written from memory."""
    assert service.apps or service.domains
    assert all(len(source) > 20 for source in service.sources)
    assert [normal_entry(entry) for entry in service.entries] == list(service.entries)


def test_no_two_services_share_an_application():
    """Denying one service leaves the others alone."""
    names = [name for service in catalogue.services().values() for name in {*service.bundle_ids, *service.packages}]
    assert len(names) == len(set(names))


def test_denying_every_service_closes_nothing_that_lessons_and_management_need():
    """`t.co` stands in the middle of microsoft.com and `x.com` in netflix.com; the catalogue's entries know."""
    assert obstacles(EVERYTHING_DENIED) == []
    assert len({entry for service in catalogue.denied(EVERYTHING_DENIED.sns_mail) for entry in service.entries}) < (
        MAX_ENTRIES
    )
    assert closes(EVERYTHING_DENIED, "https://www.netflix.com/") is None


@pytest.mark.parametrize(
    "url",
    [
        "https://x.com/",
        "https://www.tiktok.com/@a",
        "https://m.youtube.com/watch?v=1",
        "https://line.me/R/",
        "https://t.co/a",
    ],
)
def test_a_denied_service_does_not_open(url):
    """The sites close too, not only the applications."""
    assert closes(EVERYTHING_DENIED, url) is not None


@pytest.mark.parametrize(
    ("sections", "place", "closed"),
    [
        ({"web_filter": {"deny_list": ["microsoftonline.com"]}}, "/web_filter/deny_list", "login.microsoftonline.com"),
        ({"web_filter": {"deny_list": ["t.co"]}}, "/web_filter/deny_list", "teams.microsoft.com"),
        ({"web_filter": {"deny_list": ["apple.com"]}}, "/web_filter/deny_list", "push.apple.com"),
        (
            {"web_filter": {"only_sites": [{"url": "https://ed-cl.com", "title": "drill"}]}},
            "/web_filter/only_sites",
            "skymenu.net",
        ),
        ({"apps": {"denylist": [{"bundle_id": "com.microsoft.skype.teams"}]}}, "/apps/denylist", "Teams"),
        ({"apps": {"removed": [{"package": "com.microsoft.teams"}]}}, "/apps/removed", "Teams"),
        ({"apps": {"allowlist": [{"bundle_id": "com.apple.Preferences"}]}}, "/apps/allowlist", "Word"),
    ],
)
def test_a_policy_that_closes_a_needed_service_is_found(sections, place, closed):
    """The pointer leads to the field that has to change."""
    found = obstacles(Sections.model_validate(sections))
    assert (place, closed) in {(obstacle.pointer, obstacle.closed) for obstacle in found}


@pytest.mark.parametrize(
    ("entry", "url", "ipados", "chrome"),
    [
        ("test.com/a", "https://test.com/apple", True, True),
        ("test.com/a/", "https://test.com/apple", False, False),
        ("test.com/a/", "https://test.com/a/b", True, True),
        ("test.com/a/", "https://test.com/a", True, False),
        ("www.test.com", "https://m.test.com/", True, False),
        ("x.com", "https://netflix.com/", True, False),
        ("https://x.com/", "https://netflix.com/", False, False),
        ("https://x.com/", "https://x.com", True, True),
        ("https://x.com/", "https://x.company.jp/", False, False),
        ("http://x.com/", "https://x.com/", False, False),
        ("test.com", "https://test.com.example.jp/", True, False),
        ("test.com", "https://a.test.com/", True, True),
    ],
)
def test_the_two_ways_of_matching_an_address(entry, url, ipados, chrome):
    """An iPad looks for text, Chrome for hosts; both ways as their vendors describe them."""
    assert (finds(entry, url), chrome_finds(entry, url)) == (ipados, chrome)
