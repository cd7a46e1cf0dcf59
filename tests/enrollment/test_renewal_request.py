"""RenewalReq: who may renew with the old certificate in place of a challenge."""

import pytest
from cryptography.hazmat.primitives import hashes
from sqlalchemy import text

from mdm.devices.models import DeviceIdentity


def in_use(session, certificate):
    """Let the tablet of a certificate be enrolled with it."""
    thumbprint = certificate.fingerprint(hashes.SHA256())
    session.execute(text("UPDATE device_identity SET associated_at = now() WHERE sha256 = :h"), {"h": thumbprint})
    session.execute(
        text(
            "UPDATE enrollment SET status = 'active' WHERE device_id ="
            " (SELECT device_id FROM device_identity WHERE sha256 = :h)"
        ),
        {"h": thumbprint},
    )
    session.commit()


def test_renewal_with_the_old_certificate(session, client, new_client, keys, ticket, enroll):
    """An enrolled tablet renews for a new key without a challenge, lost or not; the identity is marked."""
    old = enroll(client, ticket.secret).certificate
    renewing = new_client(client.key, old)
    assert enroll(renewing, kind="17", key=keys[1], transaction_id="r-1").fail_info == "4"
    in_use(session, old)
    session.execute(text("UPDATE device SET state = 'lost' WHERE serial = 'ISSUED1'"))
    session.commit()
    renewed = enroll(renewing, kind="17", key=keys[1], transaction_id="r-2").certificate
    assert renewed.public_key() == keys[1].public_key()
    record = session.get(DeviceIdentity, renewed.fingerprint(hashes.SHA256()))
    assert (record.renewal, record.ticket_id, record.associated_at) == (True, None, None)


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE device_identity SET revoked_at = now()",
        "UPDATE enrollment SET status = 'ended'",
        "UPDATE device SET state = 'retired'",
        "DELETE FROM device_identity",
    ],
)
def test_renewals_that_are_refused(session, client, new_client, keys, ticket, enroll, spoil):
    """A revoked or unknown certificate, an ended enrolment and a retired tablet renew nothing."""
    old = enroll(client, ticket.secret).certificate
    in_use(session, old)
    session.execute(text(spoil))
    session.commit()
    assert enroll(new_client(client.key, old), kind="17", key=keys[1], transaction_id="r-1").fail_info == "4"


def test_a_self_signed_certificate_renews_nothing(client, ticket, enroll):
    """RenewalReq is for our own certificates, whatever challenge comes along."""
    assert enroll(client, ticket.secret, kind="17").fail_info == "4"
