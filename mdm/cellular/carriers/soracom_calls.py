"""SORACOM's calls: signing in, and asking within the session. Judges nothing."""

import time
from collections.abc import Mapping
from typing import Any, Final

import httpx2
from pydantic import TypeAdapter

from mdm.cellular.carriers.connection import Connection, Token
from mdm.cellular.carriers.reading import Wire, option, read, secret

_TOKEN_S: Final = 3600


class _Auth(Wire):
    api_key: str
    token: str
    operator_id: str


_AUTH: Final = TypeAdapter(_Auth)


def ask(
    connection: Connection, method: str, path: str, *, params: Mapping[str, Any] | None = None, json: Any = None
) -> httpx2.Response:
    """Ask with the session's key and token, signing in first where there is none."""
    return connection.ask_signed_in(lambda: _sign_in(connection), _headers, method, path, params=params, json=json)


def _sign_in(connection: Connection) -> Token:
    key_id, key = secret(connection.secret, "authKeyId", "authKey")
    asked_at = time.monotonic()
    body = {"authKeyId": key_id, "authKey": key, "tokenTimeoutSeconds": _TOKEN_S}
    found = read(_AUTH, connection.ask("POST", "/auth", json=body))
    return Token({"key": found.api_key, "token": found.token, "operator": found.operator_id}, asked_at + _TOKEN_S)


def _headers(token: Token) -> Mapping[str, str]:
    return {"X-Soracom-API-Key": token.value["key"], "X-Soracom-Token": token.value["token"]}


def operator(connection: Connection) -> str:
    """Return the account's operator id: an option, or what signing in has told."""
    named = option(connection.options, "operator_id")
    if named:
        return named
    return connection.session(lambda: _sign_in(connection)).value["operator"]
