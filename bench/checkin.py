"""Idle check-ins per second of the iPads' door, against an empty handler of the same server. Prints ratios.

15,000 enrolled tablets with 50 finished commands each are in PostgreSQL (`bench.seeding`). Door and empty handler are
one uvicorn worker each (uvloop, httptools); the load generator has a process of its own and sends both the same
requests, made beforehand, over 64 keep-alive connections. They take turns, and medians are compared. Before the clock
starts, every tablet has been heard once, so that the measured door is one that has been running for a while.

`…_clientcert`: RFC 9440 header from a trusted proxy. `…_signature`: Mdm-Signature, CMS over the body, RSA-2048.
"""

import json
import os
import plistlib
import statistics
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from urllib.request import urlopen

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_der_private_key,
    pkcs7,
)

from bench import doors
from bench.load import Generator
from bench.seeding import District, Tablet, make_fleet, seed
from mdm import db, vault
from mdm.embedded import start_postgres

TABLETS = 15_000
HISTORY = 50
SECONDS = 4.0
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Pretend:
    """The two ready-made requests of a tablet."""

    with_certificate: bytes
    with_signature: bytes


def measure(
    *, tablets: int = TABLETS, history: int = HISTORY, seconds: float = SECONDS, rounds: int = ROUNDS
) -> dict[str, float]:
    """Return both ratios with the rates behind them."""
    district = make_fleet(tablets)
    with tempfile.TemporaryDirectory() as folder, _database(Path(folder)) as url:
        seed(url, district, history=history)
        return _measure(make_requests(district), seconds, rounds)


def make_requests(district: District) -> list[Pretend]:
    """Return the requests of all tablets, made on all cores."""
    step = 500
    parts = [(district.key, district.tablets[at : at + step]) for at in range(0, len(district.tablets), step)]
    with ProcessPoolExecutor(mp_context=get_context("spawn"), max_workers=os.cpu_count()) as pool:
        return [pretend for part in pool.map(_make_part, parts) for pretend in part]


def _make_part(part: tuple[bytes, list[Tablet]]) -> list[Pretend]:
    key = load_der_private_key(part[0], None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return [_pretend(tablet, key) for tablet in part[1]]


def _measure(fleet: list[Pretend], seconds: float, rounds: int) -> dict[str, float]:
    generator = Generator()
    generator.keep("clientcert", [tablet.with_certificate for tablet in fleet])
    generator.keep("signature", [tablet.with_signature for tablet in fleet])
    (door, door_port), (empty, empty_port) = doors.start("door"), doors.start("empty")
    ways = ("clientcert", "signature")
    rates: dict[str, list[float]] = {f"{way} {side}": [] for way in ways for side in ("door", "empty")}
    try:
        _wait_for(door_port)
        for way in ways:
            generator.rate(way, door_port, seconds=1, at_least=len(fleet))
            generator.rate(way, empty_port, seconds=1)
        for _ in range(rounds):
            for way in ways:
                rates[f"{way} empty"].append(generator.rate(way, empty_port, seconds=seconds))
                rates[f"{way} door"].append(generator.rate(way, door_port, seconds=seconds))
    finally:
        generator.stop()
        for process in (door, empty):
            process.terminate()
            process.join(10)
    middle = {name: statistics.median(values) for name, values in rates.items()}
    found: dict[str, float] = {}
    for way in ways:
        found[f"checkin_vs_empty_{way}"] = round(middle[f"{way} door"] / middle[f"{way} empty"], 3)
    for way in ways:
        found[f"checkins_per_s_{way}"] = round(middle[f"{way} door"])
        found[f"empty_requests_per_s_{way}"] = round(middle[f"{way} empty"])
    return found


def _wait_for(port: int) -> None:
    for _ in range(100):
        try:
            with urlopen(f"http://127.0.0.1:{port}/livez", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pass
    raise RuntimeError("the door did not start")


@contextmanager
def _database(folder: Path) -> Iterator[str]:
    """Start a PostgreSQL of the benchmark's own, and point the settings of this process and its children at it."""
    folder.chmod(0o711)
    key_file = folder / "secret.key"
    key_file.write_text(vault.new_key_line())
    server = start_postgres(folder / "postgres")
    try:
        url = server.url_of("postgres")
        db.migrate(url)
        os.environ.update(
            DATABASE_URL=url,
            REDIS_URL="redis://127.0.0.1:1/0",
            TABANE_SECRET_KEY_FILE=str(key_file),
            TABANE_APPLE__CLIENT_CERT_PROXIES='["127.0.0.1/32"]',
        )
        yield url
    finally:
        server.stop()


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
        _request(body, b"Client-Cert: :" + b64encode(tablet.certificate) + b":"),
        _request(body, b"Mdm-Signature: " + b64encode(signature)),
    )


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


if __name__ == "__main__":
    print(json.dumps(measure()))
