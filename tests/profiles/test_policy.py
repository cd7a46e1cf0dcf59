"""The neutral document: what it accepts, and how it names what is wrong."""

import pytest
from pydantic import ValidationError

from mdm.errors import Invalid
from profiles.policy import Layer, LayerKind, MergeRule, Permission, Sections, pointer, read

HEAD = {"version": 1, "name": "district", "layer": "fleet"}


def wrong(**parts):
    with pytest.raises(Invalid) as refusal:
        read(HEAD | parts)
    return {error["pointer"]: error["detail"] for error in refusal.value.errors}


def test_an_absent_section_and_an_absent_field_say_nothing():
    """Only what is written appears in the stored body."""
    policy = read(HEAD | {"usb": {"external_storage": "deny"}})
    assert policy.body() == HEAD | {"usb": {"external_storage": "deny"}}
    assert policy.sections() == Sections.model_validate({"usb": {"external_storage": "deny"}})


def test_a_body_reads_back_as_the_same_policy():
    """What a revision stores is what was checked."""
    policy = read(
        HEAD
        | {
            "layer": {"class": "0101/6/1"},
            "apps": {"allowlist": [{"bundle_id": "b.b"}, {"bundle_id": "a.a", "label": "A"}]},
            "web_filter": {"deny_list": ["B.example.com", "a.example.com", "a.example.com"]},
        }
    )
    assert read(policy.body()) == policy
    assert policy.body()["web_filter"]["deny_list"] == ["a.example.com", "b.example.com"]
    assert [app["bundle_id"] for app in policy.body()["apps"]["allowlist"]] == ["a.a", "b.b"]


@pytest.mark.parametrize(
    ("parts", "place", "saying"),
    [
        ({"web_filtr": {}}, "/web_filtr", "did you mean `web_filter`?"),
        ({"usb": {"external-storage": "deny"}}, "/usb/external-storage", "did you mean `external_storage`?"),
        ({"apps": {"allowlist": [{"bundleid": "a.b"}]}}, "/apps/allowlist/0/bundleid", "did you mean `bundle_id`?"),
        ({"apps": {"allowlist": [{"label": "a"}]}}, "/apps/allowlist/0", "bundle_id, package or both"),
        ({"web_filter": {"only_sites": [{"title": "a"}]}}, "/web_filter/only_sites/0/url", "needed"),
        ({"usb": {"zzz": "deny"}}, "/usb/zzz", "the keys here are external_storage, host_pairing"),
        ({"usb": {"a/b~c": "deny"}}, "/usb/a~1b~0c", "no such key"),
        ({"usb": {"host_pairing": False}}, "/usb/host_pairing", "write allow or deny"),
        ({"usb": {"host_pairing": "denied"}}, "/usb/host_pairing", "'allow' or 'deny'"),
        ({"web_filter": {"adult_filter": "yes"}}, "/web_filter/adult_filter", "boolean"),
        ({"web_filter": {"deny_list": ["ok.example.com", "*.bad"]}}, "/web_filter/deny_list/1", "wildcards"),
        ({"web_filter": {"deny_list": [f"h{n}.example.com" for n in range(501)]}}, "/web_filter/deny_list", "500"),
        ({"apps": {"allowlist": []}}, "/apps/allowlist", "at least 1"),
        ({"version": 2, "usb": {}}, "/version", "number 1"),
        ({"name": "Ugly Name", "usb": {}}, "/name", "pattern"),
        ({"name": 12, "usb": {}}, "/name", "in quotes"),
        ({"layer": {"school": 101}, "usb": {}}, "/layer", 'in quotes: {school: "101"}'),
        ({"layer": {"class": "0101-6-1"}, "usb": {}}, "/layer", "school/grade/class"),
        ({"layer": "school", "usb": {}}, "/layer", "write fleet"),
        ({}, "", "no section"),
    ],
)
def test_an_error_names_the_field_and_the_remedy(parts, place, saying):
    """A pointer, and words a person can act on."""
    assert saying in wrong(**parts)[place]


def test_every_error_of_a_document_is_told_at_once():
    """Nobody has to correct a file ten times."""
    assert set(wrong(usb={"x": 1, "host_pairing": 3}, store={"y": "deny"})) == {
        "/usb/x",
        "/usb/host_pairing",
        "/store/y",
    }


@pytest.mark.parametrize("value", [None, 3, "text", [], [1]])
def test_a_document_that_is_no_mapping_is_an_error_and_not_a_crash(value):
    """Anything a file can hold is answered in the same way."""
    with pytest.raises(Invalid):
        read(value)


def test_every_field_of_every_section_has_a_merge_rule():
    """A new field without a rule fails here and not in front of a tablet."""
    from profiles.layers import rule_of

    for section in Sections.model_fields.values():
        (model,) = [arg for arg in section.annotation.__args__ if arg is not type(None)]
        assert all(isinstance(rule_of(field), MergeRule) for field in model.model_fields.values())


def test_a_layer_reads_from_the_command_line_form():
    """`school=CODE` is the same layer as the mapping in a file."""
    assert Layer.parse("fleet") == Layer(kind=LayerKind.FLEET)
    assert str(Layer.parse("class=0101/6/1")) == "class=0101/6/1"
    for bad in ("", "school", "town=3", "class=1", "serial="):
        with pytest.raises(ValueError, match=r".+"):
            Layer.parse(bad)


def test_documents_cannot_be_changed_after_the_check():
    """What was checked is what is compiled."""
    policy = read(HEAD | {"usb": {"host_pairing": "deny"}})
    with pytest.raises(ValidationError):
        policy.usb.host_pairing = Permission.ALLOW


def test_pointers_escape_as_rfc_6901_says():
    """`~` first, then `/`."""
    assert pointer("a/b", 0, "m~n") == "/a~1b/0/m~0n"
