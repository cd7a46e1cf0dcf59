"""The enrolment profile: a SCEP payload for the identity, an MDM payload for the conversation. Pure: values to bytes.

Keys as in Apple's schema (github.com/apple/device-management: TopLevel, com.apple.security.scep, com.apple.mdm).
It must not be built from string templates: a name with `<` in it is data.
"""

import hashlib
import plistlib
import uuid
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from mdm.cms.signing import sign_attached
from mdm.errors import Misconfigured

MEDIA_TYPE: Final = "application/x-apple-aspen-config"
IDENTIFIER: Final = "tabane.enrollment"
"""Of the whole profile. Never changes: a renewal is the same profile again, and anything else is a second enrolment."""
ACCESS_RIGHTS: Final = 8191
"""Every right; an update may only take rights away, so an enrolment asks for all of them at once."""
_TOPIC_PREFIX: Final = "com.apple.mgmt."
_NAMESPACE: Final = uuid.UUID("5a3f6d3e-0c1b-5c8f-9d57-2f4b1a7e6c90")


@dataclass(frozen=True, slots=True)
class Facts:
    """What an enrolment profile is made of."""

    organization: str
    public_url: str
    """Where tablets reach the door, without a trailing slash."""
    topic: str
    challenge: str
    common_name: str
    """What the tablet asks to be called; the CA writes the subject itself."""
    ca: x509.Certificate


def enrollment_profile(facts: Facts) -> bytes:
    """Return the profile as an XML plist. The same facts give the same bytes, and so the same PayloadUUIDs."""
    scep = _payload("com.apple.security.scep", f"{IDENTIFIER}.scep", {"PayloadContent": _scep(facts)})
    mdm = _payload("com.apple.mdm", f"{IDENTIFIER}.mdm", _mdm(facts, identity=scep["PayloadUUID"]))
    outer = _payload(
        "Configuration",
        IDENTIFIER,
        {
            "PayloadContent": [scep, mdm],  # the identity first: the MDM payload points at it
            "PayloadDisplayName": f"{facts.organization} MDM",
            "PayloadOrganization": facts.organization,
            "PayloadRemovalDisallowed": True,
        },
    )
    return plistlib.dumps(outer, fmt=plistlib.FMT_XML, sort_keys=True)


def signed(profile: bytes, certificate: x509.Certificate, key: RSAPrivateKey) -> bytes:
    """Return the profile as CMS SignedData with the XML attached, which iPadOS takes in place of the XML."""
    return sign_attached(profile, certificate, key)


def _payload(kind: str, identifier: str, content: dict[str, Any]) -> dict[str, Any]:
    """Add the standard keys. The UUID follows from the content: a change is a new payload, a repeat is the same one."""
    digest = hashlib.sha256(plistlib.dumps([kind, identifier, content], sort_keys=True)).hexdigest()
    return {
        "PayloadType": kind,
        "PayloadVersion": 1,
        "PayloadIdentifier": identifier,
        "PayloadUUID": str(uuid.uuid5(_NAMESPACE, digest)).upper(),
        **content,
    }


def _scep(facts: Facts) -> dict[str, Any]:
    return {
        "URL": f"{facts.public_url}/scep",
        "Name": facts.organization,
        "Subject": [[["O", facts.organization]], [["CN", facts.common_name]]],
        "Challenge": facts.challenge,
        "Keysize": 2048,  # Apple's default is 1024
        "Key Type": "RSA",
        "Key Usage": 5,  # sign and encrypt: the answer is encrypted to this key
        "CAFingerprint": hashlib.sha256(facts.ca.public_bytes(Encoding.DER)).digest(),
        "Retries": 3,
        "RetryDelay": 10,
    }


def _mdm(facts: Facts, *, identity: str) -> dict[str, Any]:
    return {
        "IdentityCertificateUUID": identity,
        "Topic": facts.topic,
        "ServerURL": f"{facts.public_url}/mdm/apple",
        "CheckInURL": f"{facts.public_url}/mdm/apple",
        "SignMessage": True,
        "AccessRights": ACCESS_RIGHTS,
        "CheckOutWhenRemoved": True,
        # None of the three: no user channel, no bootstrap token, no GetToken. An update may not change the first.
        "ServerCapabilities": [],
    }


def topic_of(push_certificate: x509.Certificate) -> str:
    """Return the topic of an MDM push certificate: the UID in its subject. `Misconfigured` for any other."""
    found = push_certificate.subject.get_attributes_for_oid(NameOID.USER_ID)
    topic = str(found[0].value) if len(found) == 1 else ""
    if not topic.startswith(_TOPIC_PREFIX):
        raise Misconfigured("setting apple.push_certificate: the certificate's subject has no MDM topic (UID)")
    return topic
