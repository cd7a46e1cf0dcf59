"""The operator API of one's own sessions: sign in, prove again, list, end. Secrets appear once, in the answer."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field
from sqlmodel import Session

from mdm.api import Page
from mdm.api.problems import refusal
from mdm.audit import chain
from mdm.auth import CredentialKind, Principal, credentials
from mdm.auth.access import BearerDep, client_address, cookie_name, may, refuse_cross_site, secret_of
from mdm.auth.models import Operator
from mdm.auth.principal import Factor
from mdm.auth.rights import Action
from mdm.auth.webauthn import NotProved
from mdm.db import SessionDep
from mdm.errors import Unauthenticated
from mdm.operators import accounts, passkeys, signin
from mdm.operators.answers import (
    Body,
    KeyAnswer,
    Me,
    Password,
    Proof,
    SignedIn,
    comes_with_bearer,
    hand_over,
    me,
)

router = APIRouter(prefix="/api/v1", tags=["operators"])
Self = Annotated[Principal, Depends(may(Action.SIGN_IN_SELF))]
"""Whoever is signed in, to see its own account."""
Myself = Annotated[Principal, Depends(may(Action.CHANGE_SELF))]
"""A person who has signed in, to change its own account."""


class SignIn(Proof):
    """Who signs in, and whether a program does: then the secret comes in the answer instead of a cookie."""

    name: str = Field(max_length=64, examples=["hanako"])
    password: Password
    bearer: bool = Field(default=False, description="Answer with a bearer secret instead of setting a cookie.")


@router.post("/session", operation_id="signIn", summary="Sign in", response_model=SignedIn)
def sign_in(body: SignIn, request: Request, session: SessionDep) -> Response:
    """Open a session with a name, a password and what else the account has set up.

    A cookie for browsers, a bearer secret for programs. `second-factor-needed` says that the password is right.
    """
    _refuse_other_pages(request, bearer=body.bearer)
    outcome = signin.by_password(
        session,
        name=body.name,
        password=body.password.get_secret_value(),
        second=body.second(),
        address=client_address(request),
    )
    return _opened(request, session, outcome, bearer=body.bearer)


class KeyQuestion(BaseModel):
    """What to hand to the browser's `navigator.credentials`, and where its answer belongs."""

    ceremony: str
    options: dict[str, Any] = Field(description="`PublicKeyCredentialRequestOptions` in WebAuthn's JSON.")


@router.post("/session/passkey/options", operation_id="askForPasskey", summary="Begin to sign in with a passkey")
def ask_for_passkey(request: Request, session: SessionDep) -> KeyQuestion:
    """Return a question that any passkey of this site can answer within ten minutes, once."""
    signin.start_throttle.attempt("passkey", client_address(request))
    asked = passkeys.ask(session, None)
    return KeyQuestion(ceremony=asked.handle, options=asked.options)


class PasskeySignIn(Body):
    """A passkey's answer in place of name and password."""

    key: KeyAnswer
    bearer: bool = False


@router.post("/session/passkey", operation_id="signInWithPasskey", summary="Sign in", response_model=SignedIn)
def sign_in_with_passkey(body: PasskeySignIn, request: Request, session: SessionDep) -> Response:
    """Open a session with a passkey that checked its holder: two factors in one."""
    _refuse_other_pages(request, bearer=body.bearer)
    outcome = signin.by_passkey(session, body.key.decoded(), address=client_address(request))
    return _opened(request, session, outcome, bearer=body.bearer)


def _refuse_other_pages(request: Request, *, bearer: bool) -> None:
    if not bearer or "cookie" in request.headers:
        refuse_cross_site(request)


def _opened(request: Request, session: Session, outcome: signin.Outcome, *, bearer: bool) -> Response:
    operator = outcome.operator
    if operator is None:
        if outcome.known is not None:
            chain.record(session, f"operator:{outcome.known}", "session.refuse", f"operator:{outcome.known}")
        # Returned, not raised: the record of the attempt must stay.
        return refusal(request, outcome.refusal or Unauthenticated("sign in first"))
    issued = accounts.open_session(
        session, operator, factors=outcome.factors, address=client_address(request), bearer=bearer
    )
    if operator.break_glass:
        # Paging is a storey above: the front door brings it along.
        told = {"operator_id": operator.id}
        request.app.state.page(session, "session.break_glass", "a break-glass account has signed in", told)
    return hand_over(session, issued, bearer=bearer)


@router.get("/session", operation_id="whoAmI", summary="Who is signed in")
def who_am_i(principal: Self) -> Me:
    """Return the operator behind the presented session or token, with its role and scope."""
    return me(principal)


