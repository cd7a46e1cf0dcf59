"""SignedData (RFC 5652 §5), reading: verify a detached or attached signature. `mdm.cms.signing` writes.

It must not trust anyone: whether the signer is ours is asked with `certificates.verify_chain` and of the tables.
"""

import binascii
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from mdm.cms import oids
from mdm.cms.ber import tolerant
from mdm.cms.certificates import Leaf, leaf, sid_of
from mdm.cms.der import (
    CONTEXT_0,
    CONTEXT_1,
    INTEGER,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    SET,
    Reader,
)
from mdm.errors import Malformed

MAX_HEADER: Final = 16 * 1024
"""A device's Mdm-Signature is about 1.9 KB of base64; proxies are told to pass headers up to 16 KB."""
MAX_MESSAGE: Final = 1024 * 1024
MAX_CERTIFICATES: Final = 16
MAX_ATTRIBUTES: Final = 32

_PKCS1: Final = PKCS1v15()
_DIGESTS: Final[dict[bytes, tuple[Callable[[bytes], "hashlib._Hash"], hashes.HashAlgorithm]]] = {
    oids.SHA1: (hashlib.sha1, hashes.SHA1()),  # noqa: S303 - old signers; only where the caller allows it
    oids.SHA256: (hashlib.sha256, hashes.SHA256()),
    oids.SHA384: (hashlib.sha384, hashes.SHA384()),
    oids.SHA512: (hashlib.sha512, hashes.SHA512()),
}
_RSA_WITH: Final[dict[bytes, bytes | None]] = {
    oids.RSA_ENCRYPTION: None,  # the digest is the SignerInfo's
    oids.RSA_SHA1: oids.SHA1,
    oids.RSA_SHA256: oids.SHA256,
    oids.RSA_SHA384: oids.SHA384,
    oids.RSA_SHA512: oids.SHA512,
}
_ECDSA_WITH: Final[dict[bytes, bytes | None]] = {
    oids.EC_PUBLIC_KEY: None,  # some libraries name the key where the signature algorithm belongs
    oids.ECDSA_SHA1: oids.SHA1,
    oids.ECDSA_SHA256: oids.SHA256,
    oids.ECDSA_SHA384: oids.SHA384,
    oids.ECDSA_SHA512: oids.SHA512,
}


@dataclass(frozen=True, slots=True)
class Signed:
    """A verified SignedData with its content attached."""

    content: bytes
    """Empty where the message carries none."""
    signer: Leaf
    attributes: dict[bytes, bytes]
    """Signed attributes: content octets of the identifier, to the content of the SET of values."""
    certificates: tuple[bytes, ...]

    def attribute(self, identifier: bytes) -> Reader | None:
        """Return a reader of the attribute's values, or None if the signer left it out."""
        values = self.attributes.get(identifier)
        return None if values is None else Reader(values)


@dataclass(frozen=True, slots=True)
class _SignerInfo:
    sid: bytes
    digest: bytes
    signed_attributes: bytes
    """Re-tagged from [0] to SET: the form that is signed (RFC 5652 §5.4)."""
    attributes: dict[bytes, bytes]
    algorithm: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class _Message:
    content: bytes
    certificates: tuple[bytes, ...]
    signers: tuple[_SignerInfo, ...]


def from_header(value: str | bytes) -> bytes:
    """Decode an `Mdm-Signature` header: base64, standard alphabet, at most 16 KB."""
    if len(value) > MAX_HEADER:
        raise Malformed("The signature is too large.")
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, ValueError):
        raise Malformed("The signature is not base64.") from None


def verify_detached(signature: bytes, content: bytes, *, allow_sha1: bool = False) -> Leaf:
    """Verify that `signature`, a DER or BER SignedData, signs exactly `content`; return the signer's certificate.

    One signer, found by issuer and serial number; the messageDigest attribute must equal the digest of `content`, and
    the signature must cover the attributes. Whatever content the message itself carries is ignored. The caller must go
    on with `certificates.verify_chain` and the association of `thumbprint`; until then the signer is a stranger.
    """
    message = tolerant(_parse, signature, limit=MAX_MESSAGE)
    signer, _ = _verify(message, content, allow_sha1=allow_sha1)
    return signer


def parse_signed(data: bytes, *, allow_sha1: bool = False) -> Signed:
    """Parse and verify a SignedData with attached content of type id-data, as SCEP uses it (RFC 8894 §3)."""
    message = tolerant(_parse, data, limit=MAX_MESSAGE)
    signer, info = _verify(message, message.content, allow_sha1=allow_sha1)
    return Signed(content=message.content, signer=signer, attributes=info.attributes, certificates=message.certificates)


def parse_degenerate(data: bytes) -> tuple[bytes, ...]:
    """Return the certificates of a SignedData without signers, in their order."""
    message = tolerant(_parse, data, limit=MAX_MESSAGE)
    if message.signers:
        raise Malformed("The message is signed where only certificates are expected.")
    return message.certificates


