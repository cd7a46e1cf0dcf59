"""What an approver signs, and whether a signature is theirs. Pure but for the settings: reads and writes no rows.

Everything that signs or verifies makes the same bytes from the same facts: the web process when it takes a signature,
the command line before it gives one, and the sender once more before anything leaves.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from mdm.auth.webauthn import NotProved, relying_party, verify_assertion
from mdm.safeguards.models import KeyKind

_REQUEST: Final = "tabane.request.1"
_APPROVE: Final = "tabane.approve.1"
_REGISTER: Final = "tabane.key.1"
_SNAPSHOT: Final = "tabane.snapshot.1"


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature as it was given; all parts base64url. The latter two are a security key's own words, else empty."""

    signature: str
    client_data: str = ""
    authenticator_data: str = ""

    @classmethod
    def from_stored(cls, row: Mapping[str, Any] | None) -> "Signature":
        """Return what a row keeps; whatever else may stand there is no signature."""
        parts = {name: str((row or {}).get(name, "")) for name in ("signature", "client_data", "authenticator_data")}
        return cls(**parts)

    def stored(self) -> dict[str, str]:
        """Return it as the row keeps it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Key:
    """What is needed of a key to verify with it."""

    kind: KeyKind
    public_key: bytes
    sign_count: int = 0
    """What it last counted; 0 when an older signature is looked at again."""


def digest(
    action: str, subject: Mapping[str, Any], *, reason: str, requested_by: int, expires_at: datetime | str
) -> bytes:
    """Return SHA-256 over all of a request, in canonical JSON: who asks for what, on which tablets, why, until when.

    `expires_at` may be the API's spelling of it. An edit of any of these makes another digest, and voids what was
    signed.
    """
    until = datetime.fromisoformat(expires_at) if isinstance(expires_at, str) else expires_at
    spelled = until.astimezone(UTC).isoformat(timespec="microseconds")
    return _hash([_REQUEST, action, subject, reason, requested_by, spelled])


def challenge(request_digest: bytes, *, approver: str, urgent: bool) -> bytes:
    """Return the 32 bytes that an approver signs: this request, by this person, and whether it need not wait."""
    return _hash([_APPROVE, request_digest.hex(), approver, urgent])


def snapshot(lines: Sequence[Mapping[str, Any]]) -> bytes:
    """Return SHA-256 over a frozen list, line by line in the order given, for the subject of a request to name."""
    return _hash([_SNAPSHOT, *lines])


def registration_challenge(operator: str, *, label: str, public_key: bytes = b"") -> bytes:
    """Return what a new key signs (or answers, a security key) to show that its private half is there."""
    return _hash([_REGISTER, operator, label, public_key.hex()])


def fingerprint(public_key: bytes) -> str:
    """Return how a key is named when people compare it by eye, as ssh spells it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(public_key).digest()).decode().rstrip("=")


def verify(key: Key, signed: bytes, given: Signature) -> int:
    """Return the key's new count if it signed these 32 bytes; `NotProved` otherwise."""
    parts = [decoded(each) for each in (given.signature, given.client_data, given.authenticator_data)]
    match key.kind:
        case KeyKind.SOFTWARE:
            _verify_software(key.public_key, signed, parts[0])
            return 0
        case KeyKind.WEBAUTHN:
            rp_id, origin = relying_party()
            return verify_assertion(
                key.public_key,
                key.sign_count,
                signed,
                parts[1],
                parts[2],
                parts[0],
                rp_id=rp_id,
                origin=origin,
                require_uv=True,
            )


def _verify_software(public_key: bytes, signed: bytes, signature: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed)
    except (InvalidSignature, ValueError):
        raise NotProved("the signature is not by this key, or not of this") from None


def encoded(value: bytes) -> str:
    """Return bytes as base64url without padding."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def decoded(value: str) -> bytes:
    """Return the bytes of base64url, padded or not; `NotProved` for anything else."""
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise NotProved("a signature comes in base64url") from None


def _hash(document: list[Any]) -> bytes:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).digest()
