"""Renewal by profile: who is due, what is ordered, and what the new certificate is."""

import plistlib
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from sqlalchemy import text
from sqlmodel import select

from enrollment import ca, renewal, tickets
from enrollment.ca import Admission
from mdm.auth import Scope
from mdm.commands.models import Command
from mdm.commands.sealed import open_argument
from mdm.devices.models import DeviceIdentity, Wakeup
from mdm.platform import Platform


@pytest.fixture
def enrolled(session, district, keys, push_certificate):
    """An enrolled tablet whose identity is due; its id."""
    device_id = district.devices["ISSUED1"]
    ca.issue(session, keys[0].public_key(), Admission(name="ISSUED1", device_id=device_id))
    session.execute(text("UPDATE device_identity SET associated_at = now() - interval '700 days', renew_at = now()"))
    session.execute(
        text("UPDATE enrollment SET status = 'active', push_token = 'x', topic = 'y' WHERE device_id = :d"),
        {"d": device_id},
    )
    session.commit()
    return device_id


def due(session):
    return [each.device_id for each in renewal.due(session, limit=10)]


def test_an_order(session, enrolled):
    """One command with the sealed profile, one challenge bound to the tablet, one wake-up; and only once."""
    assert renewal.order_due(session) == 1
    assert renewal.order_due(session) == 0
    command = session.exec(select(Command)).one()
    assert (command.device_id, command.kind, command.state) == (enrolled, "renew_identity", "queued")
    outer = plistlib.loads(open_argument(command.arguments["profile"]))
    assert outer["PayloadIdentifier"] == "tabane.enrollment"
    challenge = outer["PayloadContent"][0]["PayloadContent"]["Challenge"]
    assert challenge not in str(command.arguments)
    admission = tickets.look_up(session, Platform.APPLE, challenge)
    assert (admission.device_id, admission.renewal) == (enrolled, True)
    assert session.get(Wakeup, enrolled) is not None
    assert tickets.list_tickets(session, Scope(all_schools=True), live=False, limit=5) == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE device_identity SET renew_at = now() + interval '1 minute'",
        "UPDATE device_identity SET revoked_at = now()",
        "UPDATE device_identity SET associated_at = NULL",
        "UPDATE device_identity SET not_after = now()",
        "UPDATE enrollment SET status = 'pending'",
        "UPDATE device SET state = 'retired'",
    ],
)
def test_who_is_not_due(session, enrolled, change):
    """Young, revoked, unused and expired identities, and tablets that are not managed, are left alone."""
    assert due(session) == [enrolled]
    session.execute(text(change))
    assert due(session) == []


def test_a_newer_identity_in_use_counts(session, enrolled, keys):
    """Who renewed already is not asked again because of the old certificate."""
    der = ca.issue(session, keys[1].public_key(), Admission(name="ISSUED1", device_id=enrolled, renewal=True))
    assert due(session) == [enrolled]
    session.execute(text("UPDATE device_identity SET associated_at = now() WHERE sha256 = sha256(:der)"), {"der": der})
    assert due(session) == []


@pytest.mark.parametrize(("age", "again"), [(timedelta(hours=23), False), (timedelta(hours=25), True)])
def test_a_finished_order_keeps_the_next_one_away_for_a_day(session, enrolled, age, again):
    """A tablet that failed is asked again a day later."""
    renewal.order_due(session)
    session.execute(text("UPDATE command SET state = 'failed', ended_at = now() - :age"), {"age": age})
    assert due(session) == ([enrolled] if again else [])


def test_the_profile_renews_by_scep(session, door, enrolled, new_client, keys):
    """The challenge gives one certificate, marked as the renewal of this tablet."""
    renewal.order_due(session)
    session.commit()
    outer = plistlib.loads(open_argument(session.exec(select(Command)).one().arguments["profile"]))
    challenge = outer["PayloadContent"][0]["PayloadContent"]["Challenge"]
    authority = ca.signing(session).certificate
    client = new_client(keys[1])
    reply = door.post("/scep?operation=PKIOperation", content=client.request(authority, challenge)).content
    issued = client.read(reply, authority).certificate
    record = session.get(DeviceIdentity, issued.fingerprint(hashes.SHA256()))
    assert (record.device_id, record.renewal, record.associated_at) == (enrolled, True, None)
    other = new_client(keys[0])
    again = other.request(authority, challenge, transaction_id="t-2")
    assert other.read(door.post("/scep?operation=PKIOperation", content=again).content, authority).status == "2"
