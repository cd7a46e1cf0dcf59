"""Sign-in by the identity provider: the browser's way there and back, and on to a program. No network in transactions.

The way back comes from another site, so the session's own cookie is not with it: a cookie of the ceremony is.
"""

import base64
import hashlib
import hmac
import html
import re
import secrets
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import Field
from sqlmodel import Session

from mdm import clock, db
from mdm.api.problems import refusal
from mdm.audit import chain
from mdm.auth import credentials
from mdm.auth.access import BearerDep, client_address, cookie_name, secret_of
from mdm.auth.models import Operator
from mdm.auth.principal import FRESH_FOR_A, Factor
from mdm.auth.rights import Action
from mdm.db import SessionDep
from mdm.errors import Invalid, MdmError, Unauthenticated
from mdm.operators import accounts, ceremonies, identities, oidc, signin
from mdm.operators.answers import Body, SignedIn, hand_over, set_session_cookie
from mdm.operators.ceremonies import Kind
from mdm.operators.oidc import NotBelieved, Vouched

router = APIRouter(prefix="/api/v1", tags=["operators"])
_PLACE = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]{0,500}")
"""A place on this very site: one slash, then neither a second one nor anything a browser reads as one."""
_CHALLENGE = r"^[A-Za-z0-9_-]{43}$"


def _ceremony_cookie() -> str:
    return cookie_name() + "-sso"


@router.get(
    "/session/oidc",
    operation_id="signInElsewhere",
    summary="Sign in by the identity provider",
    status_code=HTTPStatus.FOUND,
    response_class=RedirectResponse,
)
def sign_in_elsewhere(
    request: Request,
    bearer: BearerDep,
    *,
    next_: Annotated[str, Query(alias="next", max_length=501, description="Where to go, on this site.")] = "/",
    step_up: Annotated[bool, Query(description="Prove again, for the session that the request carries.")] = False,
    port: Annotated[int | None, Query(ge=1024, le=65535, description="Where a program on this machine waits.")] = None,
    challenge: Annotated[str | None, Query(pattern=_CHALLENGE, description="S256 of the program's secret.")] = None,
) -> Response:
    """Send the browser to the identity provider, which sends it back to the callback within ten minutes."""
    if not _PLACE.fullmatch(next_):
        raise Invalid("that is no place here", errors=[{"pointer": "?next", "detail": "a path of this site"}])
    if (port is None) != (challenge is None):
        raise Invalid("a program gives both", errors=[{"pointer": "?challenge", "detail": "port and challenge"}])
    signin.start_throttle.attempt("oidc", client_address(request))
    provider = oidc.known(oidc.settings().issuer).provider()
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    content: dict[str, Any] = {"state": state, "nonce": nonce, "verifier": verifier, "next": next_}
    content |= {"port": port, "challenge": challenge, "session": None}
    operator_id = None
    with db.transaction() as session:
        if step_up:
            secret = secret_of(request, bearer)
            principal = credentials.authenticate(session, secret) if secret else None
            if secret is None or principal is None:
                raise Unauthenticated("sign in first: no valid session")
            principal.must(Action.CHANGE_SELF)
            operator_id = principal.id
            content["session"] = credentials.digest(secret).hex()
        handle = ceremonies.begin(session, Kind.SSO, content, operator_id=operator_id)
    way = oidc.way_there(provider, state=state, nonce=nonce, verifier=verifier, anew=step_up)
    response = RedirectResponse(way, status_code=HTTPStatus.FOUND)
    name = _ceremony_cookie()
    # Lax: the browser comes back by a link of the provider's.
    response.set_cookie(
        name, handle, max_age=600, httponly=True, secure=name.startswith("__Host-"), samesite="lax", path="/"
    )
    return response


