"""What the sign-in routes answer with, and how a session reaches its owner: in a cookie or in the body. No rules."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from sqlmodel import Session

from mdm.auth import CredentialKind, Principal, Role, credentials
from mdm.auth.access import cookie_name
from mdm.auth.credentials import Issued
from mdm.auth.principal import Factor
from mdm.auth.rights import Action
from mdm.operators import passkeys
from mdm.operators.factors import Second

Password = Annotated[SecretStr, Field(max_length=512)]
_Spoken = Annotated[str, Field(max_length=90_000, description="base64url, as the browser's key API gives it.")]


class Body(BaseModel):
    """A request's body: nothing but what is named."""

    model_config = ConfigDict(extra="forbid")


class KeyAnswer(Body):
    """What a security key said (`PublicKeyCredential.response`), and to which question."""

    ceremony: str = Field(max_length=100, description="From the options that were answered.")
    credential_id: _Spoken
    client_data_json: _Spoken
    authenticator_data: _Spoken
    signature: _Spoken

    def decoded(self) -> passkeys.Answer:
        """Return it in bytes; `NotProved` for what is none."""
        return passkeys.Answer(
            handle=self.ceremony,
            credential_id=passkeys.decode(self.credential_id),
            client_data_json=passkeys.decode(self.client_data_json),
            authenticator_data=passkeys.decode(self.authenticator_data),
            signature=passkeys.decode(self.signature),
        )


class Proof(Body):
    """What is given beside a name: each account needs what it has set up."""

    code: SecretStr | None = Field(
        default=None, max_length=64, description="Of the app that shows a new code each 30 seconds, or a recovery code."
    )
    key: KeyAnswer | None = None

    def second(self) -> Second:
        """Return the second factor in it, if any."""
        return Second(
            code=self.code.get_secret_value() if self.code else None, key=self.key.decoded() if self.key else None
        )


class Me(BaseModel):
    """The signed-in operator."""

    name: str = Field(examples=["hanako"])
    role: Role
    all_schools: bool
    school_ids: list[int]
    credential: CredentialKind
    factors: list[Factor] = Field(description="How its person proved to be there.")
    proved_at: datetime | None = Field(description="When that was; what is irreversible needs a fresh proof.")
    second_factor_missing: bool = Field(description="Then nothing is open but the setting up of one.")
    actions: list[Action] | None = Field(description="The bounds of a token; null: all that the role may.")


class SignedIn(BaseModel):
    """A session."""

    operator: Me
    expires_at: datetime
    token: str | None = Field(default=None, description="The bearer secret, only if it was asked for.")
    recovery_codes: list[str] | None = Field(
        default=None, description="With the first second factor: ten codes, shown this once."
    )


def me(principal: Principal) -> Me:
    """Show a principal to itself."""
    return Me(
        name=principal.name,
        role=principal.role,
        all_schools=principal.scope.all_schools,
        school_ids=sorted(principal.scope.school_ids),
        credential=principal.credential,
        factors=sorted(principal.factors) if principal.credential is CredentialKind.SESSION else [],
        proved_at=principal.proved_at,
        second_factor_missing=principal.second_factor_missing,
        actions=None if principal.actions is None else sorted(principal.actions),
    )


def hand_over(
    session: Session,
    issued: Issued,
    *,
    bearer: bool,
    recovery_codes: list[str] | None = None,
    status: HTTPStatus = HTTPStatus.OK,
) -> Response:
    """Answer with a new session: its secret in the body for a program, else in a cookie."""
    principal = credentials.authenticate(session, issued.secret)
    assert principal is not None
    answer = SignedIn(
        operator=me(principal),
        expires_at=issued.expires_at,
        token=issued.secret if bearer else None,
        recovery_codes=recovery_codes,
    )
    response = JSONResponse(answer.model_dump(mode="json"), status_code=status)
    if not bearer:
        set_session_cookie(response, issued.secret)
    return response


def set_session_cookie(response: Response, secret: str) -> None:
    """Give the browser its session: for this host, hidden from scripts, never sent from another site."""
    name = cookie_name()
    response.set_cookie(name, secret, httponly=True, secure=name.startswith("__Host-"), samesite="strict", path="/")


def comes_with_bearer(request: Request) -> bool:
    """Say whether a request presents its secret as a bearer's, so that a new one must come in the body."""
    return "authorization" in request.headers
