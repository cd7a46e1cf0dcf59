"""From answers to verdicts: verified, healed once, reported, unsupported; and how rollouts and the API count them."""

import json
import plistlib

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from mdm.app import operator_app
from mdm.auth import credentials
from mdm.cli import device
from profiles import drift, policies, rollouts
from profiles.policy import read

USB = "tabane.policy.usb"
KEY = "allowFilesUSBDriveAccess"
ENFORCED = {"restrictedBool": {KEY: {"value": False}}}


@pytest.fixture
def rollout(district, session):
    """The USB policy is rolled out to the fleet and installed on A to D; nobody has answered yet."""
    document = {"version": 1, "name": "district", "layer": "fleet", "usb": {"external_storage": "deny"}}
    policies.apply(session, district.principal, [read(document)])
    shown = rollouts.start(session, district.principal, policy="district", target="fleet")
    install(district, *"ABCD")
    return shown.id


def install(district, *serials):
    """As if these had just installed everything: the rows that the exchange writes then."""
    district.install_everything(*serials)
    for serial in serials:
        values = {"id": district.tablets[serial], "identifier": USB}
        district.session.execute(
            text(
                "INSERT INTO device_profile (device_id, identifier, installed, wanted, status)"
                " SELECT :id, :identifier, artifact, artifact, 'installed' FROM manifest_item ON CONFLICT DO NOTHING"
            ),
            values,
        )
        district.session.execute(
            text(
                "INSERT INTO verification (device_id, manifest, status, installed_at)"
                " SELECT :id, desired_manifest, 'asked', clock_timestamp() FROM enrollment WHERE device_id = :id"
                " ON CONFLICT (device_id) DO UPDATE SET status = 'asked', installed_at = clock_timestamp(),"
                " heard_at = NULL, findings = '[]'"
            ),
            values,
        )


def answer(district, serial, kind, body, *, when="clock_timestamp()"):
    district.session.execute(
        text(
            f"INSERT INTO device_report (device_id, kind, received_at, body) VALUES (:id, :kind, {when},"
            " CAST(:body AS jsonb)) ON CONFLICT (device_id, kind) DO UPDATE SET received_at = excluded.received_at,"
            " body = excluded.body"
        ),
        {"id": district.tablets[serial], "kind": kind, "body": json.dumps(body)},
    )


def uuid(session):
    return plistlib.loads(session.execute(text("SELECT body FROM artifact")).scalar_one())["PayloadUUID"]


def say(district, serial, *, holds=True, restrictions=ENFORCED, **more):
    held = [{"PayloadIdentifier": USB, "PayloadUUID": uuid(district.session)}] if holds else []
    answer(district, serial, "inventory_profiles", {"profiles": held}, **more)
    if restrictions is not None:
        answer(district, serial, "inventory_restrictions", restrictions, **more)


def refuse(district, serial, kind):
    """The tablet ends the question with an error."""
    district.session.execute(
        text(
            "INSERT INTO command (device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at, ended_at)"
            " SELECT :id, epoch, :kind, '{}', 'x', 2, 'failed', now() + interval '1 day', clock_timestamp()"
            " FROM enrollment WHERE device_id = :id"
        ),
        {"id": district.tablets[serial], "kind": kind},
    )


def proofs(district, rollout_id, principal=None):
    found = rollouts.show(district.session, principal or district.principal, rollout_id).proofs
    return {status: number for status, number in found.items() if number}


def test_a_tablet_that_holds_and_enforces_everything_is_verified(district, session, rollout):
    """Once; what was said before the installation proves nothing, and half an answer neither."""
    say(district, "A")
    say(district, "B", when="now() - interval '1 minute'")
    say(district, "C", restrictions=None)
    assert drift.check(session) == {"verified": 1}
    assert drift.check(session) == {}
    assert proofs(district, rollout) == {"verified": 1, "asked": 3}
    assert proofs(district, rollout, district.operator("0102")) == {"asked": 1}