@router.get("/session/oidc/callback", operation_id="comeBack", summary="The way back from the identity provider")
def come_back(
    request: Request,
    *,
    state: Annotated[str, Query(max_length=200)] = "",
    code: Annotated[str, Query(max_length=4000)] = "",
    iss: Annotated[str | None, Query(max_length=500, description="Who answers (RFC 9207).")] = None,
    error: Annotated[str | None, Query(max_length=200, description="Why the provider let nobody in.")] = None,
) -> Response:
    """Check what the provider says, and open (or prove anew) a session."""
    with db.transaction() as session:
        begun = ceremonies.end(session, Kind.SSO, request.cookies.get(_ceremony_cookie(), ""))
    told = begun.content
    if not hmac.compare_digest(state.encode(), str(told["state"]).encode()):
        raise NotBelieved("this answer belongs to another sign-in; begin again")
    if error is not None or not code:
        raise NotBelieved("the identity provider let nobody in")
    provider = oidc.known(oidc.settings().issuer).provider()
    if iss != oidc.settings().issuer and (iss is not None or provider.names_itself):
        raise NotBelieved("this answer is another identity provider's")
    vouched = oidc.redeem(provider, code=code, verifier=told["verifier"], nonce=told["nonce"])
    with db.transaction() as session:
        if told["session"] is not None:
            outcome = _proved_anew(session, vouched, begun.operator_id, bytes.fromhex(told["session"]), told["next"])
        else:
            outcome = _arrived(request, session, vouched, told)
    response = refusal(request, outcome) if isinstance(outcome, MdmError) else outcome
    response.delete_cookie(_ceremony_cookie(), path="/", secure=cookie_name().startswith("__Host-"))
    return response


def _arrived(request: Request, session: Session, vouched: Vouched, told: dict[str, Any]) -> Response | MdmError:
    arrival = identities.receive(session, vouched)
    if arrival.operator is None:
        assert arrival.refusal is not None
        return arrival.refusal
    proved_at = vouched.signed_in_at.isoformat() if vouched.signed_in_at else None
    if told["port"] is not None:
        kept = {"challenge": told["challenge"], "factors": sorted(arrival.factors), "proved_at": proved_at}
        code = ceremonies.begin(session, Kind.HANDOFF, kept, operator_id=arrival.operator.id)
        return RedirectResponse(f"http://127.0.0.1:{told['port']}/?{urlencode({'code': code})}", HTTPStatus.FOUND)
    issued = accounts.open_session(
        session,
        arrival.operator,
        factors=arrival.factors,
        address=client_address(request),
        bearer=False,
        proved_at=vouched.signed_in_at,
    )
    return _onward(issued.secret, told["next"])


def _proved_anew(
    session: Session, vouched: Vouched, operator_id: int | None, former: bytes, place: str
) -> Response | MdmError:
    """Renew the session that began this; only for the same person, asked by the provider just now."""
    now = clock.now()
    lately = vouched.signed_in_at is not None and (now - vouched.signed_in_at).total_seconds() < FRESH_FOR_A * 60
    if identities.find(session, vouched) != operator_id or operator_id is None or not lately:
        return NotBelieved("that does not prove that it is you, now")
    operator = session.get_one(Operator, operator_id)
    factors = {Factor.SSO} | ({Factor.SSO_MFA} if vouched.asked_for_two else set())
    issued = credentials.renew(session, former, factors)
    chain.record(
        session,
        f"operator:{operator.name}",
        "session.step_up",
        f"operator:{operator.name}",
        {"factors": sorted(factors)},
    )
    return _onward(issued.secret, place)


def _onward(secret: str, place: str) -> Response:
    """Go on by a page of our own: a redirect would still count as the other site's, and the new cookie stay behind."""
    target = html.escape(place, quote=True)
    page = f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={target}"><title>…</title>'
    response = HTMLResponse(page)
    set_session_cookie(response, secret)
    return response


class Handoff(Body):
    """What a program got from the browser, and the secret whose hash it had sent ahead."""

    code: str = Field(max_length=200)
    verifier: str = Field(min_length=43, max_length=128)


@router.post("/session/handoff", operation_id="takeOver", summary="Sign a program in", response_model=SignedIn)
def take_over(body: Handoff, request: Request, session: SessionDep) -> Response:
    """Open the session of a program whose person has signed in with a browser on the same machine."""
    signin.start_throttle.attempt("handoff", client_address(request))
    ended = ceremonies.end(session, Kind.HANDOFF, body.code)
    hashed = base64.urlsafe_b64encode(hashlib.sha256(body.verifier.encode()).digest()).rstrip(b"=").decode()
    if not hmac.compare_digest(hashed, str(ended.content["challenge"])):
        # Returned: the code is spent.
        return refusal(request, NotBelieved("this sign-in was begun by another program"))
    operator = session.get_one(Operator, ended.operator_id)
    if operator.disabled_at is not None:
        return refusal(request, NotBelieved("this account is disabled"))
    said = ended.content["proved_at"]
    issued = accounts.open_session(
        session,
        operator,
        factors=frozenset(Factor(each) for each in ended.content["factors"]),
        address=client_address(request),
        bearer=True,
        proved_at=datetime.fromisoformat(said) if said else None,
    )
    return hand_over(session, issued, bearer=True)
