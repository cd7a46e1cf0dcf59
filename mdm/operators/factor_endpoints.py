"""The operator API of one's own second factors: an app, security keys, recovery codes. Secrets appear once."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field, SecretStr

from mdm.api.problems import refusal
from mdm.audit import chain
from mdm.auth import Principal, credentials
from mdm.auth.access import BearerDep, client_address, may
from mdm.auth.models import Operator
from mdm.auth.principal import Factor
from mdm.auth.rights import Action
from mdm.auth.webauthn import NotProved
from mdm.db import SessionDep
from mdm.operators import accounts, factors, passkeys, recovery, totp
from mdm.operators.answers import Body, SignedIn
from mdm.operators.models import Passkey
from mdm.operators.session_endpoints import KeyQuestion, Myself, Self, renewed

router = APIRouter(prefix="/api/v1", tags=["operators"])
Manager = Annotated[Principal, Depends(may(Action.MANAGE_OPERATORS))]


class KeyLine(BaseModel):
    """A security key or passkey."""

    key: str = Field(description="Its credential id.")
    label: str
    created_at: datetime
    used_at: datetime | None
    backed_up: bool = Field(description="Its maker's cloud copies it to other devices.")


class Factors(BaseModel):
    """How one's own account is proved."""

    password: bool
    totp: bool = Field(description="An app that shows codes is set up.")
    keys: list[KeyLine]
    recovery_codes_left: int
    required: bool = Field(description="The role needs a second factor.")


@router.get("/session/factors", operation_id="listFactors", summary="One's own second factors")
def list_factors(session: SessionDep, principal: Self) -> Factors:
    """Show what one's own account has set up."""
    operator = session.get_one(Operator, principal.id)
    return Factors(
        password=bool(operator.password_hash),
        totp=totp.is_set_up(session, principal.id),
        keys=[_key_line(key) for key in passkeys.of(session, principal.id)],
        recovery_codes_left=recovery.left(session, principal.id),
        required=credentials.must_show_two(operator),
    )


def _key_line(key: Passkey) -> KeyLine:
    return KeyLine(
        key=passkeys.name_of(key),
        label=key.label,
        created_at=key.created_at,
        used_at=key.used_at,
        backed_up=key.backed_up,
    )


class TotpSecret(BaseModel):
    """What an app needs; shown once."""

    secret: str = Field(description="Base32, to type in.")
    uri: str = Field(description="`otpauth://`, to show as a picture to scan.")


@router.post("/session/factors/totp", operation_id="enrolTotp", summary="Set up an app that shows codes")
def enrol_totp(session: SessionDep, principal: Myself) -> TotpSecret:
    """Give the app its secret. Nothing changes before `confirm` has had a first code."""
    operator = factors.must_be_allowed_to_change(session, principal)
    enrolment = totp.enrol(session, principal.id, operator.name)
    return TotpSecret(secret=enrolment.secret, uri=enrolment.uri)


class FirstCode(Body):
    """The app's first code."""

    code: SecretStr = Field(max_length=16)


@router.post(
    "/session/factors/totp/confirm", operation_id="confirmTotp", summary="Confirm the app", response_model=SignedIn
)
def confirm_totp(
    body: FirstCode, request: Request, session: SessionDep, principal: Myself, bearer: BearerDep
) -> Response:
    """Take the first code: from now on sign-in asks for one. Answers with a new session in this one's place."""
    operator = factors.must_be_allowed_to_change(session, principal)
    factors.code_throttle.attempt(operator.name, client_address(request))
    if not totp.confirm(session, principal.id, body.code.get_secret_value()):
        return refusal(request, NotProved("that is not the app's code; look whether its clock is right"))
    factors.code_throttle.succeeded(operator.name, client_address(request))
    codes = factors.added(session, principal, operator, Factor.TOTP)
    return renewed(request, session, principal, bearer, frozenset({Factor.TOTP}), recovery_codes=codes)


@router.delete("/session/factors/totp", operation_id="removeTotp", summary="Remove the app", status_code=204)
def remove_totp(session: SessionDep, principal: Myself) -> None:
    """Forget the app; another factor must remain where the role needs one."""
    operator = factors.must_be_allowed_to_change(session, principal)
    if totp.remove(session, principal.id):
        factors.removed(session, principal, operator, Factor.TOTP.value)


@router.post("/session/factors/keys/options", operation_id="offerPasskey", summary="Begin to register a security key")
def offer_key(session: SessionDep, principal: Myself) -> KeyQuestion:
    """Return what to hand to `navigator.credentials.create`; to be answered within ten minutes, once."""
    operator = factors.must_be_allowed_to_change(session, principal)
    asked = passkeys.offer(session, operator)
    return KeyQuestion(ceremony=asked.handle, options=asked.options)


class NewKey(Body):
    """What a new key said."""

    ceremony: str = Field(max_length=100)
    client_data_json: str = Field(max_length=90_000)
    attestation_object: str = Field(max_length=90_000)
    label: str = Field(min_length=1, max_length=64, examples=["blue key"])


@router.post(
    "/session/factors/keys",
    operation_id="registerPasskey",
    summary="Register a security key",
    status_code=HTTPStatus.CREATED,
    response_model=SignedIn,
)
def register_key(body: NewKey, request: Request, session: SessionDep, principal: Myself, bearer: BearerDep) -> Response:
    """Add a key to one's own account. Answers with a new session in this one's place."""
    operator = factors.must_be_allowed_to_change(session, principal)
    _, factor = passkeys.register(
        session,
        principal.id,
        body.ceremony,
        client_data_json=passkeys.decode(body.client_data_json),
        attestation_object=passkeys.decode(body.attestation_object),
        label=body.label,
    )
    codes = factors.added(session, principal, operator, factor)
    proved = frozenset({factor})
    return renewed(request, session, principal, bearer, proved, recovery_codes=codes, status=HTTPStatus.CREATED)


@router.delete("/session/factors/keys/{key}", operation_id="removePasskey", summary="Remove a key", status_code=204)
def remove_key(key: str, session: SessionDep, principal: Myself) -> None:
    """Forget a key; another factor must remain where the role needs one."""
    operator = factors.must_be_allowed_to_change(session, principal)
    passkeys.remove(session, principal.id, key)
    factors.removed(session, principal, operator, Factor.KEY.value)


class RecoveryCodes(BaseModel):
    """Ten ways in for who has lost the second factor; shown once, each good once."""

    recovery_codes: list[str]


@router.post("/session/factors/recovery-codes", operation_id="newRecoveryCodes", summary="Make recovery codes anew")
def new_recovery_codes(session: SessionDep, principal: Myself) -> RecoveryCodes:
    """Make ten new codes; the former ones are void."""
    factors.must_be_allowed_to_change(session, principal)
    principal.must_have_shown_two()
    codes = recovery.issue(session, principal.id)
    chain.record(session, principal, "recovery.issue", principal.actor)
    return RecoveryCodes(recovery_codes=codes)


@router.delete(
    "/operators/{operator_id}/factors", operation_id="resetFactors", summary="Reset second factors", status_code=204
)
def reset_factors(operator_id: int, session: SessionDep, principal: Manager) -> None:
    """Forget the second factors of an operator who has lost them; all that was open ends."""
    accounts.reset_factors(session, principal, operator_id)
