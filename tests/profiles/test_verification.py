"""What a tablet says against what was wanted, with the simulated tablet's own sum of restrictions as a witness."""

import plistlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles import apple, presets
from profiles.verification import Difference, What, compare, wanted
from simulator.tablets.restrictions import total

SWITCHES = ("allowHostPairing", "allowAirDrop", "allowChat", "forceAutomaticDateAndTime", "forceWiFiPowerOn")
NUMBERS = ("ratingApps", "enforcedSoftwareUpdateDelay")
LISTS = ("allowListedAppBundleIDs", "blockedAppBundleIDs")
APPS = st.lists(st.sampled_from(["a.one", "a.two", "a.three"]), unique=True).map(sorted)
RESTRICTED = st.fixed_dictionaries(
    {},
    optional={
        **{key: st.booleans() for key in SWITCHES},
        **{key: st.integers(0, 1000) for key in NUMBERS},
        **dict.fromkeys(LISTS, APPS),
    },
)


def profile(identifier="tabane.policy.usb", kind="com.apple.applicationaccess", uuid="U-1", **content) -> bytes:
    payload = {"PayloadType": kind, "PayloadIdentifier": f"{identifier}.payload", "PayloadUUID": "P", **content}
    outer = {"PayloadType": "Configuration", "PayloadIdentifier": identifier, "PayloadUUID": uuid}
    return plistlib.dumps({**outer, "PayloadContent": [payload]})


def listed(**uuids):
    return [
        {"PayloadIdentifier": identifier.replace("_", "."), "PayloadUUID": uuid} for identifier, uuid in uuids.items()
    ]


def said(**switches):
    return {"restrictedBool": {key: {"value": value} for key, value in switches.items()}}


HELD = listed(tabane_policy_usb="U-1")


def check(body, *, profiles=HELD, restrictions):
    found = compare(wanted([body]), profiles=profiles, restrictions=restrictions)
    return [(each.key, each.what) for each in found]


@given(st.lists(RESTRICTED, min_size=1, max_size=3))
def test_a_tablet_that_enforces_all_profiles_together_is_verified(contents):
    """Whatever the profiles say about one another's keys: the sum is at least as strict as each."""
    bodies = [profile(f"tabane.p{number}", **content) for number, content in enumerate(contents)]
    held = [{"PayloadIdentifier": f"tabane.p{number}", "PayloadUUID": "u-1"} for number in range(len(bodies))]
    restrictions = total([body.decode() for body in bodies])
    assert compare(wanted(bodies), profiles=held, restrictions=restrictions) == ()


@given(RESTRICTED, st.sampled_from(SWITCHES + NUMBERS + LISTS))
def test_a_restriction_that_is_not_enforced_is_named_and_no_other(content, ignored):
    """A switch stands open; of a number or list the tablet says nothing. What only allows is not missed."""
    body = profile(**content)
    found = check(body, restrictions=total([body.decode()], ignores=[ignored]))
    allows = ignored in SWITCHES and content.get(ignored) is not ignored.startswith("force")
    what = What.LOOSENED if ignored in SWITCHES else What.UNREPORTED
    assert found == ([] if ignored not in content or allows else [(ignored, what)])


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_can_be_proved(name):
    """All that the compiler makes of a preset is read, told apart and found enforced; losing it is seen."""
    facts = apple.facts(supervised=True, os_version="26.1")
    bodies = [artifact.body for artifact in apple.compile_policy(presets.load(name).sections(), facts).artifacts]
    expected = wanted(bodies)
    held = [{"PayloadIdentifier": one, "PayloadUUID": uuid} for one, uuid in expected.uuids.items()]
    restrictions = total([body.decode() for body in bodies])
    assert compare(expected, profiles=held, restrictions=restrictions) == ()
    assert {each.identifier for each in compare(expected, profiles=[], restrictions={})} == set(expected.uuids)