def _verify(message: _Message, content: bytes, *, allow_sha1: bool) -> tuple[Leaf, _SignerInfo]:
    if len(message.signers) != 1:
        raise Malformed("The message has not exactly one signer.")
    info = message.signers[0]
    signer = _signer(message.certificates, info.sid)
    if info.digest not in _DIGESTS or (info.digest == oids.SHA1 and not allow_sha1):
        raise Malformed("The message uses a digest that is not accepted.")
    digest, algorithm = _DIGESTS[info.digest]
    if _single(info.attributes, oids.CONTENT_TYPE, OBJECT_IDENTIFIER) != oids.DATA:
        raise Malformed("The signature is not over plain data.")
    # The comparison that ties the signature to this body; without it any captured signature would do.
    if _single(info.attributes, oids.MESSAGE_DIGEST, OCTET_STRING) != digest(content).digest():
        raise Malformed("The signature belongs to another body.")
    key = signer.public_key
    family = _RSA_WITH if isinstance(key, RSAPublicKey) else _ECDSA_WITH
    if family.get(info.algorithm, b"") not in (None, info.digest):
        raise Malformed("The message uses a signature algorithm that is not accepted.")
    try:
        if isinstance(key, RSAPublicKey):
            key.verify(info.signature, info.signed_attributes, _PKCS1, algorithm)
        else:
            key.verify(info.signature, info.signed_attributes, ECDSA(algorithm))
    except InvalidSignature:
        raise Malformed("The signature is wrong.") from None
    return signer, info


def _signer(certificates: Sequence[bytes], sid: bytes) -> Leaf:
    if len(certificates) == 1:  # the usual case: let the cache answer for the parsing too
        only = leaf(certificates[0])
        if only.sid == sid:
            return only
    else:
        for certificate in certificates:
            if sid_of(certificate) == sid:
                return leaf(certificate)
    raise Malformed("The message does not carry its signer's certificate.")


def _single(attributes: dict[bytes, bytes], identifier: bytes, tag: int) -> bytes:
    """Return the content of an attribute that must be there with one value of type `tag`."""
    if identifier not in attributes:
        raise Malformed("The message lacks a signed attribute.")
    values = Reader(attributes[identifier])
    value = values.take(tag)
    values.close()
    return value


def _parse(data: bytes) -> _Message:
    outer = Reader(data)
    info = outer.enter(SEQUENCE)
    outer.close()
    if info.take(OBJECT_IDENTIFIER) != oids.SIGNED_DATA:
        raise Malformed("The message is not SignedData.")
    signed = info.enter(CONTEXT_0).enter(SEQUENCE)
    signed.skip(INTEGER)
    signed.skip(SET)
    content = _encapsulated(signed.enter(SEQUENCE))
    certificates: list[bytes] = []
    if signed.peek() == CONTEXT_0:
        bag = signed.enter(CONTEXT_0)
        while bag.peek() != -1:
            if bag.peek() == SEQUENCE:
                certificates.append(bag.raw())
            else:  # attribute certificates and other formats say nothing to us
                bag.skip()
            if len(certificates) > MAX_CERTIFICATES:
                raise Malformed("The message carries too many certificates.")
    if signed.peek() == CONTEXT_1:
        signed.skip()
    infos = signed.enter(SET)
    signed.close()
    signers: list[_SignerInfo] = []
    while infos.peek() != -1 and len(signers) < 2:
        signers.append(_signer_info(infos.enter(SEQUENCE)))
    return _Message(content=content, certificates=tuple(certificates), signers=tuple(signers))


def _encapsulated(info: Reader) -> bytes:
    """Return the attached content; empty where there is none or where it is of another type than id-data."""
    kind = info.take(OBJECT_IDENTIFIER)
    if kind != oids.DATA or info.peek() == -1:
        return b""
    content = info.enter(CONTEXT_0)
    return content.take(OCTET_STRING) if content.peek() != -1 else b""


def _signer_info(info: Reader) -> _SignerInfo:
    info.skip(INTEGER)
    sid = info.take(SEQUENCE)
    digest = info.enter(SEQUENCE).take(OBJECT_IDENTIFIER)
    raw = info.raw(CONTEXT_0)
    algorithm = info.enter(SEQUENCE).take(OBJECT_IDENTIFIER)
    signature = info.take(OCTET_STRING)
    if info.peek() == CONTEXT_1:
        info.skip()
    info.close()
    attributes: dict[bytes, bytes] = {}
    reader = Reader(raw).enter(CONTEXT_0)
    while reader.peek() != -1:
        attribute = reader.enter(SEQUENCE)
        identifier = attribute.take(OBJECT_IDENTIFIER)
        if identifier in attributes or len(attributes) == MAX_ATTRIBUTES:
            raise Malformed("The message repeats a signed attribute or has too many.")
        attributes[identifier] = attribute.take(SET)
        attribute.close()
    return _SignerInfo(
        sid=sid,
        digest=digest,
        signed_attributes=b"\x31" + raw[1:],
        attributes=attributes,
        algorithm=algorithm,
        signature=signature,
    )
