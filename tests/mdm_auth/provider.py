"""A real OpenID provider in process: Authlib's server (PKCE, redirect address, client secret, codes good once).

It shares no code with ours. `forge` changes what it signs, for tests of what must not be believed.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, grants
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import OpenIDCode, UserInfo
from flask import Flask, jsonify, request
from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server

TENANT = "7c3a5e0e-1111-4b7e-9a54-000000000001"
CLIENT = "tabane-console"
SECRET = "an invented client secret"


@dataclass
class _Client(ClientMixin):
    redirect_uri: str
    secret: str

    def get_client_id(self):
        return CLIENT

    def get_default_redirect_uri(self):
        return None

    def get_allowed_scope(self, scope):
        return scope

    def check_redirect_uri(self, redirect_uri):
        return redirect_uri == self.redirect_uri

    def check_client_secret(self, client_secret):
        return client_secret == self.secret

    def check_endpoint_auth_method(self, method, _endpoint):
        return method == "client_secret_basic"

    def check_response_type(self, response_type):
        return response_type == "code"

    def check_grant_type(self, grant_type):
        return grant_type == "authorization_code"


@dataclass
class _Code(AuthorizationCodeMixin):
    code: str
    redirect_uri: str
    scope: str
    nonce: str | None
    code_challenge: str
    code_challenge_method: str
    user: dict[str, Any]
    auth_time: int | None

    def get_redirect_uri(self):
        return self.redirect_uri

    def get_scope(self):
        return self.scope

    def get_nonce(self):
        return self.nonce

    def get_auth_time(self):
        return self.auth_time

    def get_acr(self):
        return None

    def get_amr(self):
        return None


@dataclass
class Provider:
    """The provider and the person who sits before its page: `person` are the claims it vouches for."""

    redirect_uri: str
    person: dict[str, Any]
    forge: Callable[[dict[str, Any], RSAKey], str] | None = None
    """Makes the signed token in place of the provider."""
    says_when: bool = False
    """Tell when the person signed in, unasked; asked by `max_age` it always does."""
    url: str = ""
    keys: list[RSAKey] = field(default_factory=lambda: [new_key("k1")])
    """The newest last: it signs."""
    asked: list[dict[str, str]] = field(default_factory=list)
    keys_read: int = 0
    codes: dict[str, _Code] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"{self.url}/{TENANT}/v2.0"

    def sign(self, claims: dict[str, Any], key: RSAKey) -> str:
        return jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key)


def new_key(key_id: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": key_id, "use": "sig", "alg": "RS256"})


def _grants(provider: Provider, server: AuthorizationServer) -> None:
    class Codes(grants.AuthorizationCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)

        def save_authorization_code(self, code, request):
            given = request.payload.data
            timed = provider.says_when or "max_age" in given
            provider.codes[code] = _Code(
                code=code,
                redirect_uri=request.payload.redirect_uri,
                scope=request.payload.scope,
                nonce=given.get("nonce"),
                code_challenge=given["code_challenge"],
                code_challenge_method=given["code_challenge_method"],
                user=dict(provider.person),
                auth_time=int(time.time()) if timed else None,
            )

        def query_authorization_code(self, code, _client):
            return provider.codes.get(code)

        def delete_authorization_code(self, authorization_code):
            del provider.codes[authorization_code.code]

        def authenticate_user(self, authorization_code):
            return authorization_code.user

    class IdToken(OpenIDCode):
        def exists_nonce(self, nonce, _request):
            return any(code.nonce == nonce for code in provider.codes.values())

        def generate_user_info(self, user, _scope):
            return UserInfo(user)

        def encode_id_token(self, _token, request):
            code, now = request.authorization_code, int(time.time())
            claims = {"iss": provider.issuer, "aud": CLIENT, "iat": now, "exp": now + 600, "ver": "2.0"}
            claims |= self.get_authorization_code_claims(code) | request.user
            key = provider.keys[-1]
            return provider.forge(claims, key) if provider.forge else provider.sign(claims, key)

    server.register_grant(Codes, [CodeChallenge(required=True), IdToken(require_nonce=True)])


def _app(provider: Provider) -> Flask:
    app = Flask("provider")
    client = _Client(provider.redirect_uri, SECRET)
    server = AuthorizationServer(
        app,
        query_client=lambda client_id: client if client_id == CLIENT else None,
        save_token=lambda _token, _request: None,
    )
    _grants(provider, server)

    @app.get(f"/{TENANT}/v2.0/.well-known/openid-configuration")
    def discovery():
        document = {"issuer": provider.issuer, "authorization_response_iss_parameter_supported": False}
        for name, path in (("authorization_endpoint", "authorize"), ("token_endpoint", "token"), ("jwks_uri", "keys")):
            document[name] = f"{provider.url}/{path}"
        return jsonify(document)

    @app.get("/keys")
    def keys():
        provider.keys_read += 1
        return jsonify({"keys": [key.as_dict(private=False) for key in provider.keys]})

    @app.get("/authorize")
    def authorize():
        provider.asked.append(request.args.to_dict())
        return server.create_authorization_response(
            grant=server.get_consent_grant(end_user=provider.person), grant_user=provider.person
        )

    @app.post("/token")
    def token():
        return server.create_token_response()

    return app


@contextmanager
def running(provider: Provider) -> Iterator[Provider]:
    """Serve it on a port of this machine."""
    server = make_server("127.0.0.1", 0, _app(provider), threaded=True)
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
