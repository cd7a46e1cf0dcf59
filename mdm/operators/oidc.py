"""The conversation with an identity provider (OpenID Connect, code flow with PKCE). Network and checks: no database.

What comes back is believed only if the provider signed it for us, for this sign-in, in time, and for our own tenant.
"""

import base64
import hashlib
import hmac
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

import httpx2
import jwt
import structlog

from mdm.errors import MdmError, Misconfigured, NotFound
from mdm.settings import OidcSettings, get_settings

_log = structlog.get_logger(__name__)
ALGORITHMS: Final = ("RS256", "PS256", "ES256")
"""Signatures with a public key only: none, and no shared secret that a public key could be passed off as."""
_LEEWAY_S: Final = 60
_KEPT_S: Final = 3600.0
"""How long what the provider says of itself is kept."""
_ASKED_EVERY_S: Final = 60.0
"""A signature by an unknown key makes us ask for the keys again, but not more often than this."""
_LONGEST: Final = 256 * 1024
CALLBACK: Final = "/api/v1/session/oidc/callback"


class ProviderFailed(MdmError):
    """The identity provider does not answer, or not as one."""

    status = HTTPStatus.BAD_GATEWAY
    slug = "identity-provider-failed"


class NotBelieved(MdmError):
    """What came back from the identity provider proves nothing here."""

    status = HTTPStatus.UNAUTHORIZED
    slug = "unauthenticated"


@dataclass(frozen=True, slots=True)
class Provider:
    """What a provider says of itself (discovery)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    names_itself: bool
    """It promises `iss` in its answers to the browser (RFC 9207)."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """Who somebody is, in the provider's checked words."""

    issuer: str
    subject: str
    values: frozenset[str]
    """All values of the claims that name roles and schools."""
    preferred_name: str
    """Only a hint for a name here; it may pass to somebody else."""
    asked_for_two: bool
    signed_in_at: datetime | None
    """When the person last proved to be there, if the provider says."""


def settings() -> OidcSettings:
    """Return the provider's settings; `NotFound` where there is none."""
    found = get_settings().oidc
    if not found.issuer or not found.client_id:
        raise NotFound("no identity provider is set up here")
    return found


class _Known:
    """The provider's own words and keys, kept for a while by this process."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._lock = threading.Lock()
        self._provider: Provider | None = None
        self._keys: dict[str, jwt.PyJWK] = {}
        self._read_at = self._keys_read_at = float("-inf")

    def provider(self) -> Provider:
        """Return what the provider says of itself, asking it at most once an hour."""
        with self._lock:
            if self._provider is None or time.monotonic() > self._read_at + _KEPT_S:
                self._provider, self._read_at = _discover(self._issuer), time.monotonic()
            return self._provider

    def key(self, key_id: str) -> jwt.PyJWK | None:
        """Return a key by its name; one that is not known yet may be new, so the provider is asked again."""
        provider = self.provider()
        with self._lock:
            age = time.monotonic() - self._keys_read_at
            if age > _KEPT_S or (key_id not in self._keys and age > _ASKED_EVERY_S):
                self._keys, self._keys_read_at = _fetch_keys(provider), time.monotonic()
            return self._keys.get(key_id)


@lru_cache(maxsize=4)
def known(issuer: str) -> _Known:
    """Return what this process knows of a provider."""
    return _Known(issuer)


@lru_cache(maxsize=2)
def _trust(ca_file: str | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file)


def _ask(method: str, url: str, **options: Any) -> Any:
    """Return a small JSON document of the provider; `ProviderFailed` for anything else. Follows no redirect."""
    ca_file = get_settings().oidc.ca_file
    try:
        trust = _trust(str(ca_file) if ca_file else None)
        with httpx2.Client(timeout=10, verify=trust, follow_redirects=False) as client:
            answer = client.request(method, url, **options)
            if not answer.is_success or len(answer.content) > _LONGEST:
                raise ProviderFailed(f"the identity provider answered {answer.status_code}")
            document = answer.json()
    except (httpx2.HTTPError, OSError, ValueError):
        raise ProviderFailed("the identity provider does not answer, or not in JSON") from None
    if not isinstance(document, dict):
        raise ProviderFailed("the identity provider's answer is not what it should be")
    return document


def _discover(issuer: str) -> Provider:
    document = _ask("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if document.get("issuer") != issuer:
        raise ProviderFailed("the identity provider names itself otherwise than the setting oidc.issuer does")
    urls = {name: document.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")}
    scheme = issuer.partition("://")[0]
    if not all(isinstance(url, str) and url.startswith((f"{scheme}://", "https://")) for url in urls.values()):
        raise ProviderFailed("the identity provider names addresses that are not https")
    return Provider(**urls, names_itself=document.get("authorization_response_iss_parameter_supported") is True)


def _fetch_keys(provider: Provider) -> dict[str, jwt.PyJWK]:
    keys: dict[str, jwt.PyJWK] = {}
    for each in _ask("GET", provider.jwks_uri).get("keys", []):
        try:
            if each.get("use", "sig") == "sig" and each.get("kty") in ("RSA", "EC"):
                keys[str(each["kid"])] = jwt.PyJWK(each)
        except (jwt.PyJWTError, KeyError, AttributeError, TypeError):
            continue  # a key of a kind that is not ours to use
    return keys


def _redirect_uri() -> str:
    return get_settings().operator_url.rstrip("/") + CALLBACK


def way_there(provider: Provider, *, state: str, nonce: str, verifier: str, anew: bool) -> str:
    """Return where to send the browser; `anew` has the provider ask the person again, however lately it did."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code",
        "client_id": settings().client_id,
        "redirect_uri": _redirect_uri(),
        "scope": "openid profile",
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    if anew:
        query |= {"prompt": "login", "max_age": "0"}
    joint = "&" if "?" in provider.authorization_endpoint else "?"
    return provider.authorization_endpoint + joint + urlencode(query)


