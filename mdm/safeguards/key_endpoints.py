"""The operator API of one's own approver keys. Renders; the rules are in `keys`. Nothing here can pin one."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from mdm.api import Page
from mdm.auth import Principal
from mdm.auth.access import may
from mdm.auth.rights import Action
from mdm.auth.webauthn import ALGORITHMS, relying_party
from mdm.db import SessionDep
from mdm.errors import Invalid
from mdm.safeguards import keys, signing
from mdm.safeguards.models import ApproverKey, KeyKind

router = APIRouter(prefix="/api/v1/keys", tags=["approvals"])
_Holder = Annotated[Principal, Depends(may(Action.SIGN_IN_SELF))]
_Approver = Annotated[Principal, Depends(may(Action.APPROVE))]
_Label = Annotated[str, Field(min_length=1, max_length=64, examples=["YubiKey at the desk"])]


class KeyLine(BaseModel):
    """One of one's own keys."""

    id: int
    kind: KeyKind
    label: str
    fingerprint: str = Field(description="What the host compares before it pins the key.", examples=["SHA256:3q2+7w"])
    credential_id: str | None = Field(description="What a browser names a security key by, base64url.")
    added_at: datetime
    pinned_at: datetime | None = Field(description="Until the host has pinned it, the key counts for nothing.")
    revoked_at: datetime | None


class NewSecurityKey(BaseModel):
    """The label for a security key that is about to be made."""

    model_config = ConfigDict(extra="forbid")

    label: _Label


class CreationOptions(BaseModel):
    """What `navigator.credentials.create` needs; byte strings are base64url."""

    rp_id: str
    rp_name: str
    user_id: str
    user_name: str
    challenge: str
    algorithms: list[int]
    exclude: list[str] = Field(description="Credential ids of the keys that are registered already.")


class NewKey(BaseModel):
    """A new key with the proof that its private half is there: a signature, or a security key's own words."""

    model_config = ConfigDict(extra="forbid")

    kind: KeyKind
    label: _Label
    public_key: str = Field(default="", max_length=128, description="software: Ed25519, 32 bytes in base64url.")
    signature: str = Field(default="", max_length=256, description="software: under its registration, base64url.")
    client_data: str = Field(default="", max_length=8192, description="webauthn: clientDataJSON, base64url.")
    attestation: str = Field(default="", max_length=65536, description="webauthn: attestationObject, base64url.")


def _line(key: ApproverKey) -> KeyLine:
    assert key.id is not None
    return KeyLine(
        id=key.id,
        kind=KeyKind(key.kind),
        label=key.label,
        fingerprint=signing.fingerprint(key.public_key),
        credential_id=signing.encoded(key.credential_id) if key.credential_id else None,
        added_at=key.added_at,
        pinned_at=key.pinned_at,
        revoked_at=key.revoked_at,
    )


@router.get("", operation_id="listKeys", summary="One's own approver keys")
def list_keys(session: SessionDep, principal: _Holder) -> Page[KeyLine]:
    """List one's own keys, oldest first, revoked ones too."""
    return Page(items=[_line(key) for key in keys.of_operator(session, principal.id)])


@router.post("/options", operation_id="keyOptions", summary="Prepare a security key")
def key_options(body: NewSecurityKey, session: SessionDep, principal: _Approver) -> CreationOptions:
    """Return what a browser needs to make a key for this person, bound to the console's own address."""
    rp_id, _ = relying_party()
    held = keys.of_operator(session, principal.id)
    return CreationOptions(
        rp_id=rp_id,
        rp_name="Tabane",
        user_id=signing.encoded(f"approver:{principal.id}".encode()),
        user_name=principal.name,
        challenge=signing.encoded(signing.registration_challenge(principal.name, label=body.label)),
        algorithms=[int(each) for each in ALGORITHMS],
        exclude=[signing.encoded(key.credential_id) for key in held if key.credential_id and not key.revoked_at],
    )


@router.post("", operation_id="registerKey", summary="Register an approver key", status_code=HTTPStatus.CREATED)
def register_key(body: NewKey, session: SessionDep, principal: _Approver) -> KeyLine:
    """Register a key of one's own. It signs approvals only once the host has pinned it (`tabane key pin`)."""
    match body.kind:
        case KeyKind.SOFTWARE:
            public_key = signing.decoded(body.public_key)
            if len(public_key) != 32:
                detail = "an Ed25519 key has 32 bytes"
                raise Invalid(detail, errors=[{"pointer": "/public_key", "detail": detail}])
            key = keys.register_software(
                session, principal, label=body.label, public_key=public_key, signature=body.signature
            )
        case KeyKind.WEBAUTHN:
            key = keys.register_webauthn(
                session,
                principal,
                label=body.label,
                client_data=signing.decoded(body.client_data),
                attestation=signing.decoded(body.attestation),
            )
    return _line(key)


@router.delete("/{key_id}", operation_id="revokeKey", summary="Revoke a key", status_code=HTTPStatus.NO_CONTENT)
def revoke_key(key_id: int, session: SessionDep, principal: _Holder) -> None:
    """End one of one's own keys for good."""
    keys.revoke(session, principal, key_id)
