"""The approver's private key on this machine: an Ed25519 key in a file that a passphrase opens. Sends it nowhere."""

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from mdm.cli.client import credentials_file
from mdm.errors import Conflict, Forbidden, Misconfigured

_COST = 2**16
"""scrypt's n: some 64 MiB and a fifth of a second for each guess at the passphrase."""
SHORTEST = 12


def file() -> Path:
    """Return where the key lies: beside the kept session; only its owner may read either."""
    return credentials_file().with_name("approver-key.json")


@contextmanager
def made(passphrase: str) -> Iterator[Ed25519PrivateKey]:
    """Make a key, and keep it if the block ends well; `Conflict` when there is one, which would be lost."""
    key = _make(passphrase)
    try:
        yield key
    except BaseException:
        file().unlink(missing_ok=True)
        raise


def _make(passphrase: str) -> Ed25519PrivateKey:
    if len(passphrase) < SHORTEST:
        raise Forbidden(f"the passphrase must have at least {SHORTEST} characters")
    target = file()
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = Ed25519PrivateKey.generate()
    salt, nonce = os.urandom(16), os.urandom(12)
    sealed = _cipher(passphrase, salt).encrypt(nonce, key.private_bytes_raw(), b"tabane approver key")
    parts = {"salt": salt, "nonce": nonce, "sealed": sealed, "public_key": key.public_key().public_bytes_raw()}
    try:
        stream = os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
    except FileExistsError:
        raise Conflict(f"there is a key already, in {target}: revoke it and move it away first") from None
    with stream:
        json.dump({name: b64encode(part).decode() for name, part in parts.items()}, stream)
    return key


def public_key() -> bytes:
    """Return the public half, which needs no passphrase."""
    return _parts()["public_key"]


def unlock(passphrase: str) -> Ed25519PrivateKey:
    """Return the key; `Forbidden` for a wrong passphrase."""
    parts = _parts()
    try:
        raw = _cipher(passphrase, parts["salt"]).decrypt(parts["nonce"], parts["sealed"], b"tabane approver key")
    except InvalidTag:
        raise Forbidden("the passphrase does not open the key") from None
    return Ed25519PrivateKey.from_private_bytes(raw)


def _parts() -> dict[str, bytes]:
    try:
        kept = json.loads(file().read_text())
        return {name: b64decode(kept[name]) for name in ("salt", "nonce", "sealed", "public_key")}
    except FileNotFoundError:
        raise Misconfigured("there is no approver key on this machine: make one with `tabane key new`") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise Misconfigured(f"the approver key in {file()} cannot be read") from None


def _cipher(passphrase: str, salt: bytes) -> AESGCM:
    return AESGCM(Scrypt(salt=salt, length=32, n=_COST, r=8, p=1).derive(passphrase.encode()))
