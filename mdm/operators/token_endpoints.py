"""The operator API of one's own API tokens: narrow, short-lived, never as strong as their owner. Shown once."""

from datetime import datetime, timedelta
from http import HTTPStatus

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlmodel import Session

from mdm.api import Page
from mdm.audit import chain
from mdm.auth import CredentialKind, Principal, credentials
from mdm.auth.models import Credential
from mdm.auth.rights import READ_ONLY, RIGHTS, Action
from mdm.db import SessionDep
from mdm.errors import Forbidden, Invalid
from mdm.operators import accounts
from mdm.operators.answers import Body
from mdm.operators.session_endpoints import Myself, Self

router = APIRouter(prefix="/api/v1", tags=["operators"])


class NewToken(Body):
    """What a token is for, what it may do, and how long it lives."""

    label: str = Field(min_length=1, max_length=64, examples=["nightly ledger import"])
    days: int = Field(default=30, ge=1, le=90)
    allow: list[Action] | None = Field(
        default=None,
        min_length=1,
        max_length=len(Action),
        description="A part of what one's own role may. Without it: reading what names nobody and no place.",
    )
    schools: list[str] | None = Field(
        default=None, min_length=1, max_length=1000, description="School codes, a part of one's own; without: all."
    )


class TokenLine(BaseModel):
    """A token without its secret."""

    key: str = Field(examples=["9f86d081884c7d65"])
    label: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None = Field(description="To the minute.")
    allow: list[str] | None = Field(description="Null: made before tokens had bounds, all that its owner may.")


class CreatedToken(BaseModel):
    """A new token; the secret is not shown again."""

    key: str
    secret: str
    expires_at: datetime
    allow: list[Action]


def _allowed(principal: Principal, asked: list[Action] | None) -> list[Action]:
    """Return the token's actions: no more than its owner may, and nothing that needs a person."""
    if asked is None:
        return sorted(action for action in READ_ONLY if principal.may(action))
    for number, action in enumerate(asked):
        at = {"pointer": f"/allow/{number}"}
        if RIGHTS[action].person or RIGHTS[action].safety.needs_a_person:
            raise Invalid("a token cannot do this", errors=[at | {"detail": "this needs a person who has signed in"}])
        if not principal.may(action):
            raise Forbidden(f"nobody gives a token more than their own rights ({action.value})")
    return sorted({*asked, Action.SIGN_IN_SELF})


def _school_ids(session: Session, principal: Principal, codes: list[str] | None) -> list[int] | None:
    if codes is None:
        return None
    return sorted(accounts.scope_of_codes(session, codes, all_schools=False, within=principal.scope).school_ids)


@router.post("/tokens", operation_id="createToken", summary="Make an API token", status_code=HTTPStatus.CREATED)
def create_token(body: NewToken, session: SessionDep, principal: Myself) -> CreatedToken:
    """Make a token for some of what one may do, for at most 90 days. It never does what needs a person."""
    principal.must_have_shown_two()
    principal.must_be_fresh(principal.minutes_for_bulk)
    allow = _allowed(principal, body.allow)
    issued = credentials.create_token(
        session,
        principal.id,
        label=body.label,
        lifetime=timedelta(days=body.days),
        actions=allow,
        school_ids=_school_ids(session, principal, body.schools),
    )
    details = {"days": body.days, "label": body.label, "allow": allow, "schools": body.schools}
    chain.record(session, principal, "token.create", f"token:{issued.key}", details)
    return CreatedToken(key=issued.key, secret=issued.secret, expires_at=issued.expires_at, allow=allow)


@router.get("/tokens", operation_id="listTokens", summary="One's own tokens")
def list_tokens(session: SessionDep, principal: Self) -> Page[TokenLine]:
    """List one's own live tokens, oldest first."""
    rows = credentials.live(session, principal.id, CredentialKind.TOKEN)
    return Page(items=[_token_line(token) for token in rows])


def _token_line(token: Credential) -> TokenLine:
    return TokenLine(
        key=credentials.key_of(token.secret_hash),
        label=token.label,
        created_at=token.created_at,
        expires_at=token.expires_at,
        used_at=token.used_at,
        allow=token.actions,
    )


@router.delete("/tokens/{key}", operation_id="revokeToken", summary="Revoke a token", status_code=204)
def revoke_token(key: str, session: SessionDep, principal: Self) -> None:
    """End one of one's own tokens at once."""
    credentials.revoke_one(session, principal.id, CredentialKind.TOKEN, key)
    chain.record(session, principal, "token.revoke", f"token:{key}")
