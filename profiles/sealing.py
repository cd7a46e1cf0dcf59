"""The passwords in stored policies: sealed in the row, opened for a compiler, three dots for people. Stores nothing."""

import base64
from collections.abc import Mapping
from typing import Any

from mdm import vault
from mdm.errors import Misconfigured
from profiles.policy import PolicyDocument, read
from profiles.sections import HIDDEN

_PURPOSE = "policy.secret"


def sealed(document: PolicyDocument) -> dict[str, Any]:
    """The document as a row holds it: each secret is `{"sealed": …}`, different bytes each time."""
    return document.body(secrets=_seal)


def opened(stored: Mapping[str, Any]) -> PolicyDocument:
    """Read a stored document with its secrets; `Misconfigured` without the key that sealed them."""
    return read(stored, unseal=_unseal)


def plain(document: PolicyDocument) -> dict[str, Any]:
    """The document with its secrets in the open: to send it on or to compare it, never to show or keep it."""
    return document.body(secrets=str)


def hidden(stored: Any) -> Any:
    """A stored document, or a part of it, for people to see."""
    if isinstance(stored, Mapping):
        if stored.keys() == {"sealed"}:
            return HIDDEN
        return {key: hidden(part) for key, part in stored.items()}
    return [hidden(part) for part in stored] if isinstance(stored, list) else stored


def _seal(secret: str) -> dict[str, str]:
    return {"sealed": base64.b64encode(vault.seal(_PURPOSE, secret.encode())).decode()}


def _unseal(text: str) -> str:
    try:
        return vault.unseal(_PURPOSE, base64.b64decode(text, validate=True)).decode()
    except ValueError:
        raise Misconfigured("a sealed secret of a policy does not open") from None
