"""Accounts made on the host for people who then sign in as anybody does."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from starlette.testclient import TestClient

from mdm import clock, db
from mdm.app import operator_app
from mdm.auth import Role, Scope
from mdm.operators import accounts
from mdm.settings import get_settings
from tests.mdm_auth.people import ORIGIN, PASSWORD, Clock, Person


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The hands of the clock."""
    moved = Clock()
    monkeypatch.setattr(clock, "now", moved.now)
    return moved


@pytest.fixture
def door(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The operators' app at its own address, where two factors are asked for."""
    monkeypatch.setenv("TABANE_OPERATOR_URL", ORIGIN)
    db.get_settings.cache_clear()
    with TestClient(operator_app(), base_url=ORIGIN) as client:
        yield client


@pytest.fixture
def person(door: TestClient, hands: Clock) -> Callable[..., Person]:
    """Make an account on the host: `person("hana", Role.SUPPORT)`; it has not signed in."""

    def make(name: str, role: Role = Role.SUPPORT, *, password: str = PASSWORD, **more) -> Person:
        scope = more.pop("scope", Scope(all_schools=True))
        with db.transaction() as session:
            accounts.add(session, "host", name=name, password=password, role=role, scope=scope, **more)
        return Person(TestClient(door.app, base_url=ORIGIN), name, hands)

    return make


@pytest.fixture
def hana(person: Callable[..., Person]) -> Person:
    """A support operator who has signed in and set up an app."""
    made = person("hana")
    assert made.sign_in().status_code == 200
    made.set_up_app()
    return made


@pytest.fixture
def client(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A client of the operator app; tickets need a push certificate, so there is an invented one."""
    key = ec.generate_private_key(ec.SECP256R1())
    topic = x509.NameAttribute(NameOID.USER_ID, "com.apple.mgmt.External.00000000-0000-4000-8000-000000000001")
    subject = x509.Name([topic, x509.NameAttribute(NameOID.COMMON_NAME, "push")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "push.pem"
    file.write_bytes(certificate.public_bytes(Encoding.PEM))
    monkeypatch.setenv("TABANE_APPLE__PUSH_CERTIFICATE", str(file))
    get_settings.cache_clear()
    with TestClient(operator_app(), base_url="http://127.0.0.1") as opened:
        yield opened
