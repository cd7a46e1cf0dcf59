"""Entries of the web filter's lists."""

import pytest

from profiles.urls import covers, normal_entry, normal_site


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Example.COM", "example.com"),
        ("HTTPS://Example.com/Path", "https://example.com/Path"),
        ("example.com:8080/a?b=c", "example.com:8080/a?b=c"),
        ("xn--eckwd4c7c.example/", "xn--eckwd4c7c.example/"),
    ],
)
def test_scheme_and_host_are_kept_in_lower_case_and_the_path_as_written(written, kept):
    """Two spellings of one host are one entry."""
    assert normal_entry(written) == kept


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "com",
        "a b.com",
        "ftp://example.com",
        "*.example.com",
        "user@example.com",
        "-a.com",
        "例え.jp",
        "a..com",
        "example.com/#top",
        "https://",
        "x" * 2000 + ".com",
        "example.com\n",
    ],
)
def test_what_no_address_contains_is_refused_with_a_sentence(bad):
    """A mistyped entry that silently matches nothing, or everything, is worse than an error."""
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        normal_entry(bad)


def test_a_site_needs_its_scheme():
    """A bookmark is opened as it stands."""
    with pytest.raises(ValueError, match="https://"):
        normal_site("example.com")
    assert normal_site("https://Example.com/") == "https://example.com/"


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        ("example.com", "https://www.example.com/a", True),
        ("www.example.com", "m.example.com/a", True),
        ("example.com/a", "example.com/apple", True),
        ("example.com/a/", "example.com/apple", False),
        ("https://example.com", "example.com", False),
        ("other.com", "example.com", False),
    ],
)
def test_covering_follows_the_matching_rules(wide, narrow, expected):
    """Substring, folder, and a discarded `www.` (reference: notes on URL list matching)."""
    assert covers(wide, narrow) is expected
