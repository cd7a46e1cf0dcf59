"""A district of enrolled tablets in PostgreSQL within seconds: no enrolment over the wire, COPY instead.

What is written is what an enrolment leaves behind, and `papers` gives a pretended tablet its half of it. Each tablet
has a certificate of its own, all have one key: making keys would take longer than everything else; the door sees no
difference. The settings must name the secret key file that the servers will use.
"""

import hashlib
import os
import secrets
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from uuid import uuid4

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mdm import vault
from simulator.tablets.device import Device
from simulator.tablets.enlisting import Papers

SCHOOLS = 40
_PART = 500
"""Certificates made by one call of a worker process."""


@dataclass(frozen=True, slots=True)
class Tablet:
    """An enrolled tablet of a seeded district: what the server and the tablet both know."""

    serial: str
    udid: str
    certificate: bytes = field(repr=False)
    """DER; empty where only the server's half is of interest."""
    thumbprint: bytes
    token: bytes = field(repr=False)
    magic: str = field(repr=False)
    school: int
    """From 0 on."""


@dataclass(frozen=True, slots=True)
class District:
    """A seeded district. Keys are PKCS#8 in DER."""

    authority: bytes
    authority_key: bytes = field(repr=False)
    key: bytes = field(repr=False)
    """The one key of all tablets."""
    tablets: list[Tablet]
    schools: int = SCHOOLS


def make_fleet(count: int, *, schools: int = SCHOOLS, certified: bool = True) -> District:
    """Make a CA and `count` tablets, on all cores; without `certified` the server's half only, which is much faster."""
    keys = [rsa.generate_private_key(65537, 2048) for _ in range(2)]
    ca_key, key = (each.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()) for each in keys)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Benchmark device CA")])
    signed = _certificate(name, name, keys[0].public_key()).sign(keys[0], hashes.SHA256())
    authority = signed.public_bytes(Encoding.DER)
    if not certified:
        tablets = [_tablet(number, b"", schools) for number in range(count)]
        return District(authority, ca_key, key, tablets, schools)
    parts = [(authority, ca_key, key, at, min(at + _PART, count), schools) for at in range(0, count, _PART)]
    with ProcessPoolExecutor(mp_context=get_context("spawn"), max_workers=os.cpu_count()) as pool:
        made = [tablet for part in pool.map(_make_part, parts) for tablet in part]
    return District(authority, ca_key, key, made, schools)


def papers(district: District, tablet: Tablet, *, url: str, topic: str, signs: bool) -> Papers:
    """Return the tablet's half: what a pretended tablet goes on with at the door `url`."""
    return Papers(
        url=url,
        topic=topic,
        certificate=tablet.certificate,
        key=_private(district.key),
        token=tablet.token,
        magic=tablet.magic,
        signs=signs,
    )


