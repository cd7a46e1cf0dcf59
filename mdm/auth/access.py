"""The operators' edge of HTTP: from a request to a principal of a certain role. Not for the tablets' doors."""

from ipaddress import ip_address, ip_network
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from mdm.auth import credentials
from mdm.auth.principal import Principal
from mdm.auth.rights import RIGHTS, Action
from mdm.db import SessionDep
from mdm.errors import Forbidden, Unauthenticated
from mdm.settings import get_settings

_bearer = HTTPBearer(auto_error=False, description="A session or an API token.")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LONGEST_SECRET = 200


def cookie_name() -> str:
    """Return the session cookie's name: bound to host, path and TLS wherever the console is served over https."""
    return "__Host-tabane" if get_settings().operator_url.startswith("https://") else "tabane"


def refuse_cross_site(request: Request) -> None:
    """Refuse a state-changing request that a page of another origin made the browser send (CSRF).

    Browsers say where a request comes from in Sec-Fetch-Site, older ones in Origin; a cookie with neither is refused.
    """
    if request.method in _SAFE_METHODS:
        return
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site == "same-origin":
            return
    else:
        origin = request.headers.get("origin", "")
        own = get_settings().operator_url.rstrip("/")
        if origin and origin in (own, f"{request.url.scheme}://{request.headers.get('host', '')}"):
            return
    raise Forbidden("this request did not come from the console's own pages")


def client_address(request: Request) -> str:
    """Return where a request comes from: the peer, or what a proxy that the settings name says of its own peer."""
    peer = request.client.host if request.client else ""
    told = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    return told[:64] if told and _is_proxy(peer) else peer


def _is_proxy(peer: str) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    named = get_settings().apple.client_cert_proxies
    return any(address in ip_network(network, strict=False) for network in named)


def secret_of(request: Request, bearer: HTTPAuthorizationCredentials | None) -> str | None:
    """Return the secret a request presents; a cookie counts only for requests from our own pages."""
    if bearer is not None:
        return bearer.credentials[:_LONGEST_SECRET]
    cookie = request.cookies.get(cookie_name())
    if cookie is None:
        return None
    refuse_cross_site(request)
    return cookie[:_LONGEST_SECRET]


def _signed_in(
    request: Request,
    session: SessionDep,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Principal:
    secret = secret_of(request, bearer)
    principal = credentials.authenticate(session, secret) if secret else None
    if principal is None:
        raise Unauthenticated("sign in first: no valid session or token")
    return principal


SignedIn = Annotated[Principal, Depends(_signed_in)]
"""Whoever has signed in, before it is asked what for: a route names its action with `may` instead."""


class Guard:
    """The dependency that lets a principal into a route, or refuses it."""

    def __init__(self, *actions: Action) -> None:
        self.actions = actions

    def __call__(self, request: Request, principal: SignedIn) -> Principal:
        """Return the principal if the table gives it one of the actions; what changes something is paid for first."""
        given = [action for action in self.actions if principal.may(action)]
        # The mildest: what else it needs is the rule's to ask, once it knows what the body is about.
        action = min(given or self.actions, key=lambda action: RIGHTS[action].safety.needs_a_person)
        principal.must(action)
        if request.method not in _SAFE_METHODS:
            request.app.state.spend_act(principal, action)
        return principal


def may(action: Action, *others: Action) -> Guard:
    """Return the dependency of a route that does `action`: `principal: Annotated[Principal, Depends(may(Action.X))]`.

    Raises `Forbidden` unless the table of rights (`mdm.auth.rights`) lets the principal do it. Where several are named
    one of them opens the route, and the rule behind it asks for the one that the body is about.
    """
    return Guard(action, *others)


BearerDep = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
"""The presented bearer secret, for signing out."""
