"""The device CA: what its certificates say, that its key is sealed, and that there is one."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlmodel import select

from enrollment import ca
from enrollment.ca import Admission
from enrollment.models import Authority
from mdm import db
from mdm.cms.certificates import verify_chain
from mdm.devices.models import DeviceIdentity


def test_it_is_made_once(session):
    """First uses at the same time make one CA between them, and later ones find it."""

    def first(_):
        with db.transaction() as own:
            return ca.signing(own).certificate

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(first, range(4)))) == 1
    assert len(session.exec(select(Authority)).all()) == 1
    assert ca.trusted(session) == (ca.signing(session).certificate,)


def test_its_key_is_long_enough(ca_keys):
    """It outlives 2030, after which 2048 bits are not enough (NIST SP 800-57)."""
    assert ca_keys[0].key_size == 3072


def test_its_certificate_may_do_what_scep_needs(session):
    """Signing certificates, signing answers and receiving requests."""
    certificate = ca.signing(session).certificate
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.key_encipherment
    assert usage.key_cert_sign
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificate.not_valid_before_utc < datetime.now(UTC)


def test_its_key_is_sealed(session):
    """The table never holds the key as it is."""
    key = ca.signing(session).key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    row = session.exec(select(Authority)).one()
    assert key not in row.key_sealed
    assert key[40:72] not in row.key_sealed


def test_a_new_one_signs_and_the_old_one_stays_trusted(session):
    """The newest row signs; identities of the older one still chain."""
    old = ca.signing(session).certificate
    ca.found(session)
    new = ca.signing(session).certificate
    assert old != new
    assert ca.trusted(session) == (new, old)


def test_an_identity(session, district, keys):
    """Subject and usages are ours, it starts an hour ago, lives three years, chains, and is on record."""
    device_id = district.devices["ISSUED1"]
    der = ca.issue(session, keys[0].public_key(), Admission(name="ISSUED1", device_id=device_id))
    moment = datetime.now(UTC)
    certificate = x509.load_der_x509_certificate(der)
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "ISSUED1"
    assert list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert timedelta(minutes=59) < moment - certificate.not_valid_before_utc < timedelta(minutes=61)
    assert timedelta(days=1094) < certificate.not_valid_after_utc - moment <= timedelta(days=1095)
    assert verify_chain(der, ca.trusted(session), at=moment) == ca.signing(session).certificate
    record = session.get(DeviceIdentity, hashlib.sha256(der).digest())
    assert (record.device_id, record.associated_at, record.renewal) == (device_id, None, False)
    assert abs(record.renew_at - moment - timedelta(days=1095) * 0.6) < timedelta(minutes=1)
    assert record.not_after == certificate.not_valid_after_utc


def test_elliptic_identities_only_sign(session, keys):
    """A P-256 key gets no key encipherment, and long names are cut to what X.509 allows."""
    der = ca.issue(session, ec.generate_private_key(ec.SECP256R1()).public_key(), Admission(name="x" * 99))
    usage = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_encipherment


def test_openssl_agrees(session, keys, openssl, tmp_path):
    """`openssl verify` builds the chain for the purpose of a TLS client."""
    der = ca.issue(session, keys[0].public_key(), Admission(name="ISSUED1"))
    (tmp_path / "ca.pem").write_bytes(ca.signing(session).certificate.public_bytes(Encoding.PEM))
    (tmp_path / "leaf.pem").write_bytes(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM))
    strict = ("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", tmp_path / "ca.pem")
    assert b"OK" in openssl(*strict, tmp_path / "leaf.pem")