def seed(url: str, district: District, *, topic: str = "", history: int = 0) -> None:
    """Write the enrolled district, with `history` finished commands for each tablet, and let PostgreSQL look at it.

    The database must be empty. The device CA is written too, so that tablets may also enrol in the ordinary way.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        with connection.transaction():
            _write_authority(connection, district)
            _write_tablets(connection, district, topic)
        _write_history(connection, history)
        connection.execute("VACUUM ANALYZE")


def _write_history(connection: psycopg.Connection, count: int) -> None:
    """Write finished commands over a year: one in fifty ended lately and is in the hot table, the rest is in its month.

    Interleaved as in real life: one command of every tablet, then the next of every tablet. Of the past, the steps are
    left out: nobody looks for them on the hot path, and they would take most of the time.
    """
    recent = -(-count // 50)
    names = (
        "id, device_id, epoch, kind, arguments, dedupe_key, lane, state, created_at, expires_at, delivered_at, ended_at"
    )
    finished = (
        f"({names}, result, not_now_count) SELECT uuidv7(t.ago), d.id, 1, 'inventory_device', '{{}}',"
        " 'inventory_device', 1, 'done', now() + t.ago, now(), now() + t.ago, now() + t.ago, '{}', 0"
        " FROM (SELECT turn, (turn - %s) * interval '1 second' * (%s::double precision / %s) AS ago"
        " FROM generate_series(1, %s) AS turn) t, device d ORDER BY t.turn, d.id"
    )
    if count > recent:
        rest = count - recent
        connection.execute(f"INSERT INTO command_past {finished}", (rest + 1, 360 * 86400, rest, rest))
    if recent:
        connection.execute(
            f"WITH done AS (INSERT INTO command {finished} RETURNING id)"
            " INSERT INTO command_event (command_id, state) SELECT id, 'done' FROM done",
            (recent + 1, 86400, recent, recent),
        )


def _write_authority(connection: psycopg.Connection, district: District) -> None:
    sealed = vault.seal("authority.key", district.authority_key)
    connection.execute("INSERT INTO authority (certificate, key_sealed) VALUES (%s, %s)", (district.authority, sealed))


def _write_tablets(connection: psycopg.Connection, district: District, topic: str) -> None:
    for number in range(district.schools):
        connection.execute("INSERT INTO school (code, name) VALUES (%s, %s)", (f"B{number:02}", f"Bench {number}"))
    rows = connection.execute("SELECT id FROM school ORDER BY id").fetchall()
    schools = [school_id for (school_id,) in rows]
    _copy(
        connection,
        "device (control_number, serial, platform, model, school_id, lease_contract, state)",
        ((each.serial, each.serial, "apple", "", schools[each.school], "", "issued") for each in district.tablets),
    )
    connection.execute("CREATE TEMP TABLE given (serial text, udid text, sha256 bytea, token bytea, magic bytea)")
    _copy(
        connection,
        "given",
        (
            (each.serial, each.udid, each.thumbprint, each.token, vault.seal("enrollment.push_magic", _utf8(each)))
            for each in district.tablets
        ),
    )
    connection.execute(
        "INSERT INTO enrollment (device_id, status, epoch, udid, topic, push_token, push_magic, token_at, supervised,"
        " os_version, product, enrolled_at)"
        " SELECT d.id, 'active', 1, g.udid, %s, g.token, g.magic, now(), true, '18.1', 'iPad13,18', now()"
        " FROM given g JOIN device d USING (serial) ORDER BY d.id",
        (topic,),
    )
    connection.execute(
        "INSERT INTO device_identity (sha256, device_id, associated_at, not_after, renew_at)"
        " SELECT g.sha256, d.id, now(), now() + interval '1 year', now() + interval '200 days'"
        " FROM given g JOIN device d USING (serial)"
    )


def _utf8(tablet: Tablet) -> bytes:
    return tablet.magic.encode()


def _copy(connection: psycopg.Connection, target: str, rows: Iterable[Sequence[object]]) -> None:
    with connection.cursor().copy(f"COPY {target} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _certificate(subject: x509.Name, issuer: x509.Name, key: rsa.RSAPublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365))
    )


def _make_part(part: tuple[bytes, bytes, bytes, int, int, int]) -> list[Tablet]:
    authority = x509.load_der_x509_certificate(part[0])
    ca_key, public = _private(part[1]), _private(part[2]).public_key()
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    made = []
    for number in range(part[3], part[4]):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _serial(number))])
        builder = _certificate(subject, authority.subject, public).add_extension(usage, critical=False)
        made.append(_tablet(number, builder.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.DER), part[5]))
    return made


def _tablet(number: int, certificate: bytes, schools: int) -> Tablet:
    serial = _serial(number)
    return Tablet(
        serial=serial,
        udid=Device(serial).udid,
        certificate=certificate,
        thumbprint=hashlib.sha256(certificate or serial.encode()).digest(),
        token=secrets.token_bytes(32),
        magic=str(uuid4()).upper(),
        school=number % schools,
    )


def _serial(number: int) -> str:
    return f"BENCH{number:06}"


def _private(der: bytes) -> rsa.RSAPrivateKey:
    key = load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key
