"""The tablet's own CMS: sign (attached or detached), seal for a recipient, open, and read certificates. RFC 5652.

It checks what a server answers as strictly as a tablet would; it never shares code with the server it talks to.
"""

import base64
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.serialization import Encoding

from simulator.tablets.der import (
    CONTEXT_0,
    NULL,
    OCTET_STRING,
    SEQUENCE,
    SET,
    UTC_TIME,
    Node,
    NotDer,
    integer,
    octets,
    oid,
    parse,
    sequence,
    set_of,
    tlv,
)

DATA, SIGNED_DATA, ENVELOPED_DATA = (oid(f"1.2.840.113549.1.7.{last}") for last in (1, 2, 3))
CONTENT_TYPE, MESSAGE_DIGEST, SIGNING_TIME = (oid(f"1.2.840.113549.1.9.{last}") for last in (3, 4, 5))
SHA256 = oid("2.16.840.1.101.3.4.2.1")
RSA = oid("1.2.840.113549.1.1.1")
AES_128_CBC, AES_256_CBC = oid("2.16.840.1.101.3.4.1.2"), oid("2.16.840.1.101.3.4.1.42")
_RSA_ALGORITHM = sequence(RSA, tlv(NULL))
_SHA256_ALGORITHM = sequence(SHA256)


class BadMessage(ValueError):
    """A message of the server that a tablet would not accept."""


class Signer:
    """A certificate with its key, and what of it goes into each signature."""

    def __init__(self, certificate: x509.Certificate, key: RSAPrivateKey) -> None:
        self.certificate = certificate
        self.key = key
        self.der = certificate.public_bytes(Encoding.DER)

    @cached_property
    def sid(self) -> bytes:
        """IssuerAndSerialNumber."""
        return issuer_and_serial(self.certificate)

    @cached_property
    def client_cert(self) -> str:
        """The certificate as a proxy that ends TLS hands it on (RFC 9440 §2.1)."""
        return f":{base64.b64encode(self.der).decode()}:"


@dataclass(frozen=True, slots=True)
class Opened:
    """A SignedData whose signature holds."""

    content: bytes
    signer: x509.Certificate
    attributes: dict[bytes, Node]


def issuer_and_serial(certificate: x509.Certificate) -> bytes:
    """Return IssuerAndSerialNumber, which names a certificate in CMS."""
    return sequence(certificate.issuer.public_bytes(), integer(certificate.serial_number))


