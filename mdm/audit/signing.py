"""The keys of checkpoints: Ed25519 in PEM files. Who only verifies needs the public ones. Knows no table."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from mdm.errors import Misconfigured

_END = b"-----END PUBLIC KEY-----\n"
PublicKeys = Mapping[str, Ed25519PublicKey]


def id_of(key: Ed25519PublicKey) -> str:
    """Return a public key's id: the first half of its SHA-256, in hexadecimal."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:32]


def pem_of(key: Ed25519PublicKey) -> str:
    """Return a public key as other tools read it."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def make(private: Path, public: Path) -> str:
    """Make a key in a new file, add its public half to the file of public keys, and return its id."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(pem)
        with public.open("ab") as stream:
            stream.write(pem_of(key.public_key()).encode())
    except OSError as error:
        raise Misconfigured(f"signing key {error.filename}: {error.strerror}") from None
    return id_of(key.public_key())


def private_key(file: Path) -> Ed25519PrivateKey:
    """Read the key that signs."""
    try:
        key = load_pem_private_key(file.read_bytes(), password=None)
    except OSError as error:
        raise Misconfigured(f"signing key {file}: {error.strerror}") from None
    except (ValueError, TypeError):
        raise Misconfigured(f"signing key {file} is no private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise Misconfigured(f"signing key {file} is no Ed25519 key")
    return key


def public_keys(file: Path) -> dict[str, Ed25519PublicKey]:
    """Read every public key of a file, by id."""
    found: dict[str, Ed25519PublicKey] = {}
    try:
        for part in file.read_bytes().split(_END):
            if part.strip():
                key = load_pem_public_key(part + _END)
                if not isinstance(key, Ed25519PublicKey):
                    raise Misconfigured(f"public keys {file}: one is no Ed25519 key")
                found[id_of(key)] = key
    except OSError as error:
        raise Misconfigured(f"public keys {file}: {error.strerror}") from None
    except ValueError:
        raise Misconfigured(f"public keys {file}: one is no public key in PEM") from None
    return found


def is_signed(keys: PublicKeys, key_id: str, signature: bytes, statement: bytes) -> bool:
    """Say whether one of these keys signed the statement."""
    key = keys.get(key_id)
    if key is None:
        return False
    try:
        key.verify(signature, statement)
    except InvalidSignature:
        return False
    return True
