"""The device CA: made at first need, and the only user of its key. Issues identities and registers each one.

It must not decide who gets one. The key lies sealed in the table `authority` and is opened in memory only.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import text
from sqlmodel import Session, col, select

from enrollment.models import Authority
from mdm import clock, vault
from mdm.devices import identities
from mdm.errors import Misconfigured
from mdm.settings import get_settings

_SEALED_FOR: Final = "authority.key"
_LOCK: Final = 0x7461_6261_6E65_0002
"""The advisory lock under which the CA is made, so that two first requests do not make two."""
_KEY_BITS: Final = 3072
_LIFETIME: Final = timedelta(days=20 * 365)
"""Longer than the longest identity plus the longest lease; a new CA is a new profile on every tablet."""
_BACKDATED: Final = timedelta(hours=1)
"""Tablets whose clocks lag refuse certificates that start in their future."""


@dataclass(frozen=True, slots=True)
class Signing:
    """The CA that signs at present."""

    certificate: x509.Certificate
    key: RSAPrivateKey


@dataclass(frozen=True, slots=True)
class Admission:
    """Whom a certificate is for: one tablet, or whichever tablet of a school a staging ticket will admit."""

    name: str
    """Common name: the serial number, or what the ticket says."""
    device_id: int | None = None
    school_id: int | None = None
    ticket_id: UUID | None = None
    """None for a renewal that the old certificate itself asked for."""
    renewal: bool = False
    """Replaces a live identity of the same tablet."""


def signing(session: Session) -> Signing:
    """Return the newest CA; the first call ever makes it."""
    newest = _newest(session)
    if newest is None:
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        newest = _newest(session) or found(session)
    return _opened(newest.certificate, newest.key_sealed)


def trusted(session: Session) -> tuple[x509.Certificate, ...]:
    """Return every CA certificate that has not expired, newest first."""
    rows = session.exec(select(Authority.certificate).order_by(col(Authority.id).desc())).all()
    moment = clock.now()
    return tuple(ca for ca in map(_certificate, rows) if moment <= ca.not_valid_after_utc)


def found(session: Session) -> Authority:
    """Make a new CA, which signs from now on. RSA, because SCEP encrypts requests to it."""
    key = new_key()
    organization = get_settings().organization[:64]
    moment = clock.now()
    certificate = _self_sign(key, organization, moment)
    sealed = vault.seal(_SEALED_FOR, key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
    der = certificate.public_bytes(Encoding.DER)
    authority = Authority(certificate=der, key_sealed=sealed, created_at=moment)
    session.add(authority)
    session.flush()
    return authority


def new_key() -> RSAPrivateKey:
    """Return a fresh key for a CA."""
    return rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)


def issue(session: Session, public_key: RSAPublicKey | EllipticCurvePublicKey, admission: Admission) -> bytes:
    """Sign and register an identity for `public_key`; return the certificate in DER.

    The subject is ours, whatever was asked for. The key's kind and size were checked by whoever parsed the request.
    """
    ca, settings, moment = signing(session), get_settings(), clock.now()
    not_before = moment - _BACKDATED
    lifetime = timedelta(days=settings.enrollment.identity_days)
    not_after = min(moment + lifetime, ca.certificate.not_valid_after_utc)
    certificate = _leaf(ca, public_key, _name(admission.name, settings.organization), not_before, not_after)
    der = certificate.public_bytes(Encoding.DER)
    identities.register(
        session,
        identities.Issued(
            sha256=hashlib.sha256(der).digest(),
            device_id=admission.device_id,
            school_id=admission.school_id,
            ticket_id=admission.ticket_id,
            renewal=admission.renewal,
            not_after=certificate.not_valid_after_utc,
            renew_at=moment + (not_after - moment) * settings.enrollment.renew_at_fraction,
        ),
    )
    return der


def _newest(session: Session) -> Authority | None:
    return session.exec(select(Authority).order_by(col(Authority.id).desc()).limit(1)).first()


@lru_cache(maxsize=8)
def _certificate(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


@lru_cache(maxsize=4)
def _opened(certificate: bytes, key_sealed: bytes) -> Signing:
    key = load_der_private_key(vault.unseal(_SEALED_FOR, key_sealed), password=None)
    if not isinstance(key, RSAPrivateKey):
        raise Misconfigured("the device CA's key is not an RSA key")
    return Signing(certificate=_certificate(certificate), key=key)


def _name(common_name: str, organization: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization[:64]),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64]),
        ]
    )


def _self_sign(key: RSAPrivateKey, organization: str, moment: datetime) -> x509.Certificate:
    name = _name("Device CA", organization)
    subject_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - _BACKDATED)
        .not_valid_after(moment + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        # Beside signing certificates it signs SCEP answers and receives SCEP requests, so it may do all three.
        .add_extension(_usage(signs=True, encipherment=True, authority=True), critical=True)
        .add_extension(subject_key, critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    ca: Signing,
    public_key: RSAPublicKey | EllipticCurvePublicKey,
    subject: x509.Name,
    not_before: datetime,
    not_after: datetime,
) -> x509.Certificate:
    authority_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca.certificate.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=True, encipherment=isinstance(public_key, RSAPublicKey)), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(authority_key, critical=False)
        .sign(ca.key, hashes.SHA256())
    )


def _usage(*, signs: bool, encipherment: bool, authority: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=encipherment,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
