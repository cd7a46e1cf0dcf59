"""One account's line to its carrier: address, secret, pace, and what HTTP's failures mean. Knows no carrier."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

import httpx2

from mdm.cellular.carriers.values import Busy, Denied, Refused, Unreachable

_WAIT_S: Final = 30.0
"""What is waited after a 429 without Retry-After."""
_LONGEST_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Token:
    """A session with the carrier, and until when by `time.monotonic()`."""

    value: Mapping[str, str] = field(repr=False)
    until: float


@dataclass(slots=True)
class Connection:
    """What an adapter asks with. `pace` is called before each request, waits, and may raise `Busy`."""

    http: httpx2.Client
    """With the account's base address, time-outs, and without following redirects."""
    secret: Mapping[str, str] = field(repr=False)
    options: Mapping[str, Any]
    billing_tz: str
    usage_tz: str
    cycle_anchor_day: int
    pace: Callable[[], None]
    token: Token | None = field(default=None, repr=False)

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Send one request and return its answer if it is a success; `CarrierError` says what else it was."""
        self.pace()
        try:
            answer = self.http.request(method, path, params=params, json=json, headers=headers)
        except httpx2.HTTPError as error:
            raise Unreachable(f"no answer: {type(error).__name__}") from None
        return checked(answer)

    def session(self, sign_in: Callable[[], Token]) -> Token:
        """Return the session that is open, or a new one; it ends a minute before the carrier ends it."""
        if self.token is None or self.token.until - 60 < time.monotonic():
            self.token = sign_in()
        return self.token

    def may_show_secrets_to(self, url: str) -> bool:
        """Whether an address that is not below the account's may be asked: https, or where the account itself is."""
        try:
            place = httpx2.URL(url)
        except httpx2.InvalidURL:
            return False
        own = self.http.base_url
        return place.scheme == "https" or (place.scheme, place.host, place.port) == (own.scheme, own.host, own.port)

    def ask_signed_in(
        self,
        sign_in: Callable[[], Token],
        headers_of: Callable[[Token], Mapping[str, str]],
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
    ) -> httpx2.Response:
        """Ask within a session. One that the carrier no longer knows (401) is replaced once: nothing was done."""
        try:
            return self.ask(method, path, params=params, json=json, headers=headers_of(self.session(sign_in)))
        except _NotSignedIn:
            if self.token is None:  # it was the signing in that was refused
                raise
            self.token = None
        return self.ask(method, path, params=params, json=json, headers=headers_of(self.session(sign_in)))


class _NotSignedIn(Denied):
    """A 401: of the two that are `Denied` the one that a new session may cure."""


def checked(answer: httpx2.Response) -> httpx2.Response:
    """Return an answer that is a success, and raise what any other means."""
    status = answer.status_code
    if answer.is_success:
        return answer
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        raise Busy(f"asked to wait ({status})", _retry_after(answer.headers.get("Retry-After", "")))
    if status == HTTPStatus.UNAUTHORIZED:
        raise _NotSignedIn(f"not let in ({status})")
    if status == HTTPStatus.FORBIDDEN:
        raise Denied(f"not let in ({status})")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.is_redirect:
        raise Unreachable(f"a broken answer ({status})")
    raise Refused(f"refused ({status})")


def _retry_after(value: str) -> float:
    """Read seconds or a date (RFC 9110 §10.2.3)."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError):
            seconds = _WAIT_S
    return min(max(seconds, 1.0), _LONGEST_S)
