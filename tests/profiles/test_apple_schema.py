"""Every key that the compiler emits exists in Apple's publication, with that type, and works on that tablet."""

import plistlib
import typing

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from profiles import apple
from profiles.sections import Sections
from tests.profiles.apple_keys import ENVELOPE, PAYLOADS, objections
from tests.profiles.documents import SECTIONS, _of_field

VERSIONS = ["13.0", "14.4", "15.8", "16.7", "17.1", "17.5.1", "18.0", "18.2", "26.1", "27.0"]
FACTS = st.builds(apple.facts, supervised=st.booleans(), os_version=st.sampled_from(VERSIONS))
RESTRICTIONS = "com.apple.applicationaccess"
FIELDS = [
    (name, field)
    for name, annotation in Sections.model_fields.items()
    for field in typing.get_args(annotation.annotation)[0].model_fields
]


def payloads(outcome):
    """Every payload of every profile."""
    return [payload for artifact in outcome.artifacts for payload in plistlib.loads(artifact.body)["PayloadContent"]]


@settings(max_examples=120, deadline=None)
@given(policy=SECTIONS, facts=FACTS)
@example(policy=Sections(), facts=apple.facts(supervised=True, os_version=None))
def test_every_profile_is_one_that_such_a_tablet_takes(policy, facts):
    """Published keys, types, values and gates; nothing twice; no certificate that is missing."""
    outcome = apple.compile_policy(policy, facts)
    found = payloads(outcome)
    # Gates below iPadOS 14 count as passed (see `gates`): such a system ignores the key.
    version = facts.os or (13, 7)
    wrong = [each for payload in found for each in objections(payload, supervised=facts.supervised, version=version)]
    assert wrong == []
    kinds = [payload["PayloadType"] for payload in found if PAYLOADS[payload["PayloadType"]].single]
    assert len(kinds) == len(set(kinds)), "a second payload of such a type would be refused"
    restrictions = [key for payload in found if payload["PayloadType"] == RESTRICTIONS for key in payload]
    assert all(restrictions.count(key) == 1 for key in set(restrictions) - set(ENVELOPE)), "undefined in two payloads"
    for key in ("PayloadIdentifier", "PayloadUUID"):
        assert len({payload[key] for payload in found}) == len(found)
    for artifact in outcome.artifacts:
        inside = plistlib.loads(artifact.body)["PayloadContent"]
        assert anchors(inside) <= {payload["PayloadUUID"] for payload in inside}, "the whole profile would be refused"


def anchors(inside):
    """The certificates that the networks of one profile name."""
    return {
        uuid
        for payload in inside
        for uuid in payload.get("EAPClientConfiguration", {}).get("PayloadCertificateAnchorUUID", [])
    }


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_every_field_is_delivered_or_owned_up_to(name, field):
    """Silence about a wish is the one answer that no field may give; `support` says beforehand which it is."""
    told = apple.support()[f"/{name}/{field}"]
    model = typing.get_args(Sections.model_fields[name].annotation)[0]
    newest = apple.facts(supervised=True, os_version=None, control_number="T-0001")
    outcomes = []

    @settings(max_examples=12, deadline=None, database=None)
    @given(drawn=_of_field(field, model.model_fields[field]))
    def compile_it(drawn):
        outcomes.append(apple.compile_policy(Sections.model_validate({name: {field: drawn}}), newest))

    compile_it()
    delivered = any(outcome.artifacts for outcome in outcomes)
    refused = {wish.pointer for outcome in outcomes for wish in outcome.cannot}
    if told.startswith("cannot: "):
        assert not delivered
        assert refused == {f"/{name}/{field}"}
    elif told.startswith("`") and (name, field) not in COMPANIONS:
        assert delivered
    elif told.startswith("denied by nature"):
        assert not delivered
        assert refused == {f"/{name}/{field}"}
    else:
        assert not delivered
        assert not refused or (name, field) in COMPANIONS


COMPANIONS = {("web_filter", "allow_list"), ("web_filter", "hide_deny_list"), ("exam", "power_button")}
"""Fields that only mean something beside another."""


def test_support_speaks_of_every_field_and_no_other():
    """The documentation is made from it."""
    assert set(apple.support()) == {f"/{name}/{field}" for name, field in FIELDS}


def test_every_key_in_the_tables_is_published():
    """The gates themselves: supervision and versions as published, so that `cannot` says the truth."""
    known = PAYLOADS[RESTRICTIONS].keys
    for tables in (apple.SWITCHES, apple.DEMANDS):
        for gates in tables.values():
            for gate in gates.values():
                published = known[gate.key]
                assert published.type == "B"
                assert gate.supervised == published.supervised
                assert (gate.minimum, gate.removed) == (published.minimum, published.removed)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"allowCamerra": False}, "no such key allowCamerra"),
        ({"allowCamera": 0}, "allowCamera is int, not B"),
        ({"enforcedSoftwareUpdateDelay": 91}, "enforcedSoftwareUpdateDelay may not be 91"),
        ({"ratingRegion": "xx"}, "ratingRegion may not be xx"),
        ({"allowListedAppBundleIDs": [1]}, "allowListedAppBundleIDs[] is int, not S"),
        ({"allowWebDistributionAppInstallation": False}, "allowWebDistributionAppInstallation needs iPadOS 17.5"),
    ],
)
def test_the_witness_notices_a_mistake(change, complaint):
    """The table finds a typo, a wrong type, a wrong value and a version that is too low."""
    envelope = {"PayloadIdentifier": "i", "PayloadType": RESTRICTIONS, "PayloadUUID": "u"}
    found = objections(envelope | {"PayloadVersion": 1} | change, supervised=True, version=(17, 4))
    assert found == [f"com.apple.applicationaccess: {complaint}"]


def test_the_witness_misses_nothing_that_is_required():
    """A payload without its required key is refused by the tablet."""
    envelope = {"PayloadIdentifier": "i", "PayloadUUID": "u", "PayloadVersion": 1}
    rules = {"PayloadType": "com.apple.app.lock", "App": {"Options": {"DisableTouch": True}}}
    assert objections(envelope | rules, supervised=True, version=(18,)) == [
        "com.apple.app.lock: App lacks App.Identifier"
    ]
    assert objections(envelope | rules, supervised=False, version=(18,))[0] == "com.apple.app.lock needs supervision"
