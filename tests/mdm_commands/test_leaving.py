"""What lets a wipe leave is a second person's signature over just what would be done, and time; nothing else does."""

import json

import psycopg
import pytest

from mdm.auth import Role
from mdm.settings import get_settings
from simulator.authenticator import SoftwareAuthenticator
from tests.signer import Signer, challenge, digest, digest_shown, encode
from workers import sender


@pytest.fixture
def hana(sign_in):
    return sign_in("hana")


@pytest.fixture
def jiro(sign_in):
    return sign_in("jiro")


@pytest.fixture
def approved(district, hana, jiro, database):
    """A wipe of tablet `a`, asked for two hours ago, that jiro has approved; nobody has sent it yet."""

    def make(*, urgent: bool = True) -> str:
        placed = hana.wipe(district.tablets["a"])
        with psycopg.connect(database) as connection:
            row = connection.execute(
                "UPDATE approval SET requested_at = requested_at - interval '2 hours', expires_at = expires_at -"
                " interval '2 hours' RETURNING action, subject, reason, requested_by, expires_at"
            ).fetchone()
            connection.execute("UPDATE approval SET digest = %s", (digest(*row),))
        answer = jiro.approve(placed["approval_id"], urgent=urgent)
        assert answer.status_code == 200, answer.text
        return placed["command"]["id"]

    return make


def test_it_waits_ten_minutes_unless_it_was_signed_as_urgent(hana, approved, sql):
    """Until then it is held and can be cancelled; the time is shown."""
    command = approved(urgent=False)
    assert sender.look() == {"waits": 1}
    shown = hana.get(f"/commands/{command}").json()
    assert (shown["state"], shown["not_before"] is not None) == ("held", True)
    sql("UPDATE approval SET decided_at = decided_at - interval '9 minutes'")
    assert sender.look() == {"waits": 1}
    sql("UPDATE command SET not_before = NULL")
    sql("UPDATE approval SET decided_at = decided_at - interval '1 minute'")
    assert sender.look() == {"left": 1}
    assert hana.state(command) == "queued"


def test_it_does_not_wait_for_a_tablet_that_has_long_been_lost(district, hana, approved, sql):
    """Lost mode for a day, by the tablet's own word, is time enough; an hour is not."""
    lost = hana.ask(district.tablets["a"], "lost_mode_on", message="x").json()["command"]["id"]
    sql(f"UPDATE command SET state = 'done', ended_at = now() - interval '1 hour' WHERE id = '{lost}'")
    sql("UPDATE enrollment SET lost_mode = true")
    command = approved(urgent=False)
    assert sender.look() == {"waits": 1}
    sql(f"UPDATE command SET ended_at = now() - interval '24 hours' WHERE id = '{lost}'")
    assert sender.look() == {"left": 1}
    assert hana.state(command) == "queued"


def test_anybody_at_the_desk_can_say_stop_while_it_waits(sign_in, approved):
    """A wipe that was cancelled while it waited does not leave, however often it is looked at."""
    command = approved(urgent=False)
    assert sign_in("mieko").post(f"/commands/{command}/cancel").status_code == 200
    assert sender.look() == {}
    assert sign_in("yuki").state(command) == "cancelled"


def test_nothing_leaves_while_it_is_frozen_and_what_had_left_is_pulled_back(sign_in, hana, approved, database):
    """The red button holds what no tablet has been handed; thawed by two, the sender lets it go again, uncounted."""
    boss, chief = sign_in("boss", Role.ADMINISTRATOR), sign_in("chief", Role.ADMINISTRATOR)
    command = approved()
    assert sender.look() == {"left": 1}
    assert boss.post("/safeguards/freeze").json()["open"] is True
    assert hana.state(command) == "held"
    assert sender.look() == {"waits": 1}
    wish = boss.post("/safeguards/thaw").json()["thaw_request"]
    assert chief.post("/safeguards/thaw", Signer("chief").pinned(database).word(wish)).json()["open"] is False
    assert sender.look() == {"left": 1}
    assert hana.state(command) == "queued"