@pytest.mark.parametrize(
    ("content", "restrictions"),
    [
        ({"allowAirDrop": False}, said(allowAirDrop=True)),
        ({"forceWiFiPowerOn": True}, said(forceWiFiPowerOn=False)),
        ({"ratingApps": 200}, {"restrictedValue": {"ratingApps": {"value": 300}}}),
        ({"enforcedSoftwareUpdateDelay": 30}, {"restrictedValue": {"enforcedSoftwareUpdateDelay": {"value": 29}}}),
        ({"allowListedAppBundleIDs": ["a"]}, {"intersection": {"allowListedAppBundleIDs": {"values": ["a", "b"]}}}),
        ({"allowListedAppBundleIDs": ["a"]}, {"intersection": {"whitelistedAppBundleIDs": {"values": ["b"]}}}),
        ({"blockedAppBundleIDs": ["a", "b"]}, {"union": {"blockedAppBundleIDs": {"values": ["a"]}}}),
    ],
)
def test_what_is_looser_than_wanted_is_loosened(content, restrictions):
    """For switches, numbers in their direction, and lists."""
    assert check(profile(**content), restrictions=restrictions) == [(*content, What.LOOSENED)]


@pytest.mark.parametrize(
    ("content", "restrictions"),
    [
        ({"ratingApps": 300}, {"restrictedValue": {"ratingApps": {"value": 200}}}),
        ({"enforcedSoftwareUpdateDelay": 30}, {"restrictedValue": {"enforcedSoftwareUpdateDelay": {"value": 90}}}),
        ({"allowListedAppBundleIDs": ["a", "b"]}, {"intersection": {"allowListedAppBundleIDs": {"values": ["a"]}}}),
        ({"blockedAppBundleIDs": ["a"]}, {"union": {"blacklistedAppBundleIDs": {"values": ["a", "b"]}}}),
        ({"allowAirDrop": True}, said(allowAirDrop=False)),
        ({"ratingRegion": "jp"}, {}),
    ],
)
def test_what_is_stricter_or_only_allowed_is_no_difference(content, restrictions):
    """Another profile may restrict more; a region is a text, which the answer has no place for."""
    assert check(profile(**content), restrictions=restrictions) == []


def test_a_missing_or_other_profile_explains_its_restrictions():
    """One difference each; the restrictions in it are not counted again."""
    bodies = [profile("tabane.a", uuid="A", allowAirDrop=False), profile("tabane.b", uuid="B", allowChat=False)]
    found = compare(wanted(bodies), profiles=listed(tabane_a="OLD"), restrictions={})
    assert found == (Difference("tabane.a", None, What.OTHER), Difference("tabane.b", None, What.MISSING))


def test_the_case_of_a_uuid_is_no_difference():
    """Hexadecimal digits have no case."""
    body = profile(uuid="ABC-1", kind="com.apple.webcontent-filter", FilterType="BuiltIn")
    assert check(body, profiles=listed(tabane_policy_usb="abc-1"), restrictions={}) == []


def test_a_refused_question_leaves_things_unproved():
    """Refused is not drift; what the other question shows still counts."""
    body = profile(allowAirDrop=False)
    assert check(body, restrictions=None) == [("allowAirDrop", What.REFUSED)]
    assert check(body, profiles=None, restrictions=said(allowAirDrop=False)) == [(None, What.REFUSED)]
    found = check(body, profiles=None, restrictions=said(allowAirDrop=True))
    assert found == [(None, What.REFUSED), ("allowAirDrop", What.LOOSENED)]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["restrictedBool", "value", "x"]), inner),
    )
)
def test_nonsense_proves_nothing_and_breaks_nothing(answer):
    """A tablet's answer is not to be trusted to have any shape."""
    items = answer if isinstance(answer, list) else [answer]
    restrictions = answer if isinstance(answer, dict) else {"restrictedBool": answer}
    assert check(profile(allowAirDrop=False), profiles=items, restrictions=restrictions) == [(None, What.MISSING)]
    assert check(profile(allowAirDrop=False), restrictions=restrictions) == [("allowAirDrop", What.UNREPORTED)]


@pytest.mark.parametrize("body", [b"A1", b"<plist><dict/></plist>", plistlib.dumps({"PayloadIdentifier": "x"})])
def test_what_is_no_profile_is_refused(body):
    """It is a fault of whoever stored it."""
    with pytest.raises(ValueError, match="not a profile"):
        wanted([body])
