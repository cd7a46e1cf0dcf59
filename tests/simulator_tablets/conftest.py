"""A scripted door that speaks the server's codecs, so that tablet and server witness each other's wire."""

import asyncio
import hashlib
import plistlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from enrollment.apple import scep
from mdm.apple.identity import from_client_cert
from mdm.cms.signed import from_header, verify_detached
from simulator.clouds.pki import PushPki, make_push_pki
from simulator.control import Control
from simulator.tablets.device import Device
from simulator.tablets.fleet import Fleet
from simulator.tablets.ipad import IPad
from simulator.tablets.keys import Keys

_CA_KEY = rsa.generate_private_key(65537, 2048)
KEYS = Keys(shared=2)
"""Shared by all fleets of these tests: making RSA keys is slow."""


@dataclass
class Door:
    """Hands out `queue` one by one as a server should: settled by a terminal report only."""

    url: str = ""
    topic: str = ""
    queue: list[dict[str, Any]] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)
    check_ins: list[dict[str, Any]] = field(default_factory=list)
    identities: list[bytes] = field(default_factory=list)
    """SHA-256 of the certificate that signed each message, in order."""
    vouched: list[bytes] = field(default_factory=list)
    """SHA-256 of the certificate that a proxy handed on with each message, in order."""
    answers: dict[str, int] = field(default_factory=dict)
    """HTTP status by MessageType or Status, where it is not 200."""
    challenge: str = "open sesame"
    issued: int = 0
    _put_off: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.key = _CA_KEY
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Invented Device CA")])
        self.certificate = self._certificate(name, self.key.public_key())

    def order(self, request_type: str, **keys: Any) -> str:
        """Queue a command and return its CommandUUID."""
        uuid = str(uuid4())
        self.queue.append({"CommandUUID": uuid, "Command": {"RequestType": request_type, **keys}})
        return uuid

    def result_of(self, uuid: str) -> dict[str, Any]:
        """Return the last report on a command."""
        return [report for report in self.reports if report.get("CommandUUID") == uuid][-1]

    def profile(self, *, challenge: str | None = None, rights: int = 8191, identifier: str = "jp.example.mdm") -> bytes:
        """Return an enrolment profile for this door."""
        content: dict[str, Any] = {
            "URL": f"{self.url}/scep",
            "Keysize": 2048,
            "Subject": [[["O", "Invented"]], [["CN", "tablet"]]],
            "CAFingerprint": self.certificate.fingerprint(hashes.SHA256()),
            "Retries": 0,
        }
        if challenge != "":
            content["Challenge"] = challenge or self.challenge
        identity = payload("com.apple.security.scep", f"{identifier}.scep", PayloadContent=content)
        mdm = payload(
            "com.apple.mdm",
            f"{identifier}.mdm",
            IdentityCertificateUUID=identity["PayloadUUID"],
            Topic=self.topic,
            ServerURL=f"{self.url}/mdm",
            SignMessage=True,
            AccessRights=rights,
            CheckOutWhenRemoved=True,
        )
        return plistlib.dumps(payload("Configuration", identifier, PayloadContent=[identity, mdm]))

    async def scep(self, request: Request) -> Response:
        operation = request.query_params["operation"]
        if operation == "GetCACaps":
            return Response("\n".join(scep.CAPABILITIES), media_type="text/plain")
        if operation == "GetCACert":
            body = self.certificate.public_bytes(Encoding.DER)
            return Response(body, headers={"Content-Type": "application/x-x509-ca-cert"})
        message = scep.parse(await request.body())
        ours = {"certificate": self.certificate, "key": self.key}
        asked = scep.open_request(message, **ours)
        if asked.challenge != self.challenge and not message.type.renews:
            answer = scep.refuse(message, scep.FailInfo.BAD_REQUEST, **ours)
        else:
            self.issued += 1
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"tablet {self.issued}")])
            issued = self._certificate(subject, asked.public_key).public_bytes(Encoding.DER)
            answer = scep.succeed(message, asked, issued, **ours)
        return Response(answer, headers={"Content-Type": "application/x-pki-message"})

    async def mdm(self, request: Request) -> Response:
        body = await request.body()
        if "client-cert" in request.headers:
            self.vouched.append(hashlib.sha256(from_client_cert(request.headers["client-cert"].encode())).digest())
        if "client-cert" not in request.headers or "mdm-signature" in request.headers:
            signer = verify_detached(from_header(request.headers["mdm-signature"]), body)
            self.identities.append(signer.thumbprint)
        message = plistlib.loads(body)
        status = self.answers.get(message.get("MessageType") or message["Status"], 200)
        if "MessageType" in message:
            assert request.headers["content-type"] == "application/x-apple-aspen-mdm-checkin"
            self.check_ins.append(message)
            return Response(status_code=status)
        self.reports.append(message)
        if status != 200:
            return Response(status_code=status)
        if message["Status"] == "Idle":
            self._put_off.clear()
        elif message["Status"] == "NotNow":
            self._put_off.add(message["CommandUUID"])
        else:
            self.queue = [order for order in self.queue if order["CommandUUID"] != message["CommandUUID"]]
        waiting = [order for order in self.queue if order["CommandUUID"] not in self._put_off]
        return Response(plistlib.dumps(waiting[0])) if waiting else Response()

    def _certificate(self, subject: x509.Name, key: Any) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Invented Device CA")]))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .sign(self.key, hashes.SHA256())
        )


def payload(kind: str, identifier: str, **keys: Any) -> dict[str, Any]:
    """Return a payload (or a whole profile) with the keys that each must have."""
    return {
        "PayloadType": kind,
        "PayloadIdentifier": identifier,
        "PayloadUUID": str(uuid4()),
        "PayloadVersion": 1,
        **keys,
    }


@dataclass
class Town:
    """A door and a fleet of which `tablet` is one."""

    door: Door
    fleet: Fleet
    tablet: IPad


@pytest.fixture(scope="session")
def push_pki(tmp_path_factory: pytest.TempPathFactory) -> PushPki:
    return make_push_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def town(push_pki: PushPki) -> Any:
    """Give what opens a town; its one tablet is not yet enrolled."""

    @asynccontextmanager
    async def opened(device: Device | None = None, **options: Any) -> AsyncIterator[Town]:
        door = Door(topic=push_pki.topic)
        routes = [Route("/scep", door.scep, methods=["GET", "POST"]), Route("/mdm", door.mdm, methods=["PUT"])]
        listener = socket.create_server(("127.0.0.1", 0))
        door.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = Control(uvicorn.Config(Starlette(routes=routes), log_level="warning", lifespan="off"))
        serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        fleet = Fleet(push_pki, keys=KEYS, **options)
        await fleet.start()
        try:
            device = device or Device("INVENTED0001", imei="350000000000006", iccid="8981100000000000019")
            yield Town(door, fleet, fleet.add(device))
        finally:
            await fleet.stop()
            server.should_exit = True
            await serving

    return opened


def play(town: Any, scene: Callable[[Town], Awaitable[None]], device: Device | None = None, **options: Any) -> None:
    """Run a scene in a town of one door and one tablet, enrolled first."""

    async def run() -> None:
        async with town(device, **options) as opened:
            await opened.tablet.enroll(opened.door.profile())
            await opened.tablet.settled()
            await scene(opened)

    asyncio.run(run())
