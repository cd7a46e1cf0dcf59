"""The operator API of sign-in, tokens and accounts. Secrets appear once, in the answer that makes them."""

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from mdm.api import Page, Paging, page_of
from mdm.api.problems import refusal
from mdm.audit import chain
from mdm.auth import Action, CredentialKind, Principal, Role, credentials, may
from mdm.auth.access import BearerDep, client_address, cookie_name, refuse_cross_site, secret_of
from mdm.auth.models import Credential
from mdm.db import SessionDep
from mdm.errors import Forbidden, Unauthenticated
from mdm.operators import accounts, signin

router = APIRouter(prefix="/api/v1", tags=["operators"])
_Password = Annotated[SecretStr, Field(max_length=512)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SignIn(_Body):
    """Who signs in, and whether a program does: then the secret comes in the answer instead of a cookie."""

    name: str = Field(max_length=64, examples=["hanako"])
    password: _Password
    bearer: bool = Field(default=False, description="Answer with a bearer secret instead of setting a cookie.")


class Me(BaseModel):
    """The signed-in operator."""

    name: str = Field(examples=["hanako"])
    role: Role
    all_schools: bool
    school_ids: list[int]
    credential: CredentialKind


class SignedIn(BaseModel):
    """A session."""

    operator: Me
    expires_at: datetime
    token: str | None = Field(default=None, description="The bearer secret, only if it was asked for.")


def _me(principal: Principal) -> Me:
    return Me(
        name=principal.name,
        role=principal.role,
        all_schools=principal.scope.all_schools,
        school_ids=sorted(principal.scope.school_ids),
        credential=principal.credential,
    )


@router.post("/session", operation_id="signIn", summary="Sign in", response_model=SignedIn)
def sign_in(body: SignIn, request: Request, session: SessionDep) -> Response:
    """Open a session with a name and a password: a cookie for browsers, a bearer secret for programs."""
    if not body.bearer or "cookie" in request.headers:
        refuse_cross_site(request)
    address = client_address(request)
    operator, known = signin.check(session, name=body.name, password=body.password.get_secret_value(), address=address)
    if operator is None:
        if known:
            chain.record(session, f"operator:{body.name}", "session.refuse", f"operator:{body.name}")
        # Returned, not raised: the record of the attempt must stay.
        return refusal(request, Unauthenticated("name or password is wrong"))
    assert operator.id is not None
    issued = credentials.open_session(session, operator.id)
    principal = credentials.principal_of(session, operator)
    chain.record(session, principal, "session.open", principal.actor, {"bearer": body.bearer})
    answer = SignedIn(
        operator=_me(principal), expires_at=issued.expires_at, token=issued.secret if body.bearer else None
    )
    response = JSONResponse(answer.model_dump(mode="json"))
    if not body.bearer:
        name = cookie_name()
        response.set_cookie(
            name, issued.secret, httponly=True, secure=name.startswith("__Host-"), samesite="strict", path="/"
        )
    return response


@router.get("/session", operation_id="whoAmI", summary="Who is signed in")
def who_am_i(principal: Annotated[Principal, Depends(may(Action.SIGN_IN_SELF))]) -> Me:
    """Return the operator behind the presented session or token, with its role and scope."""
    return _me(principal)


@router.delete("/session", operation_id="signOut", summary="Sign out", status_code=HTTPStatus.NO_CONTENT)
def sign_out(
    request: Request,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.SIGN_IN_SELF))],
    bearer: BearerDep,
) -> Response:
    """End the presented session; a token ends itself this way too."""
    secret = secret_of(request, bearer)
    assert secret is not None
    credentials.revoke(session, secret)
    chain.record(session, principal, f"{principal.credential.value}.close", principal.actor)
    response = Response(status_code=HTTPStatus.NO_CONTENT)
    response.delete_cookie(cookie_name(), path="/")
    return response


class NewPassword(_Body):
    """The present password and the next one."""

    current: _Password
    password: _Password = Field(description="12 to 128 characters.")


@router.put("/session/password", operation_id="changePassword", summary="Change one's password", status_code=204)
def change_password(
    body: NewPassword,
    request: Request,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.CHANGE_SELF))],
) -> None:
    """Change one's own password; every session and token of the operator ends, this one too."""
    address = client_address(request)
    operator, _ = signin.check(session, name=principal.name, password=body.current.get_secret_value(), address=address)
    if operator is None:
        raise Forbidden("the present password is wrong")
    accounts.set_password(session, principal, principal.id, body.password.get_secret_value())


class NewToken(_Body):
    """What a token is for and how long it lives."""

    label: str = Field(min_length=1, max_length=64, examples=["nightly ledger import"])
    days: int = Field(default=30, ge=1, le=90)


class TokenLine(BaseModel):
    """A token without its secret."""

    key: str = Field(examples=["9f86d081884c7d65"])
    label: str
    created_at: datetime
    expires_at: datetime


class CreatedToken(BaseModel):
    """A new token; the secret is not shown again."""

    key: str
    secret: str
    expires_at: datetime


