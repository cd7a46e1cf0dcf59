"""A SCEP client for the tests of codec and door: what a tablet sends, built with cryptography and our CMS writer."""

import hashlib
import itertools
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, NameOID
from starlette.testclient import TestClient

from enrollment import tickets
from enrollment.ca import new_key
from mdm.app import device_app
from mdm.auth import Scope
from mdm.cms import der, enveloped, oids, signed, signing
from mdm.cms.certificates import sid_of
from mdm.devices.models import Device, Enrollment, LedgerState
from mdm.organization.models import School
from mdm.settings import get_settings

TOPIC = "com.apple.mgmt.External.00000000-0000-4000-8000-000000000001"
BASE = "2.16.840.1.113733.1.9."


def attribute(number: int, tag: int, value: bytes) -> tuple[bytes, bytes]:
    return der.oid_content(f"{BASE}{number}"), der.tlv(tag, value)


def self_signed(
    key: Any, name: str = "tablet", *, ca: bool = False, subject: x509.Name | None = None
) -> x509.Certificate:
    subject = subject or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    moment = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(days=1))
        .not_valid_after(moment + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


@dataclass
class Answer:
    """A CertRep as the client reads it."""

    status: str
    fail_info: str | None
    transaction_id: str
    recipient_nonce: bytes
    certificate: x509.Certificate | None


class Client:
    """One tablet's key, its self-signed or issued certificate, and a nonce."""

    def __init__(self, key: Any, certificate: x509.Certificate | None = None) -> None:
        self.key = key
        self.certificate = certificate or self_signed(key)
        self.nonce = secrets.token_bytes(16)

    def csr(self, challenge: str | None, key: Any = None) -> bytes:
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        if challenge is not None:
            builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge.encode())
        return builder.sign(key or self.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def request(
        self,
        ca: x509.Certificate,
        challenge: str | None = None,
        *,
        kind: str = "19",
        transaction_id: str = "t-1",
        cipher: enveloped.Cipher = enveloped.Cipher.AES_256,
        key: Any = None,
        content: bytes | None = None,
    ) -> bytes:
        """Return a PKIOperation; `key` is what the signing request is for, where it is not the client's own."""
        inner = self.csr(challenge, key) if content is None else content
        attributes = [
            attribute(2, der.PRINTABLE_STRING, kind.encode()),
            attribute(5, der.OCTET_STRING, self.nonce),
            attribute(7, der.PRINTABLE_STRING, transaction_id.encode()),
        ]
        envelope = enveloped.encrypt(inner, ca, cipher)
        return signing.sign_attached(envelope, self.certificate, self.key, attributes=attributes)

    def go_request(self, ca: x509.Certificate, key: Any, challenge: str) -> bytes:
        """Return a PKCSReq for `key` in the shape of smallstep/scep: our own key only signs, once, with SHA-1."""
        envelope = enveloped.encrypt(self.csr(challenge, key), ca, enveloped.Cipher.DES)
        body = der.Reader(envelope).enter(der.SEQUENCE)
        body.skip()
        parts = body.enter(der.CONTEXT_0).enter(der.SEQUENCE)
        version, recipients, encrypted = parts.raw(), parts.raw(), parts.enter(der.SEQUENCE)
        kind, cipher = encrypted.raw(), encrypted.raw()
        octets = der.tlv(der.CONTEXT_0, der.tlv(der.OCTET_STRING, encrypted.take(der.IMPLICIT_0)))
        inner = der.sequence(version, recipients, der.sequence(kind, cipher, octets))
        content = der.sequence(der.oid(oids.ENVELOPED_DATA), der.tlv(der.CONTEXT_0, inner))
        facts = [
            (oids.CONTENT_TYPE, der.oid(oids.DATA)),
            (oids.MESSAGE_DIGEST, der.tlv(der.OCTET_STRING, hashlib.sha1(content).digest())),
            attribute(2, der.PRINTABLE_STRING, b"19"),
            attribute(5, der.OCTET_STRING, self.nonce),
            attribute(7, der.PRINTABLE_STRING, b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        ]
        attributes = der.set_of(*(der.sequence(der.oid(name), der.set_of(value)) for name, value in facts))
        own = self.certificate.public_bytes(Encoding.DER)
        sha1 = der.sequence(der.oid(oids.SHA1))
        signature = self.key.sign(attributes, PKCS1v15(), hashes.SHA1())
        signer = der.sequence(
            der.integer(1),
            der.tlv(der.SEQUENCE, sid_of(own)),
            sha1,
            b"\xa0" + attributes[1:],
            der.sequence(der.oid(oids.RSA_ENCRYPTION)),
            der.tlv(der.OCTET_STRING, signature),
        )
        attached = der.tlv(der.CONTEXT_0, der.tlv(der.OCTET_STRING, content))
        data = der.sequence(
            der.integer(1),
            der.set_of(sha1),
            der.sequence(der.oid(oids.DATA), attached),
            der.tlv(der.CONTEXT_0, own),
            der.set_of(signer),
        )
        return der.sequence(der.oid(oids.SIGNED_DATA), der.tlv(der.CONTEXT_0, data))

    def read(self, reply: bytes, ca: x509.Certificate) -> Answer:
        """Verify and open a CertRep."""
        message = signed.parse_signed(reply)
        assert message.signer.der == ca.public_bytes(Encoding.DER)

        def text(number: int) -> str | None:
            found = message.attribute(der.oid_content(f"{BASE}{number}"))
            return None if found is None else found.take(der.PRINTABLE_STRING).decode()

        assert text(2) == "3"
        issued = None
        if message.content:
            inner = enveloped.decrypt(enveloped.parse_enveloped(message.content), self.certificate, self.key)
            issued = x509.load_der_x509_certificate(signed.parse_degenerate(inner)[0])
        nonce = message.attribute(der.oid_content(f"{BASE}6"))
        assert nonce is not None
        return Answer(str(text(3)), text(4), str(text(7)), nonce.take(der.OCTET_STRING), issued)


@pytest.fixture(scope="session")
def keys():
    """A few RSA keys, made once: making them is what takes time."""
    return [rsa.generate_private_key(65537, 2048) for _ in range(3)]


@pytest.fixture(scope="session")
def ca(keys):
    """An invented CA certificate on the last of the keys."""
    return self_signed(keys[-1], "invented CA", ca=True)


@pytest.fixture
def client(keys):
    """A new tablet's SCEP client."""
    return Client(keys[0])


@pytest.fixture(scope="session")
def new_client():
    """The maker of SCEP clients."""
    return Client


@pytest.fixture
def push_certificate(tmp_path, keys, monkeypatch):
    """The setting `apple.push_certificate`, with an invented topic in it."""
    subject = x509.Name([x509.NameAttribute(NameOID.USER_ID, TOPIC), x509.NameAttribute(NameOID.COMMON_NAME, "push")])
    file = tmp_path / "push.pem"
    file.write_bytes(self_signed(keys[0], subject=subject).public_bytes(Encoding.PEM))
    monkeypatch.setenv("TABANE_APPLE__PUSH_CERTIFICATE", str(file))
    get_settings.cache_clear()
    return TOPIC


@pytest.fixture
def door(push_certificate, database):
    """A client of the tablets' door."""
    with TestClient(device_app(), raise_server_exceptions=False) as opened:
        yield opened


@dataclass
class District:
    """Two schools and a tablet in each state."""

    schools: dict[str, int]
    devices: dict[str, int]
    """By serial number, which is the state in capitals and a number."""


@pytest.fixture
def district(session):
    """A small invented district, committed."""
    schools = {code: School(code=code, name=f"school {code}") for code in ("e-01", "e-02")}
    session.add_all(schools.values())
    session.flush()
    devices = {}
    for number, state in enumerate([*LedgerState, LedgerState.ISSUED, LedgerState.ISSUED]):
        school = schools["e-02" if number == len(LedgerState) + 1 else "e-01"]
        serial = f"{state.value.upper()}{number}"
        device = Device(
            control_number=f"T-{number}",
            serial=serial,
            platform="apple",
            school_id=school.id,
            state=state,
            updated_at=datetime.now(UTC),
        )
        session.add(device)
        session.flush()
        session.add(Enrollment(device_id=device.id))
        devices[serial] = device.id
    session.commit()
    return District({code: school.id for code, school in schools.items()}, devices)


@pytest.fixture(scope="session")
def ca_keys():
    """Keys for device CAs, made once: each test has a database, and so a CA, of its own."""
    return [new_key() for _ in range(2)]


@pytest.fixture(autouse=True)
def _known_ca_keys(ca_keys, monkeypatch):
    """Spare the making of a 3072-bit key in every test."""
    supply = itertools.cycle(ca_keys)
    monkeypatch.setattr("enrollment.ca.new_key", lambda: next(supply))


@pytest.fixture
def authority(door):
    answer = door.get("/scep", params={"operation": "GetCACert", "message": "any"})
    assert answer.headers["content-type"] == "application/x-x509-ca-cert"
    return x509.load_der_x509_certificate(answer.content)


@pytest.fixture
def ticket(session, district):
    opened = tickets.open_for_tablet(session, Scope(all_schools=True), serial="ISSUED1", created_by=None)
    session.commit()
    return opened


@pytest.fixture
def enroll(door, authority):
    """Send a PKIOperation for a client; return the answer as the client reads it."""

    def send(client, challenge=None, **options):
        answer = door.post("/scep?operation=PKIOperation", content=client.request(authority, challenge, **options))
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-pki-message")
        return client.read(answer.content, authority)

    return send
