"""Tablets that sign like iPads and the rows around them, independent of the simulator: plain `cryptography`."""

import base64
import hashlib
import plistlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from starlette.testclient import TestClient

PROXY = "10.20.30.40"


@lru_cache(maxsize=4)
def shared_key(name: str) -> rsa.RSAPrivateKey:
    """Keys are slow to make and no test is about them."""
    return rsa.generate_private_key(65537, 2048)


@dataclass
class Authority:
    """A device CA outside the code under test."""

    common_name: str = "Invented device CA"
    key: rsa.RSAPrivateKey = field(default_factory=lambda: shared_key("ca"))
    certificate: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.common_name)])
        now = datetime.now(UTC)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    def issue(
        self,
        *,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
        starts: timedelta = timedelta(hours=-1),
        lasts: timedelta = timedelta(days=365),
    ) -> x509.Certificate:
        """Issue a leaf for the tablets' shared key."""
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tablet")]))
            .issuer_name(self.certificate.subject)
            .public_key(shared_key("tablet").public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + starts)
            .not_valid_after(now + starts + lasts)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(self.key, hashes.SHA256())
        )


def sign(body: bytes, certificate: x509.Certificate) -> str:
    """Return the `Mdm-Signature` header of a body."""
    signature = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(body)
        .add_signer(certificate, shared_key("tablet"), hashes.SHA256())
        .sign(Encoding.DER, [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary])
    )
    return base64.b64encode(signature).decode()


@dataclass
class Answer:
    """A status and what was answered."""

    status: int
    body: bytes
    headers: Any

    @property
    def command(self) -> dict[str, Any]:
        """The Command dictionary; empty when there was nothing to do."""
        return plistlib.loads(self.body)["Command"] if self.body else {}

    @property
    def command_id(self) -> str:
        return str(plistlib.loads(self.body)["CommandUUID"])

    @property
    def request_type(self) -> str | None:
        return self.command.get("RequestType")


@dataclass
class Tablet:
    """One iPad at the door."""

    client: TestClient
    serial: str
    udid: str
    certificate: x509.Certificate
    device_id: int
    topic: str = "com.apple.mgmt.External.00000000-0000-4000-8000-000000000000"

    @property
    def thumbprint(self) -> bytes:
        return hashlib.sha256(self.certificate.public_bytes(Encoding.DER)).digest()

    def send(self, document: dict[str, Any] | bytes, *, method: str = "PUT", headers: Any = None) -> Answer:
        body = document if isinstance(document, bytes) else plistlib.dumps(document)
        given = {"Mdm-Signature": sign(body, self.certificate)} if headers is None else headers
        response = self.client.request(method, "/mdm/apple", content=body, headers=given)
        return Answer(response.status_code, response.content, response.headers)

    def authenticate(self, **extra: Any) -> Answer:
        document = {
            "MessageType": "Authenticate",
            "UDID": self.udid,
            "Topic": self.topic,
            "SerialNumber": self.serial,
            "OSVersion": "26.1",
            "ProductName": "iPad13,18",
        }
        return self.send({**document, **extra})

    def token_update(self, **extra: Any) -> Answer:
        document = {
            "MessageType": "TokenUpdate",
            "UDID": self.udid,
            "Topic": self.topic,
            "Token": bytes(32),
            "PushMagic": "MAGIC-1",
        }
        return self.send({**document, **extra})

    def check_out(self) -> Answer:
        return self.send({"MessageType": "CheckOut", "UDID": self.udid, "Topic": self.topic})

    def idle(self) -> Answer:
        return self.send({"Status": "Idle", "UDID": self.udid})

    def report(self, status: str, command_id: str, **extra: Any) -> Answer:
        return self.send({"Status": status, "UDID": self.udid, "CommandUUID": command_id, **extra})

    def enroll(self) -> "Tablet":
        assert self.authenticate().status == 200
        assert self.token_update().status == 200
        return self