@router.post("/tokens", operation_id="createToken", summary="Make an API token", status_code=HTTPStatus.CREATED)
def create_token(
    body: NewToken, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.CHANGE_SELF))]
) -> CreatedToken:
    """Make a token with one's own role and scope, for at most 90 days. It cannot approve or manage operators."""
    issued = credentials.create_token(session, principal.id, label=body.label, lifetime=timedelta(days=body.days))
    chain.record(session, principal, "token.create", f"token:{issued.key}", {"days": body.days, "label": body.label})
    return CreatedToken(key=issued.key, secret=issued.secret, expires_at=issued.expires_at)


@router.get("/tokens", operation_id="listTokens", summary="One's own tokens")
def list_tokens(
    session: SessionDep, principal: Annotated[Principal, Depends(may(Action.SIGN_IN_SELF))]
) -> Page[TokenLine]:
    """List one's own live tokens, oldest first."""
    return Page(items=[_token_line(token) for token in credentials.live_tokens(session, principal.id)])


def _token_line(token: Credential) -> TokenLine:
    return TokenLine(
        key=credentials.key_of(token.secret_hash),
        label=token.label,
        created_at=token.created_at,
        expires_at=token.expires_at,
    )


@router.delete("/tokens/{key}", operation_id="revokeToken", summary="Revoke a token", status_code=204)
def revoke_token(
    key: str, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.SIGN_IN_SELF))]
) -> None:
    """End one of one's own tokens at once."""
    credentials.revoke_token(session, principal.id, key)
    chain.record(session, principal, "token.revoke", f"token:{key}")


class NewOperator(_Body):
    """A new account."""

    name: str = Field(max_length=64, examples=["taro.yamada"])
    password: _Password = Field(description="12 to 128 characters.")
    role: Role
    all_schools: bool = False
    schools: list[str] = Field(default=[], max_length=1000, description="School codes.", examples=[["E001"]])


class OperatorChange(_Body):
    """What to change; what is absent stays."""

    role: Role | None = None
    all_schools: bool | None = None
    schools: list[str] | None = Field(default=None, max_length=1000)
    disabled: bool | None = None


class OperatorLine(BaseModel):
    """An account."""

    id: int
    name: str
    role: Role
    all_schools: bool
    schools: list[str]
    created_at: datetime
    disabled_at: datetime | None


class PasswordReset(_Body):
    """A password that an administrator sets."""

    password: _Password


def _operator_line(account: accounts.Account) -> OperatorLine:
    assert account.operator.id is not None
    return OperatorLine(
        id=account.operator.id,
        name=account.operator.name,
        role=Role(account.operator.role),
        all_schools=account.operator.all_schools,
        schools=list(account.schools),
        created_at=account.operator.created_at,
        disabled_at=account.operator.disabled_at,
    )


@router.get("/operators", operation_id="listOperators", summary="Operators within one's scope")
def list_operators(
    session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_OPERATORS))], paging: Paging
) -> Page[OperatorLine]:
    """List operators by name; those who see more schools than the caller are not shown."""
    after = paging.after[0] if paging.after else None
    found = accounts.visible(session, principal, after_name=after, limit=paging.limit + 1)
    return page_of(paging, found, key=lambda account: [account.operator.name], show=_operator_line)


@router.post("/operators", operation_id="addOperator", summary="Add an operator", status_code=HTTPStatus.CREATED)
def add_operator(
    body: NewOperator, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.MANAGE_OPERATORS))]
) -> OperatorLine:
    """Make an account with a scope no wider than one's own."""
    scope = accounts.scope_of_codes(session, body.schools, all_schools=body.all_schools)
    operator = accounts.add(
        session,
        principal,
        name=body.name,
        password=body.password.get_secret_value(),
        role=body.role,
        scope=scope,
    )
    assert operator.id is not None
    return _operator_line(accounts.find(session, principal, operator.id))


@router.get("/operators/{operator_id}", operation_id="showOperator", summary="One operator")
def show_operator(
    operator_id: int, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_OPERATORS))]
) -> OperatorLine:
    """Return one operator within the caller's scope."""
    return _operator_line(accounts.find(session, principal, operator_id))


@router.patch("/operators/{operator_id}", operation_id="changeOperator", summary="Change role, scope or access")
def change_operator(
    operator_id: int,
    body: OperatorChange,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.MANAGE_OPERATORS))],
) -> OperatorLine:
    """Change an operator other than oneself; all that the operator had open ends at once."""
    scope = None
    if body.all_schools is not None or body.schools is not None:
        scope = accounts.scope_of_codes(session, body.schools or [], all_schools=bool(body.all_schools))
    account = accounts.change(session, principal, operator_id, role=body.role, scope=scope, disabled=body.disabled)
    return _operator_line(account)


@router.put(
    "/operators/{operator_id}/password", operation_id="resetPassword", summary="Set a password", status_code=204
)
def reset_password(
    operator_id: int,
    body: PasswordReset,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.MANAGE_OPERATORS))],
) -> None:
    """Set another operator's password, for one who has forgotten it; all that was open ends."""
    if operator_id == principal.id:
        raise Forbidden("change your own password with the present one, at /api/v1/session/password")
    accounts.set_password(session, principal, operator_id, body.password.get_secret_value())
