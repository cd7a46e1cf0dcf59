"""Secrets at rest: AES-256-GCM under a keyed file, with the key's id in front. Never logs what it seals or opens."""

import base64
import os
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from mdm.errors import Misconfigured
from mdm.settings import get_settings

_NONCE_BYTES = 12


def new_key_line(key_id: str = "k1") -> str:
    """Return one line for the secret key file: an id and 32 fresh random bytes in base64."""
    return f"{key_id}:{base64.b64encode(os.urandom(32)).decode()}\n"


@lru_cache(maxsize=4)
def _keys(path: Path) -> dict[bytes, AESGCM]:
    return {key_id: AESGCM(key) for key_id, key in _raw_keys(path).items()}


@lru_cache(maxsize=4)
def _raw_keys(path: Path) -> dict[bytes, bytes]:
    try:
        lines = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise Misconfigured(f"secret_key_file {path}: {error.strerror}") from None
    keys: dict[bytes, bytes] = {}
    for line in lines:
        key_id, _, encoded = line.partition(":")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        if len(key) != 32 or not 0 < len(key_id) < 32:
            raise Misconfigured(f"secret_key_file {path}: each line must be `id:` and 32 bytes in base64")
        keys[key_id.encode()] = key
    if not keys:
        raise Misconfigured(f"secret_key_file {path} is empty")
    return keys


def seal(purpose: str, plain: bytes) -> bytes:
    """Encrypt `plain` for one purpose (e.g. `holder.name`); it is authenticated, so columns cannot be swapped."""
    keys = _keys(get_settings().secret_key_file)
    key_id, key = next(iter(keys.items()))
    nonce = os.urandom(_NONCE_BYTES)
    return bytes([len(key_id)]) + key_id + nonce + key.encrypt(nonce, plain, purpose.encode())


def unseal(purpose: str, sealed: bytes) -> bytes:
    """Decrypt what `seal` made for the same purpose; `Misconfigured` without its key or for bytes that are not ours."""
    keys = _keys(get_settings().secret_key_file)
    length = sealed[0] if sealed else 0
    key = keys.get(sealed[1 : 1 + length])
    if key is None:
        raise Misconfigured("a sealed value names a key that the secret key file does not hold")
    start = 1 + length
    try:
        return key.decrypt(sealed[start : start + _NONCE_BYTES], sealed[start + _NONCE_BYTES :], purpose.encode())
    except InvalidTag:
        raise Misconfigured("a sealed value does not open with the key it names") from None


def present_key() -> str:
    """Return the id of the key that seals now: the first line of the file."""
    return next(iter(_raw_keys(get_settings().secret_key_file))).decode()


def derived_key(purpose: str, key_id: str, *, file: Path | None = None) -> bytes | None:
    """Return 32 bytes for one purpose from a key of the file (HKDF-SHA-256, RFC 5869); None when it is not there.

    The file is the settings' unless one is given: who verifies far from this house has no settings.
    """
    return _derived(file or get_settings().secret_key_file, purpose, key_id)


@lru_cache(maxsize=32)
def _derived(path: Path, purpose: str, key_id: str) -> bytes | None:
    key = _raw_keys(path).get(key_id.encode())
    if key is None:
        return None
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=f"tabane:{purpose}".encode()).derive(key)