class District:
    """The rows around the tablets, written without the code under test."""

    def __init__(self, url: str, client: TestClient) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self.client = client
        self.authority = Authority()
        self.trust(self.authority)
        self.school = self.one("INSERT INTO school (code, name) VALUES ('S1', 'North') RETURNING id")
        self._count = 0

    def one(self, query: str, *values: Any) -> Any:
        """Return the first column of the first row, or None."""
        row = self.connection.execute(query, values).fetchone()
        return None if row is None else row[0]

    def all(self, query: str, *values: Any) -> list[Any]:
        return self.connection.execute(query, values).fetchall()

    def trust(self, authority: Authority) -> None:
        der = authority.certificate.public_bytes(Encoding.DER)
        self.connection.execute("INSERT INTO authority (certificate, key_sealed) VALUES (%s, '')", (der,))

    def tablet(self, *, state: str = "issued", school: int | None = None) -> Tablet:
        """A ledger row with a certificate of its own ticket; it has not spoken yet."""
        self._count += 1
        serial = f"SN{self._count:06}"
        device_id = self.one(
            "INSERT INTO device (control_number, serial, platform, model, school_id, state, lease_contract)"
            " VALUES (%s, %s, 'apple', '', %s, %s, '') RETURNING id",
            f"C{self._count:06}",
            serial,
            school or self.school,
            state,
        )
        self.one("INSERT INTO enrollment (device_id) VALUES (%s) RETURNING device_id", device_id)
        certificate = self.authority.issue()
        self.register(certificate, device_id=device_id)
        return Tablet(self.client, serial, f"00008030-{self._count:016X}", certificate, device_id)

    def register(
        self,
        certificate: x509.Certificate,
        *,
        device_id: int | None = None,
        school: int | None = None,
        renewal: bool = False,
    ) -> None:
        self.connection.execute(
            "INSERT INTO device_identity (sha256, device_id, school_id, renewal, not_after, renew_at)"
            " VALUES (%s, %s, %s, %s, now() + interval '1 year', now() + interval '200 days')",
            (hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest(), device_id, school, renewal),
        )

    def order(self, tablet: Tablet, kind: str, *, lane: int = 1, arguments: str = "{}", **columns: Any) -> UUID:
        """Enqueue a command of the tablet's present epoch and make the tablet due."""
        epoch = self.one("SELECT epoch FROM enrollment WHERE device_id = %s", tablet.device_id)
        values = {
            "device_id": tablet.device_id,
            "epoch": epoch,
            "kind": kind,
            "arguments": arguments,
            "dedupe_key": f"{kind}-{datetime.now(UTC).timestamp()}",
            "lane": lane,
            "state": "queued",
            "expires_at": datetime.now(UTC) + timedelta(days=1),
            **columns,
        }
        names = ", ".join(values)
        marks = ", ".join(["%s"] * len(values))
        command_id = self.one(f"INSERT INTO command ({names}) VALUES ({marks}) RETURNING id", *values.values())
        self.make_due(tablet)
        return UUID(str(command_id))

    def approved_wipe(self, tablet: Tablet) -> UUID:
        """A wipe that a second person has approved; the database lets no other leave."""
        command_id = self.order(tablet, "wipe", lane=0, state="held")
        people = [
            self.one(
                "INSERT INTO operator (name, role, password_hash, all_schools, made_on_host)"
                " VALUES (%s, 'administrator', '', true, true)"
                " ON CONFLICT (name) DO UPDATE SET role = excluded.role RETURNING id",
                name,
            )
            for name in ("first", "second")
        ]
        key = self.one(
            "INSERT INTO approver_key (operator_id, kind, public_key, label, pinned_at)"
            " VALUES (%s, 'software', '', 'test', now()) ON CONFLICT (public_key) DO UPDATE SET label = 'test'"
            " RETURNING id",
            people[1],
        )
        approval = self.one(
            "INSERT INTO approval (action, subject, digest, reason, state, requested_by, expires_at, decided_by,"
            " key_id, signature) SELECT 'command.wipe', jsonb_build_object("
            " 'command', jsonb_build_object('id', id::text, 'kind', kind, 'arguments', arguments, 'epoch', epoch),"
            " 'devices', jsonb_build_array(jsonb_build_object('id', device_id))),"
            " '', 'test', 'approved', %s, now() + interval '1 day', %s, %s, '{}' FROM command WHERE id = %s"
            " RETURNING id",
            *people,
            key,
            command_id,
        )
        self.connection.execute(
            "UPDATE command SET approval_id = %s, state = 'queued' WHERE id = %s", (approval, command_id)
        )
        return command_id

    def make_due(self, tablet: Tablet) -> None:
        self.connection.execute(
            "INSERT INTO wakeup (device_id, lane, due_at) VALUES (%s, 1, now()) ON CONFLICT (device_id)"
            " DO UPDATE SET generation = wakeup.generation + 1, due_at = now()",
            (tablet.device_id,),
        )

    def desire(self, tablet: Tablet, profiles: dict[str, bytes]) -> bytes:
        """Store a manifest of these bodies by identifier, and want it."""
        items = {identifier: hashlib.sha256(body).digest() for identifier, body in profiles.items()}
        manifest = hashlib.sha256(repr(sorted(items.items())).encode()).digest()
        self.connection.execute(
            "INSERT INTO manifest (sha256, platform, cannot) VALUES (%s, 'apple', '[]') ON CONFLICT DO NOTHING",
            (manifest,),
        )
        for identifier, body in profiles.items():
            self.connection.execute(
                "INSERT INTO artifact (sha256, platform, identifier, body) VALUES (%s, 'apple', %s, %s)"
                " ON CONFLICT DO NOTHING",
                (items[identifier], identifier, body),
            )
            self.connection.execute(
                "INSERT INTO manifest_item (manifest, identifier, artifact) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                (manifest, identifier, items[identifier]),
            )
        self.connection.execute(
            "UPDATE enrollment SET desired_manifest = %s WHERE device_id = %s", (manifest, tablet.device_id)
        )
        self.make_due(tablet)
        return manifest

    def state(self, command_id: UUID | str) -> Any:
        return self.one("SELECT state FROM command WHERE id = %s", str(command_id))

    def enrollment(self, tablet: Tablet, column: str) -> Any:
        return self.one(f"SELECT {column} FROM enrollment WHERE device_id = %s", tablet.device_id)

    def is_due(self, tablet: Tablet) -> bool:
        """Whether the tablet would be woken now."""
        return bool(self.one("SELECT due_at <= now() FROM wakeup WHERE device_id = %s", tablet.device_id))

    def drop_first_questions(self, tablet: Tablet) -> None:
        """Take away the inventory that an enrolment asks for, and the wake-up for it."""
        self.connection.execute(
            "DELETE FROM command_event WHERE command_id IN (SELECT id FROM command WHERE device_id = %s)",
            (tablet.device_id,),
        )
        self.connection.execute("DELETE FROM command WHERE device_id = %s", (tablet.device_id,))
        self.connection.execute("DELETE FROM wakeup WHERE device_id = %s", (tablet.device_id,))

    def enrolled(self) -> Tablet:
        """A tablet that is enrolled and has nothing to do."""
        tablet = self.tablet().enroll()
        self.drop_first_questions(tablet)
        return tablet
