"""A security key in software: makes keys and signs as a real authenticator does (WebAuthn, ES256, attestation none).

An independent witness for tests: it shares nothing with the server but the standard. Never a place for real keys.
"""

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

_PRESENT, _VERIFIED, _ATTESTED = 0x01, 0x04, 0x40
Spoken = dict[str, Any]


def encode(value: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Return the bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class SoftwareAuthenticator:
    """One key for one site. A fresh one is made by `create`; `get` signs with it."""

    origin: str
    """Of the page that the browser shows: the browser puts it in, no page can choose it."""
    rp_id: str
    verifies: bool = True
    """Whether its holder gave a PIN or a finger."""
    counts: bool = True
    """Passkeys that live in a cloud always say 0."""
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    sign_count: int = 0
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def create(self, challenge: str) -> Spoken:
        """Answer `navigator.credentials.create`: `challenge` as in the options, base64url."""
        numbers = self._key.public_key().public_numbers()
        cose = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")})
        attested = bytes(16) + len(self.credential_id).to_bytes(2, "big") + self.credential_id + cose
        said = self._data(_ATTESTED) + attested
        statement = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": said})
        client = self._client_data("webauthn.create", challenge)
        return self._answer(clientDataJSON=encode(client), attestationObject=encode(statement))

    def get(self, challenge: str, *, user_handle: bytes | None = None) -> Spoken:
        """Answer `navigator.credentials.get`."""
        client = self._client_data("webauthn.get", challenge)
        said = self._data(0)
        signature = self._key.sign(said + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        answer = {
            "clientDataJSON": encode(client),
            "authenticatorData": encode(said),
            "signature": encode(signature),
        }
        if user_handle is not None:
            answer["userHandle"] = encode(user_handle)
        return self._answer(**answer)

    def _data(self, more: int) -> bytes:
        self.sign_count += int(self.counts)
        flags = _PRESENT | (_VERIFIED if self.verifies else 0) | more
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + self.sign_count.to_bytes(4, "big")

    def _client_data(self, kind: str, challenge: str) -> bytes:
        told = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return json.dumps(told, separators=(",", ":")).encode()

    def _answer(self, **response: str) -> Spoken:
        name = encode(self.credential_id)
        return {"id": name, "rawId": name, "type": "public-key", "response": response}
