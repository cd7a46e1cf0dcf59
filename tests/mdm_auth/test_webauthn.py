"""What a security key must say to be believed, told by a key in software that shares no code with the server."""

import json

import pytest

from mdm.auth.webauthn import NotProved, RegisteredKey, base64url, verify_assertion, verify_registration
from simulator.authenticator import SoftwareAuthenticator, decode

HERE = {"rp_id": "tabane.example", "origin": "https://tabane.example"}
CHALLENGE = b"0123456789abcdef0123456789abcdef"
OTHER = b"fedcba9876543210fedcba9876543210"


def _key(**more) -> SoftwareAuthenticator:
    return SoftwareAuthenticator(**{**HERE, **more})


def _register(key: SoftwareAuthenticator, *, challenge: bytes = CHALLENGE, require_uv: bool = True) -> RegisteredKey:
    said = key.create(base64url(challenge))["response"]
    return verify_registration(
        challenge=CHALLENGE,
        client_data_json=decode(said["clientDataJSON"]),
        attestation_object=decode(said["attestationObject"]),
        require_uv=require_uv,
        **HERE,
    )


def _assert(key: SoftwareAuthenticator, registered: RegisteredKey, said: dict | None = None, **more) -> int:
    said = said or key.get(base64url(CHALLENGE))["response"]
    return verify_assertion(
        registered.public_key,
        more.pop("sign_count", registered.sign_count),
        more.pop("challenge", CHALLENGE),
        decode(said["clientDataJSON"]),
        decode(said["authenticatorData"]),
        decode(said["signature"]),
        **{**HERE, "require_uv": True, **more},
    )


def test_a_key_registers_and_signs():
    """A key that answered the challenge is known by its id, and its count grows with each signature."""
    key = _key()
    registered = _register(key)
    assert registered.credential_id == key.credential_id
    assert registered.user_verified
    assert _assert(key, registered) == registered.sign_count + 1


def test_registration_of_another_place_is_refused():
    """Another origin, another site's name, another challenge and a holder who did not verify are refused."""
    for key in (_key(origin="https://evil.example"), _key(rp_id="evil.example"), _key(verifies=False)):
        with pytest.raises(NotProved):
            _register(key)
    with pytest.raises(NotProved):
        _register(_key(), challenge=OTHER)
    assert not _register(_key(verifies=False), require_uv=False).user_verified


def test_assertions_that_prove_nothing():
    """Another key, challenge, origin, site or an unverified holder proves nothing, nor does a changed byte."""
    key = _key()
    registered = _register(key)
    with pytest.raises(NotProved):
        _assert(_key(), registered)
    with pytest.raises(NotProved):
        _assert(key, registered, challenge=OTHER)
    for name, wrong in (("origin", "https://evil.example"), ("rp_id", "evil.example"), ("verifies", False)):
        right = getattr(key, name)
        setattr(key, name, wrong)
        with pytest.raises(NotProved):
            _assert(key, registered)
        setattr(key, name, right)
    said = key.get(base64url(CHALLENGE))["response"]
    for part in ("clientDataJSON", "authenticatorData", "signature"):
        changed = bytearray(decode(said[part]))
        changed[-3] ^= 1
        with pytest.raises(NotProved):
            _assert(key, registered, {**said, part: base64url(bytes(changed))})
    assert _assert(key, registered, said) == key.sign_count


def test_a_copied_key_shows_by_its_count():
    """A count that did not grow is refused, except of keys that never count."""
    key = _key()
    registered = _register(key)
    said = key.get(base64url(CHALLENGE))["response"]
    count = _assert(key, registered, said)
    with pytest.raises(NotProved):
        _assert(key, registered, said, sign_count=count)
    uncounted = _key(counts=False)
    registered = _register(uncounted)
    assert (_assert(uncounted, registered), _assert(uncounted, registered)) == (0, 0)


def test_a_frame_in_another_page_is_refused(monkeypatch):
    """An answer that was signed inside another site's page is refused, though its origin is ours."""
    key = _key()
    registered = _register(key)
    plain = key._client_data
    monkeypatch.setattr(
        key, "_client_data", lambda *told: json.dumps(json.loads(plain(*told)) | {"crossOrigin": True}).encode()
    )
    with pytest.raises(NotProved):
        _assert(key, registered)


def test_noise_is_refused_cleanly():
    """Bytes that are no answer at all are refused like any other, with no other error."""
    registered = _register(_key())
    for noise in (b"", b"{}", b"[]", b"\xff" * 40, b"{" * 5000):
        with pytest.raises(NotProved):
            verify_assertion(registered.public_key, 0, CHALLENGE, noise, noise, noise, require_uv=True, **HERE)
        with pytest.raises(NotProved):
            verify_registration(
                challenge=CHALLENGE, client_data_json=noise, attestation_object=noise, require_uv=True, **HERE
            )
