"""The SCEP server and the profile's download, through the tablets' door."""

import base64
import plistlib
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlmodel import col, select

from enrollment import ca, tickets
from mdm import settings as house
from mdm.audit.models import AuditEvent
from mdm.auth import Scope
from mdm.cms.enveloped import Cipher
from mdm.devices.models import Device, DeviceIdentity

SCEP = "/scep?operation=PKIOperation"
EVERYWHERE = Scope(all_schools=True)


def trail(session):
    session.rollback()
    events = session.exec(select(AuditEvent).order_by(col(AuditEvent.id))).all()
    return [(event.actor, event.action, event.subject, event.details) for event in events]


def identities_of(session, serial):
    session.rollback()
    statement = select(DeviceIdentity).join(Device, col(Device.id) == DeviceIdentity.device_id)
    return session.exec(statement.where(Device.serial == serial)).all()


def test_capabilities(door):
    """One name a line, as RFC 8894 lists them."""
    answer = door.get("/scep?operation=GetCACaps")
    assert answer.headers["content-type"].startswith("text/plain")
    assert set(answer.text.split()) >= {"POSTPKIOperation", "SCEPStandard", "Renewal", "SHA-256", "AES", "DES3"}


@pytest.mark.parametrize("by_get", [False, True])
def test_a_ticket_gets_a_certificate(door, session, authority, client, ticket, district, by_get):
    """By POST and by GET: bound to the ledger's tablet, named by us, on record."""
    request = client.request(authority, ticket.secret)
    if by_get:
        answer = door.get(SCEP, params={"operation": "PKIOperation", "message": base64.b64encode(request).decode()})
    else:
        answer = door.post(SCEP, content=request)
    assert answer.headers["content-type"] == "application/x-pki-message"
    issued = client.read(answer.content, authority).certificate
    assert issued.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "ISSUED1"
    assert issued.public_key() == client.key.public_key()
    issued.verify_directly_issued_by(authority)
    record = session.get(DeviceIdentity, issued.fingerprint(hashes.SHA256()))
    assert (record.device_id, record.ticket_id, record.renewal) == (district.devices["ISSUED1"], ticket.id, False)
    actor, action, subject, _ = trail(session)[-1]
    assert (actor, action, subject) == ("tablet:ISSUED1", "identity.issue", f"device:{record.device_id}")


def test_a_retry_gets_the_same_certificate(session, client, ticket, enroll):
    """A repeated transaction spends nothing and gets what it got; a new one with the same challenge is refused."""
    first = enroll(client, ticket.secret)
    again = enroll(client, ticket.secret)
    assert first.status == again.status == "0"
    assert first.certificate == again.certificate
    refused = enroll(client, ticket.secret, transaction_id="t-2")
    assert (refused.status, refused.fail_info) == ("2", "2")
    assert len(identities_of(session, "ISSUED1")) == 1
    assert trail(session)[-1][1:] == (
        "identity.refuse",
        f"device:{identities_of(session, 'ISSUED1')[0].device_id}",
        {"reason": "the ticket is used up"},
    )


def test_a_transaction_of_another_key_fails(session, district, client, new_client, keys, enroll):
    """A known transaction identifier with another key is refused, and that key's ticket is not spent."""
    bench = tickets.open_for_staging(
        session,
        school_id=district.schools["e-01"],
        uses=2,
        lifetime=tickets.timedelta(hours=1),
        created_by=None,
        platform=tickets.Platform.APPLE,
    )
    session.commit()
    other = new_client(keys[1])
    assert enroll(client, bench.secret).status == "0"
    assert enroll(other, bench.secret).fail_info == "2"
    issued = enroll(other, bench.secret, transaction_id="t-2").certificate
    record = session.get(DeviceIdentity, issued.fingerprint(hashes.SHA256()))
    assert (record.device_id, record.school_id) == (None, district.schools["e-01"])
    assert enroll(other, bench.secret, transaction_id="t-3").status == "2"


def test_copies_at_the_same_time_get_one_certificate(door, session, authority, client, ticket):
    """Six copies of one request, all at once, are one certificate."""
    request = client.request(authority, ticket.secret)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: door.post(SCEP, content=request).content, range(6)))
    issued = {client.read(answer, authority).certificate for answer in answers}
    assert len(issued) == 1
    assert None not in issued
    assert len(identities_of(session, "ISSUED1")) == 1


@pytest.mark.parametrize("challenge", [None, "", "guess", "0" * 64])
def test_strangers_are_refused_and_leave_no_trail(session, client, ticket, enroll, challenge):
    """A wrong challenge is a FAILURE in SCEP's own words; guesses do not fill the audit trail."""
    answer = enroll(client, challenge)
    assert (answer.status, answer.fail_info, answer.certificate) == ("2", "2", None)
    assert trail(session) == []


def test_a_lost_tablet_does_not_get_in(door, session, client, ticket, enroll):
    """Neither by profile nor by SCEP, and both refusals are on record."""
    session.execute(text("UPDATE device SET state = 'lost' WHERE serial = 'ISSUED1'"))
    session.commit()
    assert door.get(f"/enroll/apple/{ticket.secret}").status_code == 404
    assert enroll(client, ticket.secret).status == "2"
    reasons = [(action, details) for _, action, _, details in trail(session)]
    assert reasons == [("identity.refuse", {"reason": "the tablet is lost in the ledger"})] * 2


