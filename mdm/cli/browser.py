"""Signing in with this machine's browser: it comes back to a port that only this machine reaches. Keeps nothing.

As RFC 8252 has it for programs: what comes back is a code, good once and only with a secret that never left here.
"""

import base64
import hashlib
import secrets
import time
import webbrowser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from mdm.cli.client import Client, fail

_PATIENCE_S = 600.0
_PAGE = "<!doctype html><meta charset=utf-8><title>Tabane</title><p>You can close this page. / 閉じてかまいません。"


class _Ear(HTTPServer):
    """Waits for the browser on a free port of this machine."""

    code = ""


class _Heard(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Take the code; anything else that knocks is shown nothing."""
        code = parse_qs(urlsplit(self.path).query).get("code", [""])[0]
        assert isinstance(self.server, _Ear)
        self.server.code = self.server.code or code
        self.send_response(HTTPStatus.OK if code else HTTPStatus.NOT_FOUND)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        if code:
            self.wfile.write(_PAGE.encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        """Say nothing: the line would hold the code."""


def sign_in(url: str) -> dict[str, Any]:
    """Return the session that a person opens with the browser, or end the command after ten minutes."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    with _Ear(("127.0.0.1", 0), _Heard) as ear:
        query = urlencode({"port": ear.server_port, "challenge": challenge})
        address = f"{url.rstrip('/')}/api/v1/session/oidc?{query}"
        print(f"Sign in with the browser: {address}", flush=True)
        webbrowser.open(address)
        until = time.monotonic() + _PATIENCE_S
        while not ear.code and time.monotonic() < until:
            ear.timeout = max(0.1, until - time.monotonic())
            ear.handle_request()
        if not ear.code:
            fail("nobody signed in with the browser in time")
        client = Client(url, "")
        try:
            answer: dict[str, Any] = client.post("/api/v1/session/handoff", {"code": ear.code, "verifier": verifier})
        finally:
            client.close()
    return answer
