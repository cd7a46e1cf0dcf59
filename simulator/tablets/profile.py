"""Reads an enrolment profile as an iPad does: which identity to get, and where to report. XML, or XML inside CMS.

It must not guess: a profile that lacks what Apple's schema requires is refused.
https://developer.apple.com/documentation/devicemanagement/mdm
"""

import plistlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from simulator.tablets.cms import open_signed
from simulator.tablets.scep import ScepPayload


class BadProfile(ValueError):
    """The profile cannot be installed."""


@dataclass(frozen=True, slots=True)
class EnrollmentProfile:
    """What the tablet keeps of an enrolment profile."""

    identifier: str
    topic: str
    server_url: str
    check_in_url: str
    access_rights: int
    sign_message: bool
    check_out_when_removed: bool
    scep: ScepPayload


@lru_cache(maxsize=64)
def parse_profile(data: bytes) -> dict[str, Any]:
    """Return the dictionary of a configuration profile, XML or CMS-signed (the signature must hold); not to be changed.

    A fleet gets the same few profiles thousands of times over, hence the cache.
    """
    try:
        if data[:1] == b"\x30":
            data = open_signed(data).content
        document = plistlib.loads(data, fmt=plistlib.FMT_XML)
    except Exception as error:
        raise BadProfile(f"the profile cannot be read: {error}") from error
    wanted = {"PayloadType", "PayloadIdentifier", "PayloadUUID", "PayloadVersion", "PayloadContent"}
    if not isinstance(document, dict) or not wanted <= set(document) or document["PayloadType"] != "Configuration":
        raise BadProfile("this is not a configuration profile")
    for payload in document["PayloadContent"]:
        if not {"PayloadType", "PayloadIdentifier", "PayloadUUID", "PayloadVersion"} <= set(payload):
            raise BadProfile("a payload lacks one of the keys that each must have")
    return document


def is_enrollment(document: dict[str, Any]) -> bool:
    """Say whether a profile holds an MDM payload."""
    return any(payload["PayloadType"] == "com.apple.mdm" for payload in document["PayloadContent"])


def read_enrollment(document: dict[str, Any]) -> EnrollmentProfile:
    """Return what the tablet needs of a profile with one MDM payload and the SCEP payload it names."""
    payloads = document["PayloadContent"]
    found = [payload for payload in payloads if payload["PayloadType"] == "com.apple.mdm"]
    if len(found) != 1:
        raise BadProfile("there is not exactly one MDM payload")
    mdm = found[0]
    missing = {"IdentityCertificateUUID", "Topic", "ServerURL", "AccessRights"} - set(mdm)
    if missing:
        raise BadProfile(f"the MDM payload lacks {', '.join(sorted(missing))}")
    identity = [payload for payload in payloads if payload["PayloadUUID"] == mdm["IdentityCertificateUUID"]]
    if len(identity) != 1 or identity[0]["PayloadType"] != "com.apple.security.scep":
        raise BadProfile("the identity is not a SCEP payload of this profile")
    if payloads.index(identity[0]) > payloads.index(mdm):
        raise BadProfile("the SCEP payload stands behind the MDM payload that needs it")
    return EnrollmentProfile(
        identifier=document["PayloadIdentifier"],
        topic=mdm["Topic"],
        server_url=mdm["ServerURL"],
        check_in_url=mdm.get("CheckInURL", mdm["ServerURL"]),
        access_rights=mdm["AccessRights"],
        sign_message=mdm.get("SignMessage", False),
        check_out_when_removed=mdm.get("CheckOutWhenRemoved", False),
        scep=_scep(identity[0]["PayloadContent"]),
    )


def _scep(content: dict[str, Any]) -> ScepPayload:
    if content.get("Key Type", "RSA") != "RSA" or content.get("Keysize", 1024) not in (1024, 2048, 4096):
        raise BadProfile("the SCEP payload asks for a key that this tablet cannot make")
    return ScepPayload(
        url=content["URL"],
        name=content.get("Name", ""),
        challenge=content.get("Challenge"),
        subject=tuple(tuple((name, value) for name, value in rdn) for rdn in content.get("Subject", [])),
        key_size=content.get("Keysize", 1024),
        fingerprint=content.get("CAFingerprint"),
        retries=content.get("Retries", 3),
        retry_delay=content.get("RetryDelay", 10),
    )
