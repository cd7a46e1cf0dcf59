"""Secrets among a command's arguments: sealed at rest, opened only where the command is encoded for its tablet."""

import base64
import binascii

from mdm import vault
from mdm.errors import Misconfigured

_PURPOSE = "command.argument"


def seal_argument(plain: bytes) -> str:
    """Return the form in which a secret argument is kept in `Command.arguments`: sealed, in base64."""
    return base64.b64encode(vault.seal(_PURPOSE, plain)).decode()


def open_argument(kept: str) -> bytes:
    """Return what `seal_argument` was given; `Misconfigured` without the key or for anything else."""
    try:
        sealed = base64.b64decode(kept, validate=True)
    except (binascii.Error, ValueError):
        raise Misconfigured("a sealed argument is not base64") from None
    return vault.unseal(_PURPOSE, sealed)
