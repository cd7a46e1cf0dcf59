"""An invented authority for the simulated push service: a server certificate and a push client certificate.

Nothing here may be trusted outside a test or a demo; keys lie in clear in the folder that is named.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from uuid import UUID, uuid4

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

TOPIC_PREFIX = "com.apple.mgmt.External."


@dataclass(frozen=True, slots=True)
class PushPki:
    """Paths of the invented chain; `topic` is the subject UID of the push client certificate."""

    authority: Path
    server_certificate: Path
    server_key: Path
    push_certificate: Path
    push_key: Path
    topic: str


@dataclass(frozen=True, slots=True)
class _Authority:
    name: x509.Name
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def make_push_pki(folder: Path, *, topic_id: UUID | None = None) -> PushPki:
    """Write a fresh authority, a server certificate for the loopback and a push certificate into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    topic = f"{TOPIC_PREFIX}{topic_id or uuid4()}"
    authority = _make_authority("Invented Push Authority")
    pki = PushPki(
        authority=folder / "authority.pem",
        server_certificate=folder / "server.pem",
        server_key=folder / "server.key",
        push_certificate=folder / "push.pem",
        push_key=folder / "push.key",
        topic=topic,
    )
    pki.authority.write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    server_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    _write_leaf(authority, server_name, certificate=pki.server_certificate, key=pki.server_key, server=True)
    push_name = x509.Name(
        [
            x509.NameAttribute(NameOID.USER_ID, topic),
            x509.NameAttribute(NameOID.COMMON_NAME, f"APSP:{topic.removeprefix(TOPIC_PREFIX)}"),
        ]
    )
    _write_leaf(authority, push_name, certificate=pki.push_certificate, key=pki.push_key, server=False)
    return pki


def topic_of(certificate_der: bytes) -> str | None:
    """The topic a push certificate speaks for: UID (0.9.2342.19200300.100.1.1) of its subject."""
    values = x509.load_der_x509_certificate(certificate_der).subject.get_attributes_for_oid(NameOID.USER_ID)
    return str(values[0].value) if values else None


def _make_authority(common_name: str) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    certificate = (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _Authority(name=name, key=key, certificate=certificate)


def _write_leaf(authority: _Authority, subject: x509.Name, *, certificate: Path, key: Path, server: bool) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = (
        _builder(subject, authority.name, private.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(issuer_key, critical=False)
    )
    if server:
        names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(authority.key, hashes.SHA256())
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    key.chmod(0o600)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    today = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(hours=1))
        .not_valid_after(today + timedelta(days=365))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
