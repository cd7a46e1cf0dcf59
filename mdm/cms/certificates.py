"""Certificates as CMS sees them: found by issuer and serial number, checked against the CA that must have issued them.

It must not decide who a certificate belongs to, nor whether it was revoked: the caller's tables know that.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID

from mdm.cms.der import CONTEXT_0, INTEGER, SEQUENCE, Reader
from mdm.errors import Malformed, MdmError

CACHED_LEAVES: Final = 16_384
"""About one district's tablets; a leaf with its parsed key takes some kilobytes."""


UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises for certificates and signing requests that it cannot read; not all are ValueErrors."""


class Untrusted(MdmError):
    """A certificate that our device CA did not issue, or not for this use, or not for this moment."""

    status = HTTPStatus.BAD_REQUEST
    slug = "untrusted"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A parsed certificate; compare by `thumbprint`, the SHA-256 of `der`."""

    der: bytes
    thumbprint: bytes
    sid: bytes
    """Issuer and serial number, the content of CMS's IssuerAndSerialNumber."""
    public_key: RSAPublicKey | EllipticCurvePublicKey = field(compare=False)

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate in cryptography's form."""
        return x509.load_der_x509_certificate(self.der)


def sid_of(der: bytes) -> bytes:
    """Return issuer and serial number of a certificate: the content of IssuerAndSerialNumber (RFC 5652 §10.2.4)."""
    tbs = Reader(der).enter(SEQUENCE).enter(SEQUENCE)
    if tbs.peek() == CONTEXT_0:
        tbs.skip()
    serial = tbs.raw(INTEGER)
    if int.from_bytes(serial[2:], "big", signed=True) <= 0:  # RFC 5280 §4.1.2.2; such ones are never ours
        raise Malformed("The certificate has an impossible serial number.")
    tbs.skip(SEQUENCE)
    return tbs.raw(SEQUENCE) + serial


@lru_cache(maxsize=CACHED_LEAVES)
def leaf(der: bytes) -> Leaf:
    """Parse a certificate; cached by its bytes. RSA of 2048 to 4096 bits, P-256 and P-384 only."""
    sid = sid_of(der)
    try:
        key = x509.load_der_x509_certificate(der).public_key()
    except UNREADABLE:
        raise Malformed("The certificate cannot be read.") from None
    return Leaf(der=der, thumbprint=hashlib.sha256(der).digest(), sid=sid, public_key=accepted_key(key))


def accepted_key(key: object) -> RSAPublicKey | EllipticCurvePublicKey:
    """Return `key` if it is of a kind and size we deal with, else refuse it.

    Size and exponent are capped because both drive the cost of a verification that strangers can ask for.
    """
    if isinstance(key, RSAPublicKey) and 2048 <= key.key_size <= 4096 and key.public_numbers().e < 2**32:
        return key
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1 | SECP384R1):
        return key
    raise Malformed("The certificate's key is of a kind or size that is not accepted.")


@dataclass(frozen=True, slots=True)
class _Window:
    not_before: datetime
    not_after: datetime


@lru_cache(maxsize=CACHED_LEAVES)
def _issued_for_clients(der: bytes, ca: x509.Certificate) -> _Window | None:
    """Return the validity of `der` if `ca` signed it as an end entity for client authentication, else None.

    Cached, because the answer can never change; the moment is judged apart.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.verify_directly_issued_by(ca)
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        try:
            is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            is_ca = False
    except (*UNREADABLE, InvalidSignature, x509.ExtensionNotFound):
        return None
    if is_ca or ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        return None
    return _Window(certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def verify_chain(
    der: bytes, authorities: Sequence[x509.Certificate], *, at: datetime, grace: timedelta = timedelta(0)
) -> x509.Certificate:
    """Check that one of `authorities` issued `der` for client authentication and that it is valid at `at` (aware).

    Returns the CA certificate. `grace` prolongs the validity for those who must still let the recently expired in.
    Raises `Untrusted`.
    """
    for authority in authorities:
        window = _issued_for_clients(der, authority)
        if window is None:
            continue
        if at < window.not_before:
            raise Untrusted("The certificate is not valid yet.")
        if at > window.not_after + grace:
            raise Untrusted("The certificate has expired.")
        return authority
    raise Untrusted("The certificate was not issued here for this use.")
