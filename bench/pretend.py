"""What the benchmarks of the iPads' door have in common: databases of their own, a fleet's requests, servers' ports.

Requests are made before any clock starts. Nothing here measures.
"""

import os
import plistlib
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from urllib.request import urlopen

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key, pkcs7

from bench import doors
from bench.seeding import District, Tablet
from mdm import db, vault
from mdm.embedded import start_postgres

_PART = 500
"""Tablets whose requests are made by one call of a worker process."""


@dataclass(frozen=True, slots=True)
class Pretend:
    """The two ready-made requests of an idle tablet."""

    with_certificate: bytes
    with_signature: bytes


def make_requests(district: District) -> list[Pretend]:
    """Return the idle requests of all tablets, made on all cores."""
    parts = [(district.key, district.tablets[at : at + _PART]) for at in range(0, len(district.tablets), _PART)]
    with ProcessPoolExecutor(mp_context=get_context("spawn"), max_workers=os.cpu_count()) as pool:
        return [pretend for part in pool.map(_make_part, parts) for pretend in part]


def _make_part(part: tuple[bytes, list[Tablet]]) -> list[Pretend]:
    key = load_der_private_key(part[0], None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return [_pretend(tablet, key) for tablet in part[1]]


def _pretend(tablet: Tablet, key: rsa.RSAPrivateKey) -> Pretend:
    body = plistlib.dumps({"Status": "Idle", "UDID": tablet.udid})
    certificate = x509.load_der_x509_certificate(tablet.certificate)
    signature = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(body)
        .add_signer(certificate, key, hashes.SHA256())
        .sign(Encoding.DER, [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary])
    )
    return Pretend(
        with_client_certificate(tablet, body),
        _request(body, b"Mdm-Signature: " + b64encode(signature)),
    )


def with_client_certificate(tablet: Tablet, body: bytes) -> bytes:
    """Return a request of a tablet as a trusted proxy hands it on, with the RFC 9440 header."""
    return _request(body, b"Client-Cert: :" + b64encode(tablet.certificate) + b":")


def _request(body: bytes, header: bytes) -> bytes:
    return (
        b"PUT /mdm/apple HTTP/1.1\r\nHost: door.example\r\nUser-Agent: MDM/1.0\r\n"
        b"Content-Type: application/x-apple-aspen-mdm; charset=UTF-8\r\n"
        + header
        + b"\r\nContent-Length: "
        + str(len(body)).encode()
        + b"\r\n\r\n"
        + body
    )


@contextmanager
def databases() -> Iterator[Callable[[str], str]]:
    """Start a PostgreSQL of the benchmark's own, durable as in production; call what is given to make a database.

    The settings of this process and of its children name the secret key and, for now, no database.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        key_file = folder / "secret.key"
        key_file.write_text(vault.new_key_line())
        server = start_postgres(folder / "postgres")

        def make(name: str) -> str:
            with psycopg.connect(server.url_of("postgres"), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            db.migrate(server.url_of(name))
            return server.url_of(name)

        try:
            os.environ.update(
                DATABASE_URL=server.url_of("postgres"),
                REDIS_URL="redis://127.0.0.1:1/0",
                TABANE_SECRET_KEY_FILE=str(key_file),
                TABANE_APPLE__CLIENT_CERT_PROXIES='["127.0.0.1/32"]',
            )
            yield make
        finally:
            server.stop()


@contextmanager
def serving(urls: Mapping[str, str]) -> Iterator[dict[str, int]]:
    """Start the empty handler, and a door on each of these databases; give their ports by name, `empty` among them."""
    started = {"empty": doors.start("empty")} | {name: doors.start("door", url) for name, url in urls.items()}
    try:
        for name in urls:
            _wait_for(started[name][1])
        yield {name: port for name, (_, port) in started.items()}
    finally:
        for process, _ in started.values():
            process.terminate()
            process.join(10)


def _wait_for(port: int) -> None:
    for _ in range(100):
        try:
            with urlopen(f"http://127.0.0.1:{port}/livez", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
    raise RuntimeError("the door did not start")