@pytest.mark.parametrize("fault", [{"holds": False}, {"restrictions": {"restrictedBool": {KEY: {"value": True}}}}])
def test_drift_heals_once_and_is_then_reported(district, session, rollout, fault):
    """The profile is forgotten, the tablet woken; the second time it stays, is on record, and nobody loops."""
    session.execute(text("DELETE FROM wakeup"))
    say(district, "A", **fault)
    assert drift.check(session) == {"healing": 1}
    assert district.enrollment("A").installed_manifest is None
    held = session.execute(
        text("SELECT count(*) FROM device_profile WHERE device_id = :a"), {"a": district.tablets["A"]}
    )
    assert held.scalar_one() == 0
    assert session.execute(text("SELECT device_id, lane FROM wakeup")).all() == [(district.tablets["A"], 2)]
    assert proofs(district, rollout) == {"healing": 1, "asked": 3}
    install(district, "A")
    say(district, "A", **fault)
    assert drift.check(session) == {"drifted": 1}
    assert district.enrollment("A").installed_manifest is not None
    assert drift.check(session) == {}
    what = "missing" if "holds" in fault else "loosened"
    record = session.execute(text("SELECT actor, details FROM audit_event WHERE action = 'profile.drift'")).all()
    key = "" if "holds" in fault else f" {KEY}"
    assert [(row.actor, row.details["drifted"]) for row in record] == [("job:verify", [f"{USB}{key}: {what}"])]


def test_what_was_healed_is_verified_and_a_later_answer_is_compared_too(district, session, rollout):
    """Whoever asks a tablet later gets a verdict; the one healing is spent."""
    say(district, "A", holds=False)
    assert drift.check(session) == {"healing": 1}
    install(district, "A")
    say(district, "A")
    assert drift.check(session) == {"verified": 1}
    say(district, "A", holds=False, restrictions=None)
    assert drift.check(session) == {"drifted": 1}
    say(district, "A", restrictions=None)
    assert drift.check(session) == {"verified": 1}


def test_a_tablet_that_will_not_say_is_unsupported(district, session, rollout):
    """A refusal ends the waiting, silence about a key is not a proof; neither is healed."""
    say(district, "A", restrictions=None)
    refuse(district, "A", "inventory_restrictions")
    say(district, "B", restrictions={})
    assert drift.check(session) == {"unsupported": 2}
    assert drift.check(session) == {}
    findings = session.execute(
        text("SELECT findings FROM verification WHERE status = 'unsupported' ORDER BY device_id")
    )
    assert [row[0][0]["what"] for row in findings] == ["refused", "unreported"]
    say(district, "A")
    assert drift.check(session) == {"verified": 1}


def test_answers_about_what_is_no_longer_wanted_settle_nothing(district, session, rollout):
    """The tablet is on its way to another manifest, or has left."""
    for serial, change in (
        ("A", "desired_manifest = 'x'"),
        ("B", "installed_manifest = NULL"),
        ("C", "status = 'ended'"),
    ):
        say(district, serial, holds=False)
        session.execute(text(f"UPDATE enrollment SET {change} WHERE device_id = :id"), {"id": district.tablets[serial]})
    assert drift.check(session) == {}
    assert proofs(district, rollout) == {"asked": 1}


def test_many_are_compared_in_parts(district, session, rollout):
    """A part takes no more than its limit."""
    for serial in "ABC":
        say(district, serial)
    assert [drift.check(session, limit=2).total() for _ in range(3)] == [2, 1, 0]


def test_the_api_shows_and_finds_what_drifted(district, session, rollout):
    """The list by status, the tablet with its findings, the rollout with its numbers."""
    say(district, "A", holds=False)
    drift.check(session)
    install(district, "A")
    for serial in "AB":
        say(district, serial, holds=serial == "B")
    drift.check(session)
    issued = credentials.open_session(session, district.principal.id)
    session.commit()
    with TestClient(operator_app(), headers={"Authorization": f"Bearer {issued.secret}"}) as client:
        (found,) = client.get("/api/v1/devices", params={"verification": "drifted"}).json()["items"]
        assert (found["serial"], found["enrollment"]["verification"]) == ("A", "drifted")
        shown = client.get(f"/api/v1/devices/{found['id']}").json()
        assert shown["findings"] == [{"identifier": USB, "key": None, "what": "missing"}]
        told = dict(device._lines(shown))
        assert (told["missing"], told["proof"]) == (USB, f"drifted, handed over again {shown['healed_at']}")
        assert client.get(f"/api/v1/devices/{district.tablets['C']}").json()["findings"] == []
        numbers = client.get(f"/api/v1/rollouts/{rollout}").json()["proofs"]
        assert {status: number for status, number in numbers.items() if number} == {
            "asked": 2,
            "drifted": 1,
            "verified": 1,
        }