def redeem(provider: Provider, *, code: str, verifier: str, nonce: str) -> Vouched:
    """Exchange the browser's code for the provider's word, and check it; `NotBelieved` or `ProviderFailed`."""
    ours = settings()
    body = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": _redirect_uri(),
        "client_id": ours.client_id,
        "code_verifier": verifier,
    }
    auth = None
    if ours.client_secret_file is not None:
        auth = httpx2.BasicAuth(ours.client_id, _secret(ours))
    answer = _ask("POST", provider.token_endpoint, data=body, auth=auth)
    return believe(str(answer.get("id_token", "")), nonce=nonce)


def _secret(ours: OidcSettings) -> str:
    assert ours.client_secret_file is not None
    try:
        return ours.client_secret_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Misconfigured(f"oidc.client_secret_file {ours.client_secret_file}: {error.strerror}") from None


def believe(token: str, *, nonce: str) -> Vouched:
    """Return what a signed token says of a person, if it is the provider's, for us, for this sign-in and in time."""
    ours = settings()
    try:
        header = jwt.get_unverified_header(token)
        key = known(ours.issuer).key(str(header.get("kid", "")))
        if key is None or header.get("alg") not in ALGORITHMS:
            raise jwt.InvalidTokenError("key")
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=list(ALGORITHMS),
            audience=ours.client_id,
            issuer=ours.issuer,
            leeway=_LEEWAY_S,
            options={"require": ["exp", "iat", "iss", "aud", "sub"], "strict_aud": True},
        )
    except jwt.PyJWTError as error:
        raise _disbelieved(type(error).__name__) from None
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
        raise _disbelieved("nonce")
    if claims.get("azp", ours.client_id) != ours.client_id:
        raise _disbelieved("azp")
    if ours.tenant is not None and claims.get("tid") != ours.tenant:
        raise _disbelieved("tid")
    return _read(claims, ours)


def _read(claims: Mapping[str, Any], ours: OidcSettings) -> Vouched:
    subject = claims.get("oid" if ours.tenant is not None else "sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= 255:
        raise _disbelieved("subject")
    said = claims.get("auth_time")
    methods = claims.get("amr")
    return Vouched(
        issuer=ours.issuer,
        subject=subject,
        values=frozenset(value for claim in ours.role_claims for value in _texts(claims.get(claim))),
        preferred_name=str(claims.get("preferred_username") or "")[:200],
        asked_for_two=ours.asks_for_two or "mfa" in _texts(methods),
        signed_in_at=datetime.fromtimestamp(said, UTC) if isinstance(said, int) and 0 < said < 2**33 else None,
    )


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _disbelieved(why: str) -> NotBelieved:
    # Why goes into the log, not to whoever is trying.
    _log.warning("identity_not_believed", reason=why)
    return NotBelieved("what the identity provider sent is not believed; begin the sign-in again")