def test_single_des_needs_the_setting(database, push_certificate, client, ticket, authority, door, monkeypatch):
    """Off by default; with the setting, libraries that know nothing else get in."""
    request = client.request(authority, ticket.secret, cipher=Cipher.DES)
    assert client.read(door.post(SCEP, content=request).content, authority).fail_info == "0"
    monkeypatch.setenv("TABANE_APPLE__SCEP_ALLOW_DES", "true")
    house.get_settings.cache_clear()
    assert client.read(door.post(SCEP, content=request).content, authority).status == "0"


def test_a_revoked_certificate_is_not_given_again(session, client, ticket, enroll):
    """A transaction whose certificate was revoked since is a new request, and needs a ticket."""
    enroll(client, ticket.secret)
    session.execute(text("UPDATE device_identity SET revoked_at = now()"))
    session.commit()
    assert enroll(client, ticket.secret).status == "2"
    fresh = tickets.open_for_tablet(session, EVERYWHERE, serial="ISSUED1", created_by=None)
    session.commit()
    assert enroll(client, fresh.secret).status == "0"
    assert len(identities_of(session, "ISSUED1")) == 2


@pytest.mark.parametrize("kind", ["20", "21", "22"])
def test_other_messages_are_refused_politely(client, enroll, kind):
    """Polling and the CRL's messages get a FAILURE."""
    assert enroll(client, kind=kind).fail_info == "2"


def test_a_client_that_repeats_itself_in_the_query(door, authority, client, keys, ticket, monkeypatch):
    """Mdmb's ways: a throw-away signer, SHA-1, DES, and the raw message in the query beside the body."""
    monkeypatch.setenv("TABANE_APPLE__SCEP_ALLOW_DES", "true")
    house.get_settings.cache_clear()
    request = client.go_request(authority, keys[1], ticket.secret)
    answer = door.post(f"{SCEP}&{urlencode({'message': request})}", content=request)
    issued = client.read(answer.content, authority).certificate
    assert issued.public_key() == keys[1].public_key()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/scep"),
        ("GET", "/scep?operation=GetNextCACert"),
        ("GET", "/scep?operation=PKIOperation"),
        ("GET", "/scep?operation=PKIOperation&message=%25%25"),
        ("POST", "/scep"),
        ("POST", "/scep?operation=GetCACert"),
        ("POST", SCEP),
    ],
)
def test_garbage_is_400(door, method, path):
    """What is no SCEP request gets a bare 400."""
    answer = door.request(method, path, content=b"garbage" if method == "POST" else None)
    assert (answer.status_code, answer.content) == (400, b"")


def test_bodies_are_capped(door):
    """More than 64 KB is not read."""
    assert door.post(SCEP, content=bytes(70_000)).status_code == 413


@given(data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_requests_get_an_answer(door, client, authority, data):
    """Changed bytes are 400 or a FAILURE, never 401, never a failure of ours."""
    whole = client.request(authority, "guess")
    place = data.draw(st.integers(0, 8000)) % len(whole)
    keep = data.draw(st.sampled_from([0, 1, 8000]))
    answer = door.post(SCEP, content=whole[:place] + data.draw(st.binary(max_size=4)) + whole[place + keep :])
    assert answer.status_code in (200, 400)
    if answer.status_code == 200:
        assert client.read(answer.content, authority).status == "2"


def test_the_profile(door, ticket, authority, push_certificate):
    """A live ticket's address gives its profile, as often as it is asked; any other address gives 404."""
    for _ in range(2):
        answer = door.get(f"/enroll/apple/{ticket.secret}")
        assert answer.headers["content-type"] == "application/x-apple-aspen-config"
        assert answer.headers["cache-control"] == "no-store"
        scep, mdm = plistlib.loads(answer.content)["PayloadContent"]
        assert scep["PayloadContent"]["Challenge"] == ticket.secret
        assert scep["PayloadContent"]["Subject"][-1] == [["CN", "ISSUED1"]]
        assert scep["PayloadContent"]["CAFingerprint"] == authority.fingerprint(hashes.SHA256())
        assert mdm["Topic"] == push_certificate
    assert door.get("/enroll/apple/guess").status_code == 404


def test_the_profile_signed(door, session, ticket, authority, monkeypatch, openssl, tmp_path):
    """With the setting it is signed by the device CA."""
    monkeypatch.setenv("TABANE_APPLE__SIGN_PROFILES", "true")
    house.get_settings.cache_clear()
    (tmp_path / "ca.pem").write_bytes(ca.signing(session).certificate.public_bytes(Encoding.PEM))
    data = door.get(f"/enroll/apple/{ticket.secret}").content
    verify = ("cms", "-verify", "-binary", "-inform", "DER", "-CAfile", tmp_path / "ca.pem", "-purpose", "any")
    assert plistlib.loads(openssl(*verify, data=data))["PayloadIdentifier"] == "tabane.enrollment"


def test_without_a_push_certificate_there_is_no_profile(door, ticket, monkeypatch):
    """The topic cannot be guessed, so the profile waits for it."""
    monkeypatch.delenv("TABANE_APPLE__PUSH_CERTIFICATE")
    house.get_settings.cache_clear()
    assert door.get(f"/enroll/apple/{ticket.secret}").status_code == 503