def _of_a_contractor(name: str, *, handler_days: int, contract_days: int) -> str:
    """Make an operator one of a contractor, whose handler and contract end in so many days; as time would act."""
    role = "loss_desk"
    return (
        "INSERT INTO organization (name, tier) VALUES ('the board', 'board');"
        "INSERT INTO organization (name, tier, parent_id) SELECT 'a contractor', 'contractor', id FROM organization;"
        "INSERT INTO contract (organization_id, starts_on, ends_on, duties, document, recorded_by)"
        f" SELECT id, current_date - 9, current_date + {contract_days}, '{{{role}}}', '', '' FROM organization"
        " WHERE tier = 'contractor';"
        "INSERT INTO handler (organization_id, kind, label, name_sealed, duties, valid_from, valid_until)"
        f" SELECT id, 'handler', '1', '', '{{{role}}}', current_date - 9, current_date + {handler_days}"
        " FROM organization WHERE tier = 'contractor';"
        f"UPDATE operator SET role = '{role}', handler_id = h.id, organization_id = h.organization_id FROM handler h"
        f" WHERE operator.name = '{name}'"
    )


FORGERIES = {
    "not urgent": "UPDATE approval SET urgent = false, decided_at = now() - interval '1 hour'",
    "another reason": "UPDATE approval SET reason = 'x'",
    "a longer time": "UPDATE approval SET expires_at = expires_at + interval '1 year'",
    "another digest": "UPDATE approval SET digest = 'x'",
    "another asker": "UPDATE approval SET requested_by = (SELECT id FROM operator WHERE name = 'mallory')",
    "another approver": "UPDATE approval SET decided_by = (SELECT id FROM operator WHERE name = 'mallory')",
    "one's own approval": "UPDATE approval SET decided_by = requested_by",
    "no signature": "UPDATE approval SET signature = '{}'",
    "noise": 'UPDATE approval SET signature = \'{"signature": "AAAA", "client_data": 7}\'',
    "no key": "UPDATE approval SET key_id = NULL",
    "a key that was never pinned": "UPDATE approver_key SET pinned_at = NULL",
    "a key that was revoked": "UPDATE approver_key SET revoked_at = now()",
    "a key that was given away": "UPDATE approver_key SET operator_id = (SELECT id FROM operator WHERE name = 'hana')",
    "other arguments": "UPDATE command SET arguments = '{\"preserve_data_plan\": false}'",
    "another tablet": "UPDATE command SET device_id = (SELECT id FROM device WHERE serial = 'SERIALB')",
    "another serial": "UPDATE device SET serial = 'OTHER' WHERE serial = 'SERIALA'",
    "another kind": "UPDATE command SET kind = 'raw'",
    "enrolled again": "UPDATE enrollment SET epoch = 2",
    "gone": "UPDATE enrollment SET status = 'ended'",
    "asked by one who has left": "UPDATE operator SET disabled_at = now() WHERE name = 'hana'",
    "approved by one who has left": "UPDATE operator SET disabled_at = now() WHERE name = 'jiro'",
    "asked by one whose contract has ended": _of_a_contractor("hana", handler_days=9, contract_days=-2),
    "asked by one who is no handler any more": _of_a_contractor("hana", handler_days=-2, contract_days=9),
    "approved by one whose contract has ended": _of_a_contractor("jiro", handler_days=9, contract_days=-2),
    "approved by one who may not": "UPDATE operator SET role = 'viewer' WHERE name = 'jiro'",
    "approved by one of another school": "UPDATE operator SET all_schools = false WHERE name = 'jiro'",
    "a day late": "UPDATE approval SET decided_at = now() - interval '25 hours', requested_at = now() -"
    " interval '26 hours', expires_at = now() - interval '2 hours'",
    "approved before it was asked for": "UPDATE approval SET requested_at = now() + interval '1 hour'",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_rows_that_lie_send_nothing(hana, sign_in, approved, sql, forgery):
    """Whatever was written into the rows past the application: the sender ends the command and puts it on record."""
    sign_in("mallory", Role.ADMINISTRATOR)
    command = approved()
    sql(FORGERIES[forgery])
    assert sender.look() == {"refused": 1}
    assert sql("SELECT state FROM command") == [("cancelled",)]
    (note,) = sql("SELECT note FROM command_event WHERE state = 'cancelled'")[0]
    assert note.startswith("not sent: ")
    (actor, details) = sql("SELECT actor, details FROM audit_event WHERE action = 'command.refuse'")[0]
    assert (actor, details["command"]) == ("job:sender", command)
    assert sql("SELECT executed_at FROM approval") == [(None,)]
    assert sender.look() == {}


def test_the_budget_is_counted_where_commands_leave(district, hana, jiro, sql):
    """What was asked for past the budget does not leave past it, whoever signed: it ends on record."""
    for name in ("a", "b"):
        placed = hana.wipe(district.tablets[name])
        assert jiro.approve(placed["approval_id"]).status_code == 200
    sql("INSERT INTO safeguard_threshold (name, value, set_by, reason) VALUES ('a.school.hour', 1, 'host', '')")
    assert sender.look() == {"left": 1, "refused": 1}
    assert sql("SELECT count(*) FROM class_a_release") == [(1,)]


def test_the_asker_cannot_sign_as_somebody_else(district, hana, jiro, sql):
    """A key that the host pinned for the asker signs nothing in another's name."""
    placed = hana.wipe(district.tablets["a"])
    own = Signer("hana").pinned(get_settings().database_url)
    request = jiro.get(f"/approvals/{placed['approval_id']}").json()
    signature = encode(own.key.sign(challenge(digest_shown(request), "jiro", urgent=True)))
    jiro.signer.pinned(get_settings().database_url)
    for key in (own.id, jiro.signer.id):
        sql(
            "SET session_replication_role = replica; UPDATE approval SET state = 'approved', decided_at = now(),"
            " decided_by = (SELECT id FROM operator WHERE name = 'jiro'), urgent = true,"
            f" key_id = {key}, signature = '{json.dumps({'signature': signature})}'"
        )
        sql("UPDATE command SET state = 'held'")
        assert sender.look() == {"refused": 1}


def test_a_security_keys_signature_is_verified_again(district, hana, jiro, sql):
    """As the browser made it, with its words; a changed byte in what is stored sends nothing."""
    placed = hana.wipe(district.tablets["a"])
    key = SoftwareAuthenticator(origin=get_settings().operator_url, rp_id="127.0.0.1")
    options = jiro.post("/keys/options", {"label": "x"}).json()
    said = key.create(options["challenge"])["response"]
    made = {"client_data": said["clientDataJSON"], "attestation": said["attestationObject"]}
    registered = jiro.post("/keys", {"kind": "webauthn", "label": "x", **made}).json()
    sql("UPDATE approver_key SET pinned_at = now()")
    request = jiro.get(f"/approvals/{placed['approval_id']}").json()
    said = key.get(encode(challenge(digest_shown(request), "jiro", urgent=True)))["response"]
    body = {"signature": said["signature"], "client_data": said["clientDataJSON"]}
    body |= {"authenticator_data": said["authenticatorData"], "key": registered["id"], "urgent": True}
    path = f"/approvals/{placed['approval_id']}/approve"
    assert jiro.post(path, body).status_code == 200
    assert sender.look() == {"left": 1}
    sql("UPDATE approval SET signature = jsonb_set(signature, '{authenticator_data}', '\"AAAA\"')")
    sql("UPDATE command SET state = 'held'")
    assert sender.look() == {"refused": 1}
