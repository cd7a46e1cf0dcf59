"""The difference between two states of a policy."""

from profiles.changes import Change, changes
from profiles.policy import read


def document(**sections):
    return read({"version": 1, "name": "x", "layer": "fleet", **sections})


def test_fields_lists_and_silence_are_told_apart():
    """Values change, entries come and go, absent fields were silent."""
    before = document(usb={"host_pairing": "deny"}, web_filter={"deny_list": ["a.jp", "b.jp"]})
    after = document(usb={"external_storage": "deny"}, web_filter={"deny_list": ["b.jp", "c.jp"], "adult_filter": True})
    assert changes(before, after) == [
        Change("/usb/external_storage", None, "deny"),
        Change("/usb/host_pairing", "deny", None),
        Change("/web_filter/adult_filter", None, True),
        Change("/web_filter/deny_list", added=["c.jp"], removed=["a.jp"]),
    ]


def test_equal_documents_have_no_changes_and_a_new_one_has_all():
    """Name and layer are not fields."""
    body = document(usb={"host_pairing": "deny"})
    assert changes(body, body) == []
    assert changes(None, body) == [Change("/usb/host_pairing", None, "deny")]


def test_a_new_order_of_a_list_is_a_change():
    """Bookmarks are shown in the order written."""
    a, b = {"url": "https://a.jp", "title": "a"}, {"url": "https://b.jp", "title": "b"}
    (change,) = changes(document(web_filter={"only_sites": [a, b]}), document(web_filter={"only_sites": [b, a]}))
    assert (change.before, change.after) == ([a, b], [b, a])


def test_a_new_password_is_a_change_that_shows_no_password():
    """Both sides are dots, and still the field is listed."""
    proxy = {"server": "proxy.example.jp", "port": 8080, "user": "tablet"}
    first, second = (
        document(vpn_proxy={"proxy": {**proxy, "password": password}}) for password in ("invented-1", "invented-2")
    )
    (change,) = changes(first, second)
    assert change.pointer == "/vpn_proxy/proxy"
    assert change.before == change.after == {**proxy, "password": "•••"}
