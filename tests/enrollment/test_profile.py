"""The enrolment profile: its keys, its order, its identifiers, its signature."""

import hashlib
import plistlib
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from enrollment.apple import profile
from mdm.cms.signed import parse_signed
from mdm.errors import Misconfigured

TOPIC = "com.apple.mgmt.External.00000000-0000-4000-8000-000000000001"


@pytest.fixture
def facts(ca):
    return profile.Facts(
        organization="Board <of> Education & Co",
        public_url="https://mdm.example",
        topic=TOPIC,
        challenge="c0ffee",
        common_name="ISSUED1",
        ca=ca,
    )


def test_keys(facts, ca):
    """SCEP then MDM, every value as Apple's schema types it."""
    outer = plistlib.loads(profile.enrollment_profile(facts), fmt=plistlib.FMT_XML)
    scep, mdm = outer["PayloadContent"]
    assert (outer["PayloadType"], outer["PayloadRemovalDisallowed"], outer["PayloadVersion"]) == (
        "Configuration",
        True,
        1,
    )
    assert scep["PayloadType"] == "com.apple.security.scep"
    assert scep["PayloadContent"] == {
        "URL": "https://mdm.example/scep",
        "Name": "Board <of> Education & Co",
        "Subject": [[["O", "Board <of> Education & Co"]], [["CN", "ISSUED1"]]],
        "Challenge": "c0ffee",
        "Keysize": 2048,
        "Key Type": "RSA",
        "Key Usage": 5,
        "CAFingerprint": hashlib.sha256(ca.public_bytes(Encoding.DER)).digest(),
        "Retries": 3,
        "RetryDelay": 10,
    }
    assert {key: value for key, value in mdm.items() if not key.startswith("Payload")} == {
        "IdentityCertificateUUID": scep["PayloadUUID"],
        "Topic": TOPIC,
        "ServerURL": "https://mdm.example/mdm/apple",
        "CheckInURL": "https://mdm.example/mdm/apple",
        "SignMessage": True,
        "AccessRights": 8191,
        "CheckOutWhenRemoved": True,
        "ServerCapabilities": [],
    }


def identifiers(data):
    outer = plistlib.loads(data)
    parts = [outer, *outer["PayloadContent"]]
    return [part["PayloadIdentifier"] for part in parts], [part["PayloadUUID"] for part in parts]


def test_a_renewal_is_the_same_profile(facts):
    """The same facts give the same bytes; another challenge keeps the identifiers and changes the UUIDs."""
    first = profile.enrollment_profile(facts)
    assert profile.enrollment_profile(facts) == first
    names, uuids = identifiers(first)
    again_names, again_uuids = identifiers(profile.enrollment_profile(replace(facts, challenge="decaf")))
    assert again_names == names == ["tabane.enrollment", "tabane.enrollment.scep", "tabane.enrollment.mdm"]
    assert not set(uuids) & set(again_uuids)
    assert len(set(uuids)) == 3


def test_signed(facts, ca, keys, openssl, tmp_path):
    """The signed form carries the XML as it is; openssl agrees."""
    made = profile.enrollment_profile(facts)
    data = profile.signed(made, ca, keys[-1])
    assert parse_signed(data).content == made
    (tmp_path / "ca.pem").write_bytes(ca.public_bytes(Encoding.PEM))
    verify = ("cms", "-verify", "-binary", "-inform", "DER", "-CAfile", tmp_path / "ca.pem", "-purpose", "any")
    assert openssl(*verify, data=data) == made


def test_a_certificate_without_a_topic(ca):
    """Only a push certificate has a topic."""
    with pytest.raises(Misconfigured):
        profile.topic_of(ca)
