"""Check what a security key or passkey says (WebAuthn level 3). Pure: keeps no challenge, key or counter itself.

Whoever calls this made the challenge, gives it once, and stores the new count: the library only compares.
"""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers import bytes_to_base64url
from webauthn.helpers.cose import COSEAlgorithmIdentifier
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticationCredential,
    AuthenticatorAssertionResponse,
    AuthenticatorAttestationResponse,
    RegistrationCredential,
)

from mdm.errors import Forbidden
from mdm.settings import get_settings

ALGORITHMS = (
    COSEAlgorithmIdentifier.ECDSA_SHA_256,
    COSEAlgorithmIdentifier.EDDSA,
    COSEAlgorithmIdentifier.RSASSA_PKCS1_v1_5_SHA_256,
)
"""What keys may sign with, best known first; `-7, -8, -257` in the options that a browser gets."""
LONGEST = 64 * 1024
"""Nothing that a key says is longer; certificates of its maker are a few kilobytes."""


class NotProved(Forbidden):
    """What a key or an app said does not prove who is there."""

    slug = "not-proved"


@dataclass(frozen=True, slots=True)
class RegisteredKey:
    """A key that has just shown that it can sign."""

    credential_id: bytes
    public_key: bytes
    """COSE, as `verify_assertion` takes it."""
    sign_count: int
    aaguid: str
    """Model of the authenticator; all zero when it does not tell."""
    user_verified: bool
    """It checked a PIN, a finger or a face: something of the person, not only the thing."""
    backed_up: bool
    """A passkey that its maker's cloud copies to other devices."""


def relying_party() -> tuple[str, str]:
    """Return the name and the origin to which keys are bound: the console's own."""
    url = urlsplit(get_settings().operator_url)
    return url.hostname or "", f"{url.scheme}://{url.netloc}"


def verify_registration(
    *,
    challenge: bytes,
    client_data_json: bytes,
    attestation_object: bytes,
    rp_id: str,
    origin: str,
    require_uv: bool,
) -> RegisteredKey:
    """Return the new key that answered this challenge for this site; `NotProved` for anything else.

    The maker's attestation must be right if there is one, but no maker is asked for: any key that is held will do.
    """
    _must_be_of_this_page(client_data_json)
    credential = RegistrationCredential(
        id="AA",
        raw_id=b"\0",
        response=AuthenticatorAttestationResponse(
            client_data_json=client_data_json, attestation_object=attestation_object[:LONGEST]
        ),
    )
    try:
        found = verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=rp_id,
            expected_origin=origin,
            require_user_verification=require_uv,
            supported_pub_key_algs=list(ALGORITHMS),
        )
    except Exception as error:  # noqa: BLE001 - hostile bytes make its parsers raise anything
        raise _refused(error) from None
    return RegisteredKey(
        credential_id=found.credential_id,
        public_key=found.credential_public_key,
        sign_count=found.sign_count,
        aaguid=found.aaguid,
        user_verified=found.user_verified,
        backed_up=found.credential_backed_up,
    )


def verify_assertion(  # noqa: PLR0917 - in the order of the standard
    credential_public_key: bytes,
    sign_count: int,
    challenge: bytes,
    client_data_json: bytes,
    authenticator_data: bytes,
    signature: bytes,
    *,
    rp_id: str,
    origin: str,
    require_uv: bool,
) -> int:
    """Return the key's new count if it signed this challenge for this site, with its person there; else `NotProved`.

    A count that does not grow (and is not always 0) means a copied key, and is refused.
    """
    _must_be_of_this_page(client_data_json)
    credential = AuthenticationCredential(
        id="AA",
        raw_id=b"\0",
        response=AuthenticatorAssertionResponse(
            client_data_json=client_data_json, authenticator_data=authenticator_data[:LONGEST], signature=signature
        ),
    )
    try:
        found = verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=rp_id,
            expected_origin=origin,
            credential_public_key=credential_public_key,
            credential_current_sign_count=sign_count,
            require_user_verification=require_uv,
        )
    except Exception as error:  # noqa: BLE001 - hostile bytes make its parsers raise anything
        raise _refused(error) from None
    return found.new_sign_count


def _must_be_of_this_page(client_data_json: bytes) -> None:
    """Refuse what was signed in a frame of another site's page; the library does not look."""
    try:
        told: Any = json.loads(client_data_json[:LONGEST])
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict) or told.get("crossOrigin") or told.get("topOrigin"):
        raise NotProved("the key answered for a page that is not the console's own")


def _refused(error: Exception) -> NotProved:
    """Say why in the library's words, which hold no secret; bytes that are no message at all raise anything."""
    reason = str(error) if isinstance(error, WebAuthnException) else "what it sent cannot be read"
    return NotProved(f"the key's answer is refused: {reason[:200]}")


def base64url(value: bytes) -> str:
    """Return bytes as WebAuthn's JSON spells them."""
    return bytes_to_base64url(value)
