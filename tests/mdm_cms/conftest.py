"""Keys, certificates and the openssl command for the tests of CMS."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


@dataclass(frozen=True)
class Party:
    """Somebody with a key and a certificate."""

    key: object
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def write(self, folder):
        """Write key and certificate as PEM for openssl; return both paths."""
        key, certificate = folder / "key.pem", folder / "cert.pem"
        key.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        certificate.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return key, certificate


def make_party(
    key, *, issuer=None, name="invented", usages=(x509.ExtendedKeyUsageOID.CLIENT_AUTH,), ca=False, days=(-1, 30)
):
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    moment = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment + timedelta(days=days[0]))
        .not_valid_after(moment + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if usages:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return Party(key, builder.sign(issuer.key if issuer else key, hashes.SHA256()))


@pytest.fixture(scope="session")
def party() -> Callable[..., Party]:
    return make_party


@pytest.fixture(scope="session")
def rsa_party() -> Party:
    return make_party(rsa.generate_private_key(65537, 2048), name="rsa")


@pytest.fixture(scope="session")
def other_rsa() -> Party:
    return make_party(rsa.generate_private_key(65537, 2048), name="other")


@pytest.fixture(scope="session")
def ec_party() -> Party:
    return make_party(ec.generate_private_key(ec.SECP256R1()), name="p256")


@pytest.fixture(scope="session")
def p384_party() -> Party:
    return make_party(ec.generate_private_key(ec.SECP384R1()), name="p384")
