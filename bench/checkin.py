"""Idle check-ins per second of the iPads' door, against an empty handler of the same server. Prints ratios.

15,000 enrolled tablets with 50 finished commands each are in PostgreSQL. Each tablet has its own certificate, all have
one key, because making keys would take longer than everything else; the door sees no difference. Door and empty handler
are one uvicorn worker each (uvloop, httptools); the load generator has a process of its own and sends both the same
requests, made beforehand, over 64 keep-alive connections. They take turns, and medians are compared. Before the clock
starts, every tablet has been heard once, so that the measured door is one that has been running for a while.

`…_clientcert`: RFC 9440 header from a trusted proxy. `…_signature`: Mdm-Signature, CMS over the body, RSA-2048.
"""

import hashlib
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
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from urllib.request import urlopen

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    pkcs7,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from bench import doors
from bench.load import Generator
from mdm import db, vault
from mdm.embedded import start_postgres

TABLETS = 15_000
HISTORY = 50
SECONDS = 4.0
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Pretend:
    """A tablet of the benchmark: certificate hash and its two ready-made requests."""

    serial: str
    udid: str
    thumbprint: bytes
    with_certificate: bytes
    with_signature: bytes


def measure(
    *, tablets: int = TABLETS, history: int = HISTORY, seconds: float = SECONDS, rounds: int = ROUNDS
) -> dict[str, float]:
    """Return both ratios with the rates behind them."""
    authority, fleet = make_fleet(tablets)
    with tempfile.TemporaryDirectory() as folder, _database(Path(folder)) as url:
        seed(url, authority, fleet, history)
        return _measure(fleet, seconds, rounds)


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


def make_fleet(count: int) -> tuple[bytes, list[Pretend]]:
    """Make a CA and `count` tablets with their requests, on all cores; return the CA's certificate in DER and them."""
    keys = [rsa.generate_private_key(65537, 2048) for _ in range(2)]
    secrets = [key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()) for key in keys]
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Benchmark device CA")])
    authority = _certificate(name, name, keys[0], keys[0], now).sign(keys[0], hashes.SHA256())
    der = authority.public_bytes(Encoding.DER)
    step = 500
    parts = [(der, *secrets, at, min(at + step, count)) for at in range(0, count, step)]
    with ProcessPoolExecutor(mp_context=get_context("spawn"), max_workers=os.cpu_count()) as pool:
        return der, [tablet for part in pool.map(_make_part, parts) for tablet in part]


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey, _signer: rsa.RSAPrivateKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365))
    )


def _make_part(part: tuple[bytes, bytes, bytes, int, int]) -> list[Pretend]:
    authority = x509.load_der_x509_certificate(part[0])
    ca_key, key = (load_der_private_key(secret, None) for secret in part[1:3])
    assert isinstance(ca_key, rsa.RSAPrivateKey)
    assert isinstance(key, rsa.RSAPrivateKey)
    now = datetime.now(UTC)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    made = []
    for number in range(part[3], part[4]):
        serial, udid = f"BENCH{number:06}", f"00008030-{number:016X}"
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, serial)])
        builder = _certificate(subject, authority.subject, key, ca_key, now)
        certificate = builder.add_extension(usage, critical=False).sign(ca_key, hashes.SHA256())
        made.append(_pretend(serial, udid, certificate, key))
    return made


def _pretend(serial: str, udid: str, certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> Pretend:
    body = plistlib.dumps({"Status": "Idle", "UDID": udid})
    der = certificate.public_bytes(Encoding.DER)
    signature = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(body)
        .add_signer(certificate, key, hashes.SHA256())
        .sign(Encoding.DER, [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary])
    )
    return Pretend(
        serial,
        udid,
        hashlib.sha256(der).digest(),
        _request(body, b"Client-Cert: :" + b64encode(der) + b":"),
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


def seed(url: str, authority: bytes, fleet: list[Pretend], history: int) -> None:
    """Write the enrolled fleet with its history, and let PostgreSQL look at it once."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO authority (certificate, key_sealed) VALUES (%s, '')", (authority,))
        connection.execute("INSERT INTO school (code, name) VALUES ('B', 'Bench')")
        with connection.cursor().copy(
            "COPY device (control_number, serial, platform, model, school_id, lease_contract, state) FROM STDIN"
        ) as copy:
            for tablet in fleet:
                copy.write_row((tablet.serial, tablet.serial, "apple", "", 1, "", "issued"))
        connection.execute("CREATE TEMP TABLE given (serial text, udid text, sha256 bytea)")
        with connection.cursor().copy("COPY given FROM STDIN") as copy:
            for tablet in fleet:
                copy.write_row((tablet.serial, tablet.udid, tablet.thumbprint))
        connection.execute(
            "INSERT INTO enrollment (device_id, status, epoch, udid, enrolled_at)"
            " SELECT d.id, 'active', 1, g.udid, now() FROM given g JOIN device d USING (serial)"
        )
        connection.execute(
            "INSERT INTO device_identity (sha256, device_id, associated_at, not_after, renew_at)"
            " SELECT g.sha256, d.id, now(), now() + interval '1 year', now() + interval '200 days'"
            " FROM given g JOIN device d USING (serial)"
        )
        # Interleaved as in real life: one command of every tablet, then the next of every tablet.
        connection.execute(
            "INSERT INTO command (device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at, ended_at,"
            " result) SELECT d.id, 1, 'inventory_device', '{}', 'inventory_device', 1, 'done', now(), now(), '{}'"
            " FROM generate_series(1, %s) AS turn, device d ORDER BY turn, d.id",
            (history,),
        )
        connection.execute("VACUUM ANALYZE")


if __name__ == "__main__":
    print(json.dumps(measure()))
