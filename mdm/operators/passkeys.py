"""Operators' security keys and passkeys: register, ask, believe. What makes an answer right is `mdm.auth.webauthn`."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, delete, select
from webauthn import generate_authentication_options, generate_registration_options
from webauthn.helpers import base64url_to_bytes, options_to_json
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from mdm import clock
from mdm.auth import webauthn
from mdm.auth.models import Operator
from mdm.auth.principal import Factor
from mdm.errors import Conflict, NotFound
from mdm.operators import ceremonies
from mdm.operators.ceremonies import Kind
from mdm.operators.models import Passkey
from mdm.settings import get_settings

_MOST = 10
"""Keys of one operator."""
_VERIFIED = 0x04
"""The flag in an authenticator's data: it checked a PIN, a finger or a face."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a browser hands to `navigator.credentials`, and the handle under which the answer comes back."""

    handle: str
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a key said when it was asked to sign."""

    handle: str
    credential_id: bytes
    client_data_json: bytes
    authenticator_data: bytes
    signature: bytes


def of(session: Session, operator_id: int) -> Sequence[Passkey]:
    """List an operator's keys, oldest first."""
    statement = select(Passkey).where(Passkey.operator_id == operator_id)
    return session.exec(statement.order_by(col(Passkey.created_at), col(Passkey.credential_id))).all()


def name_of(key: Passkey) -> str:
    """Return how a key is named in the API."""
    return webauthn.base64url(key.credential_id)


def offer(session: Session, operator: Operator) -> Asked:
    """Begin the registration of a new key."""
    assert operator.id is not None
    present = of(session, operator.id)
    if len(present) >= _MOST:
        raise Conflict(f"an account has at most {_MOST} keys; remove one first")
    rp_id, _ = webauthn.relying_party()
    challenge = secrets.token_bytes(32)
    options = generate_registration_options(
        rp_id=rp_id,
        rp_name=get_settings().organization,
        user_name=operator.name,
        user_id=operator.id.to_bytes(8, "big"),
        challenge=challenge,
        exclude_credentials=[PublicKeyCredentialDescriptor(id=key.credential_id) for key in present],
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED, user_verification=UserVerificationRequirement.PREFERRED
        ),
        supported_pub_key_algs=list(webauthn.ALGORITHMS),
    )
    handle = ceremonies.begin(session, Kind.NEW_KEY, {"challenge": challenge.hex()}, operator_id=operator.id)
    return Asked(handle, json.loads(options_to_json(options)))


def register(
    session: Session, operator_id: int, handle: str, *, client_data_json: bytes, attestation_object: bytes, label: str
) -> tuple[Passkey, Factor]:
    """End a registration with the new key's answer; return it and what its holder proved by it."""
    ended = ceremonies.end(session, Kind.NEW_KEY, handle)
    if ended.operator_id != operator_id:
        raise ceremonies.Lapsed("this registration was begun by somebody else")
    rp_id, origin = webauthn.relying_party()
    found = webauthn.verify_registration(
        challenge=bytes.fromhex(ended.content["challenge"]),
        client_data_json=client_data_json,
        attestation_object=attestation_object,
        rp_id=rp_id,
        origin=origin,
        require_uv=False,
    )
    if session.get(Passkey, found.credential_id) is not None:
        raise Conflict("this key is registered already")
    key = Passkey(
        credential_id=found.credential_id,
        operator_id=operator_id,
        public_key=found.public_key,
        sign_count=found.sign_count,
        aaguid=found.aaguid,
        backed_up=found.backed_up,
        label=label,
        created_at=clock.now(),
    )
    session.add(key)
    session.flush()
    return key, Factor.PASSKEY if found.user_verified else Factor.KEY


def ask(session: Session, operator_id: int | None) -> Asked:
    """Ask for a signature: of one of an operator's keys, or (None) of whatever key the person at the door has."""
    rp_id, _ = webauthn.relying_party()
    challenge = secrets.token_bytes(32)
    keys = [] if operator_id is None else of(session, operator_id)
    options = generate_authentication_options(
        rp_id=rp_id,
        challenge=challenge,
        allow_credentials=[PublicKeyCredentialDescriptor(id=key.credential_id) for key in keys],
        user_verification=UserVerificationRequirement.PREFERRED,
    )
    handle = ceremonies.begin(session, Kind.ASK_KEY, {"challenge": challenge.hex()}, operator_id=operator_id)
    return Asked(handle, json.loads(options_to_json(options)))


def believe(session: Session, answer: Answer, *, require_uv: bool = False) -> tuple[int, Factor]:
    """Return whose key signed, and what that proves; `NotProved` or `Lapsed` otherwise. Each question is asked once."""
    ended = ceremonies.end(session, Kind.ASK_KEY, answer.handle)
    statement = select(Passkey).where(Passkey.credential_id == answer.credential_id).with_for_update()
    key = session.exec(statement).first()
    if key is None or ended.operator_id not in (None, key.operator_id):
        raise webauthn.NotProved("this key is not known here")
    rp_id, origin = webauthn.relying_party()
    key.sign_count = webauthn.verify_assertion(
        key.public_key,
        key.sign_count,
        bytes.fromhex(ended.content["challenge"]),
        answer.client_data_json,
        answer.authenticator_data,
        answer.signature,
        rp_id=rp_id,
        origin=origin,
        require_uv=require_uv,
    )
    key.used_at = clock.now()
    session.add(key)
    session.flush()
    return key.operator_id, Factor.PASSKEY if answer.authenticator_data[32] & _VERIFIED else Factor.KEY


def remove(session: Session, operator_id: int, name: str) -> None:
    """Forget one key; `NotFound` when the operator has none of that name."""
    for key in of(session, operator_id):
        if name_of(key) == name:
            session.delete(key)
            session.flush()
            return
    raise NotFound("there is no such key")


def remove_all(session: Session, operator_id: int) -> None:
    """Forget all of an operator's keys."""
    session.exec(delete(Passkey).where(col(Passkey.operator_id) == operator_id))


def decode(text: str) -> bytes:
    """Return the bytes of WebAuthn's base64url; `NotProved` for what is none."""
    try:
        return base64url_to_bytes(text)
    except ValueError:
        raise webauthn.NotProved("the key's answer is not base64url") from None
