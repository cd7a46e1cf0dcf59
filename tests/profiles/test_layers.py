"""The merge: its laws, and who decided what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.errors import Invalid
from profiles.layers import Said, check_sizes, effective, merge
from profiles.policy import Layer
from profiles.sections import Permission, Sections, Store, Usb

SWITCH = st.sampled_from([None, Permission.ALLOW, Permission.DENY])
HOSTS = st.lists(st.sampled_from([f"h{n}.example.com" for n in range(6)]), max_size=4)
APP = st.fixed_dictionaries(
    {"bundle_id": st.sampled_from(["a.a", "b.b", "c.c"])}, optional={"label": st.sampled_from(["x", "y"])}
)
SITE = st.fixed_dictionaries({"url": st.sampled_from(["https://a.jp", "https://b.jp"]), "title": st.just("t")})
SWITCHES = {
    name: [field for field, info in part.model_fields.items() if "Permission" in str(info.annotation)]
    for name, part in (("store", Store), ("usb", Usb))
}


def optional(strategy):
    return st.none() | strategy


def some(strategy):
    return optional(st.lists(strategy, min_size=1, max_size=3))


SECTIONS = st.fixed_dictionaries(
    {},
    optional={
        "apps": optional(st.fixed_dictionaries({"allowlist": some(APP)})),
        "store": optional(st.fixed_dictionaries({}, optional=dict.fromkeys(SWITCHES["store"], SWITCH))),
        "usb": optional(st.fixed_dictionaries({}, optional=dict.fromkeys(SWITCHES["usb"], SWITCH))),
        "web_filter": optional(
            st.fixed_dictionaries(
                {},
                optional={
                    "adult_filter": optional(st.booleans()),
                    "deny_list": optional(HOSTS),
                    "allow_list": optional(HOSTS),
                    "only_sites": some(SITE),
                },
            )
        ),
    },
).map(Sections.model_validate)


@given(SECTIONS, SECTIONS, SECTIONS)
def test_merging_is_associative(a, b, c):
    """Layers may be merged in groups: school with class first gives the same."""
    assert merge(merge(a, b), c) == merge(a, merge(b, c))


@given(SECTIONS)
def test_merging_is_idempotent_and_silence_changes_nothing(a):
    """The same layer twice is that layer, and an empty one is none."""
    assert merge(a, a) == a
    assert merge(a, Sections()) == a
    assert merge(Sections(), a) == a


@given(SECTIONS, SECTIONS)
def test_no_layer_loosens_what_another_denies(a, b):
    """A denial and the adult filter survive every merge, in either order."""
    for merged in (merge(a, b), merge(b, a)):
        for said in (a.usb, b.usb):
            if said is not None and said.host_pairing is Permission.DENY:
                assert merged.usb.host_pairing is Permission.DENY
        for said in (a.web_filter, b.web_filter):
            if said is not None:
                assert not said.adult_filter or merged.web_filter.adult_filter
                assert set(said.deny_list or ()) <= set(merged.web_filter.deny_list or ())


def say(name, layer, **sections):
    return Said(name, Layer.parse(layer), Sections.model_validate(sections))


FLEET = say(
    "district",
    "fleet",
    usb={"external_storage": "deny", "host_pairing": "allow"},
    web_filter={"deny_list": ["a.jp"], "only_sites": [{"url": "https://x.jp", "title": "x"}]},
)
SCHOOL = say("school", "school=0101", usb={"external_storage": "allow", "host_pairing": "deny"})
CLASS = say(
    "class",
    "class=0101/6/1",
    usb={"external_storage": "deny"},
    web_filter={"deny_list": ["b.jp"], "only_sites": [{"url": "https://y.jp", "title": "y"}]},
)


def test_every_field_says_who_decided_it():
    """Strictest: who said the winning value; union: all who spoke; replace: the nearest."""
    merged = effective([CLASS, FLEET, SCHOOL])
    assert dict(merged.decided_by) == {
        "/usb/external_storage": ("district", "class"),
        "/usb/host_pairing": ("school",),
        "/web_filter/deny_list": ("district", "class"),
        "/web_filter/only_sites": ("class",),
    }
    assert [site.title for site in merged.sections.web_filter.only_sites] == ["y"]


def test_the_order_in_which_layers_are_found_does_not_matter():
    """The chain sorts itself by width."""
    assert effective([CLASS, SCHOOL, FLEET]) == effective([FLEET, SCHOOL, CLASS])


def test_policies_of_one_layer_merge_by_name():
    """Two fleet policies give one answer, whichever was applied first."""
    first = say("a", "fleet", web_filter={"only_sites": [{"url": "https://a.jp", "title": "a"}]})
    second = say("b", "fleet", web_filter={"only_sites": [{"url": "https://b.jp", "title": "b"}]})
    assert effective([second, first]) == effective([first, second])
    assert effective([second, first]).decided_by == {"/web_filter/only_sites": ("b",)}


def test_a_label_of_the_nearer_layer_wins_but_its_absence_does_not():
    """Labels are for readers; losing one helps nobody."""
    wide = Sections.model_validate({"apps": {"allowlist": [{"bundle_id": "a.a", "label": "wide"}]}})
    near = Sections.model_validate({"apps": {"allowlist": [{"bundle_id": "a.a"}]}})
    assert merge(wide, near).apps.allowlist[0].label == "wide"


def test_a_union_that_grows_past_the_ceiling_is_refused_by_name():
    """Each document is within bounds; only together they are not."""
    wide = Sections.model_validate({"web_filter": {"deny_list": [f"a{n}.example.com" for n in range(300)]}})
    near = Sections.model_validate({"web_filter": {"deny_list": [f"b{n}.example.com" for n in range(201)]}})
    check_sizes(wide)
    with pytest.raises(Invalid) as refusal:
        check_sizes(merge(wide, near))
    assert refusal.value.errors[0]["pointer"] == "/web_filter/deny_list"