def sign(
    content: bytes,
    signer: Signer,
    *,
    attached: bool,
    at: datetime | None = None,
    attributes: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    """Return a SignedData by `signer` over `content`; `attributes` are pairs of encoded identifier and value."""
    moment = (at or datetime.now(UTC)).strftime("%y%m%d%H%M%SZ").encode()
    pairs = (
        (CONTENT_TYPE, DATA),
        (SIGNING_TIME, tlv(UTC_TIME, moment)),
        (MESSAGE_DIGEST, octets(hashlib.sha256(content).digest())),
        *attributes,
    )
    signed_attributes = set_of(*(sequence(name, set_of(value)) for name, value in pairs))
    signature = signer.key.sign(signed_attributes, PKCS1v15(), hashes.SHA256())
    info = sequence(
        integer(1),
        signer.sid,
        _SHA256_ALGORITHM,
        bytes((CONTEXT_0,)) + signed_attributes[1:],
        _RSA_ALGORITHM,
        octets(signature),
    )
    body = tlv(CONTEXT_0, octets(content)) if attached else b""
    signed = sequence(
        integer(1), set_of(_SHA256_ALGORITHM), sequence(DATA, body), tlv(CONTEXT_0, signer.der), set_of(info)
    )
    return sequence(SIGNED_DATA, tlv(CONTEXT_0, signed))


def certificates_in(message: bytes) -> list[x509.Certificate]:
    """Return the certificates that a SignedData carries, in their order."""
    signed = _content(message, SIGNED_DATA)
    bags = [node for node in signed.children if node.tag == CONTEXT_0]
    return [x509.load_der_x509_certificate(node.raw) for node in bags[0].children] if bags else []


def open_signed(message: bytes) -> Opened:
    """Check the one signature of a SignedData (RSA with SHA-256) and return what it holds."""
    try:
        signed = _content(message, SIGNED_DATA)
        inner = signed.child(2, SEQUENCE).children
        content = inner[1].child(0, OCTET_STRING).content if len(inner) > 1 else b""
        info = parse(signed.children[-1].content)
        raw = next(node.raw for node in info.children if node.tag == CONTEXT_0)
        attributes = {
            node.child(0).raw: node.child(1, SET).child(0) for node in parse(bytes((SET,)) + raw[1:]).children
        }
        signature = [node for node in info.children if node.tag == OCTET_STRING][-1].content
        signer = next(c for c in certificates_in(message) if issuer_and_serial(c) == info.child(1).raw)
    except (NotDer, StopIteration, IndexError) as error:
        raise BadMessage("the server's SignedData has a shape that a tablet does not know") from error
    if attributes[MESSAGE_DIGEST].content != hashlib.sha256(content).digest():
        raise BadMessage("the server's signature belongs to other content")
    key = signer.public_key()
    if not isinstance(key, RSAPublicKey):
        raise BadMessage("the server signs with a key that is not RSA")
    try:
        key.verify(signature, bytes((SET,)) + raw[1:], PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        raise BadMessage("the server's signature is wrong") from None
    return Opened(content, signer, attributes)


def seal(content: bytes, recipient: x509.Certificate) -> bytes:
    """Return an EnvelopedData for `recipient`: RSA PKCS#1 v1.5 key transport, AES-128-CBC."""
    public = recipient.public_key()
    if not isinstance(public, RSAPublicKey):
        raise BadMessage("the recipient's key is not RSA")
    key, start = secrets.token_bytes(16), secrets.token_bytes(16)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(AES(key), CBC(start)).encryptor()
    encrypted = encryptor.update(padder.update(content) + padder.finalize()) + encryptor.finalize()
    info = sequence(integer(0), issuer_and_serial(recipient), _RSA_ALGORITHM, octets(public.encrypt(key, PKCS1v15())))
    body = sequence(DATA, sequence(AES_128_CBC, octets(start)), tlv(0x80, encrypted))
    return sequence(ENVELOPED_DATA, tlv(CONTEXT_0, sequence(integer(0), set_of(info), body)))


def unseal(message: bytes, key: RSAPrivateKey) -> bytes:
    """Open an EnvelopedData that is for `key`: AES-128 or AES-256 in CBC."""
    try:
        enveloped = _content(message, ENVELOPED_DATA)
        wrapped = enveloped.child(1, SET).child(0, SEQUENCE).child(3, OCTET_STRING).content
        body = enveloped.child(2, SEQUENCE)
        algorithm = body.child(1, SEQUENCE)
        if algorithm.child(0).raw not in (AES_128_CBC, AES_256_CBC):
            raise BadMessage("the server encrypts with a cipher that was not asked for")
        start, encrypted = algorithm.child(1, OCTET_STRING).content, body.child(2, 0x80).content
        decryptor = Cipher(AES(key.decrypt(wrapped, PKCS1v15())), CBC(start)).decryptor()
        unpadder = padding.PKCS7(128).unpadder()
        return unpadder.update(decryptor.update(encrypted) + decryptor.finalize()) + unpadder.finalize()
    except (NotDer, ValueError) as error:
        raise BadMessage(f"the server's envelope does not open: {error}") from error


def _content(message: bytes, kind: bytes) -> Node:
    info = parse(message)
    if info.child(0).raw != kind:
        raise BadMessage("the server answered another kind of CMS message")
    return info.child(1, CONTEXT_0).child(0, SEQUENCE)