@router.delete("/session", operation_id="signOut", summary="Sign out", status_code=HTTPStatus.NO_CONTENT)
def sign_out(request: Request, session: SessionDep, principal: Self, bearer: BearerDep) -> Response:
    """End the presented session; a token ends itself this way too."""
    secret = secret_of(request, bearer)
    assert secret is not None
    credentials.revoke(session, secret)
    chain.record(session, principal, f"{principal.credential.value}.close", principal.actor)
    response = Response(status_code=HTTPStatus.NO_CONTENT)
    response.delete_cookie(cookie_name(), path="/", secure=cookie_name().startswith("__Host-"))
    return response


@router.post("/session/step-up/options", operation_id="askForStepUp", summary="Begin to prove again with a key")
def ask_for_key(session: SessionDep, principal: Myself) -> KeyQuestion:
    """Return a question for one's own security keys."""
    asked = passkeys.ask(session, principal.id)
    return KeyQuestion(ceremony=asked.handle, options=asked.options)


class StepUp(Proof):
    """Proof that it is still the same person: a passkey, or the password and what else the account has set up."""

    password: Password | None = None


@router.post("/session/step-up", operation_id="stepUp", summary="Prove again that it is you", response_model=SignedIn)
def step_up(body: StepUp, request: Request, session: SessionDep, principal: Myself, bearer: BearerDep) -> Response:
    """Prove to be there, for what is irreversible. A new session takes the place of the presented one, which ends."""
    operator = session.get_one(Operator, principal.id)
    password = body.password.get_secret_value() if body.password else None
    address = client_address(request)
    proved = signin.again(session, operator, password=password, second=body.second(), address=address)
    if proved is None:
        chain.record(session, principal, "session.step_up_refuse", principal.actor)
        return refusal(request, NotProved("that does not prove it is you: give all that your account has set up"))
    return renewed(request, session, principal, bearer, proved)


def renewed(
    request: Request,
    session: Session,
    principal: Principal,
    bearer: BearerDep,
    proved: frozenset[Factor],
    *,
    recovery_codes: list[str] | None = None,
    status: HTTPStatus = HTTPStatus.OK,
) -> Response:
    """Answer with a new session in the place of the presented one, after a fresh proof."""
    secret = secret_of(request, bearer)
    assert secret is not None
    issued = credentials.renew_session(session, secret, proved)
    chain.record(session, principal, "session.step_up", principal.actor, {"factors": sorted(proved)})
    return hand_over(session, issued, bearer=comes_with_bearer(request), recovery_codes=recovery_codes, status=status)


class SessionLine(BaseModel):
    """A session without its secret."""

    key: str = Field(examples=["9f86d081884c7d65"])
    created_at: datetime
    used_at: datetime | None = Field(description="To the minute.")
    expires_at: datetime
    factors: list[Factor]
    address: str = Field(description="From where it was opened.", examples=["192.0.2.7"])
    current: bool


@router.get("/sessions", operation_id="listSessions", summary="One's own sessions")
def list_sessions(session: SessionDep, principal: Self) -> Page[SessionLine]:
    """List one's own live sessions, oldest first."""
    rows = credentials.live(session, principal.id, CredentialKind.SESSION)
    return Page(
        items=[
            SessionLine(
                key=credentials.key_of(row.secret_hash),
                created_at=row.created_at,
                used_at=row.used_at,
                expires_at=row.expires_at,
                factors=[Factor(each) for each in row.factors],
                address=row.address,
                current=credentials.key_of(row.secret_hash) == principal.key,
            )
            for row in rows
        ]
    )


@router.delete("/sessions/{key}", operation_id="endSession", summary="End a session", status_code=204)
def end_session(key: str, session: SessionDep, principal: Myself) -> None:
    """End one of one's own sessions at once."""
    credentials.revoke_one(session, principal.id, CredentialKind.SESSION, key)
    chain.record(session, principal, "session.end", f"session:{key}")


class Ended(BaseModel):
    """How many have ended."""

    sessions: int
    tokens: int


@router.delete("/sessions", operation_id="endSessions", summary="End all that is open")
def end_sessions(session: SessionDep, principal: Myself) -> Ended:
    """End every session and API token of one's own, this session too: for when one may have been stolen."""
    tokens = credentials.revoke_all(session, principal.id, CredentialKind.TOKEN)
    ended = Ended(sessions=credentials.revoke_all(session, principal.id), tokens=tokens)
    chain.record(session, principal, "session.end_all", principal.actor, ended.model_dump())
    return ended
