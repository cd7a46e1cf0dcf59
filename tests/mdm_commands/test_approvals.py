"""A wipe leaves only when a second person has approved exactly what was asked for."""

import pytest

from mdm import db
from mdm.auth import Role
from mdm.commands import transitions
from workers import sender


@pytest.fixture
def hana(sign_in):
    return sign_in("hana")


@pytest.fixture
def jiro(sign_in):
    return sign_in("jiro")


def _slug(answer) -> str:
    return answer.json().get("type", "").removeprefix("urn:tabane:problem:")


def test_a_wipe_is_held_until_a_second_person_approves(district, hana, jiro, sql):
    """Held and without a wake-up until the sender finds it approved and signed; queued and due then; all on record."""
    placed = hana.wipe(district.tablets["a"])
    command = placed["command"]
    assert (command["state"], command["arguments"]) == ("held", {"preserve_data_plan": True})
    assert sql("SELECT count(*) FROM wakeup") == [(0,)]
    [waiting] = jiro.get("/approvals", state="pending").json()["items"]
    assert waiting["id"] == placed["approval_id"]
    assert waiting["devices"][0]["serial"] == "SERIALA"
    assert (waiting["reason"], waiting["requested_by"]) == ("stolen", "hana")
    answer = jiro.approve(placed["approval_id"])
    assert (answer.status_code, answer.json()["state"], answer.json()["decided_by"]) == (200, "approved", "jiro")
    assert hana.state(command["id"]) == "held"
    assert sender.look() == {"left": 1}
    assert jiro.get(f"/approvals/{placed['approval_id']}").json()["executed_at"]
    assert hana.state(command["id"]) == "queued"
    assert sql("SELECT device_id, lane FROM wakeup") == [(district.tablets["a"], 0)]
    actions = [row[0] for row in sql("SELECT action FROM audit_event ORDER BY id")]
    assert actions == ["approval.request", "command.enqueue", "approval.approve", "command.release"]


def test_nobody_approves_their_own(district, sign_in, sql):
    """Not even an administrator approves what it asked for."""
    boss = sign_in("boss", Role.ADMINISTRATOR)
    placed = boss.wipe(district.tablets["a"])
    answer = boss.approve(placed["approval_id"])
    assert (answer.status_code, _slug(answer)) == (403, "self-approval")
    assert boss.state(placed["command"]["id"]) == "held"


def test_a_token_approves_nothing(district, hana, sign_in):
    """An API token approves nothing, and asks for nothing irreversible unless it was made for that."""
    placed = hana.wipe(district.tablets["a"])
    robot = sign_in("robot", Role.ADMINISTRATOR, token=True)
    assert robot.approve(placed["approval_id"]).status_code == 403
    assert robot.ask(district.tablets["b"], "wipe", reason="x").status_code == 403
    assert hana.state(placed["command"]["id"]) == "held"


def test_scope_of_the_approver(district, sign_in):
    """Who does not see the tablet sees no request and cannot decide on it."""
    everywhere, here = sign_in("everywhere"), sign_in("here", schools=["E1"])
    placed = everywhere.wipe(district.tablets["far"])
    path = f"/approvals/{placed['approval_id']}"
    assert here.get("/approvals").json()["items"] == []
    assert here.get(path).status_code == 404
    assert here.approve(placed["approval_id"]).status_code == 404
    assert here.post(f"{path}/reject").status_code == 404
    assert everywhere.state(placed["command"]["id"]) == "held"
    there = sign_in("there", schools=["E2"])
    assert there.approve(placed["approval_id"]).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE command SET arguments = '{\"preserve_data_plan\": false}'",
        "UPDATE device SET serial = 'OTHER' WHERE serial = 'SERIALA'",
        "UPDATE device SET control_number = 'OTHER' WHERE serial = 'SERIALA'",
        "UPDATE enrollment e SET epoch = 2 FROM device d WHERE d.id = e.device_id AND d.serial = 'SERIALA'",
        "UPDATE enrollment e SET status = 'ended' FROM device d WHERE d.id = e.device_id AND d.serial = 'SERIALA'",
        "UPDATE approval SET subject = jsonb_set(subject, '{command,kind}', '\"restart\"')",
        "UPDATE approval SET action = 'command.restart'",
        "UPDATE command SET device_id = (SELECT id FROM device WHERE serial = 'SERIALB')",
    ],
)
def test_a_changed_subject_voids_the_request(district, hana, jiro, sql, change):
    """Other arguments, another tablet, a new enrolment: what was asked for is not what would be done."""
    placed = hana.wipe(district.tablets["a"])
    sql(change)
    answer = jiro.approve(placed["approval_id"])
    assert (answer.status_code, _slug(answer)) == (409, "subject-changed")
    assert hana.state(placed["command"]["id"]) == "held"


def test_an_approval_runs_out(district, hana, jiro, sql):
    """After 24 hours nobody can approve any more, and the command ends with the next sweep."""
    placed = hana.wipe(district.tablets["a"])
    sql("UPDATE approval SET expires_at = now()")
    assert jiro.approve(placed["approval_id"]).status_code == 409
    with db.transaction() as session:
        assert transitions.expire(session) == 1
    assert hana.state(placed["command"]["id"]) == "expired"
    assert hana.get(f"/approvals/{placed['approval_id']}").json()["state"] == "expired"
    again = hana.wipe(district.tablets["a"])
    assert again["created"]


def test_one_approval_is_one_execution(district, hana, jiro, sign_in, sql):
    """An approval cannot be used twice, and the next wipe needs its own."""
    placed = hana.wipe(district.tablets["a"])
    assert jiro.approve(placed["approval_id"]).status_code == 200
    assert (sender.look(), sender.look()) == ({"left": 1}, {})
    sql("UPDATE command SET state = 'done', ended_at = now()")
    assert sender.look() == {}
    assert jiro.approve(placed["approval_id"]).status_code == 409
    assert sign_in("third").approve(placed["approval_id"]).status_code == 409
    assert hana.wipe(district.tablets["a"])["command"]["state"] == "held"


def test_reject_and_withdraw(district, hana, jiro):
    """A refused or withdrawn request ends its command, and cannot be approved afterwards."""
    for who, state in ((jiro, "rejected"), (hana, "cancelled")):
        placed = hana.wipe(district.tablets["a"])
        path = f"/approvals/{placed['approval_id']}"
        assert who.post(f"{path}/reject").json()["state"] == state
        assert hana.state(placed["command"]["id"]) == "cancelled"
        assert jiro.approve(placed["approval_id"]).status_code == 409


def test_cancelling_the_command_withdraws_the_request(district, hana, jiro):
    """A cancelled wipe cannot be approved back to life."""
    placed = hana.wipe(district.tablets["a"])
    assert jiro.post(f"/commands/{placed['command']['id']}/cancel").status_code == 200
    assert jiro.approve(placed["approval_id"]).status_code == 409
    assert jiro.get(f"/approvals/{placed['approval_id']}").json()["state"] == "cancelled"


def test_a_disabled_requester_voids_the_request(district, hana, jiro, sql):
    """What somebody asked for who may no longer sign in cannot be approved."""
    placed = hana.wipe(district.tablets["a"])
    sql("UPDATE operator SET disabled_at = now() WHERE name = 'hana'")
    assert jiro.approve(placed["approval_id"]).status_code == 409


def test_a_second_wipe_gives_back_the_first(district, hana, jiro, sql):
    """One live wipe per tablet: the same again is the same, other arguments are refused."""
    first = hana.wipe(district.tablets["a"])
    again = jiro.wipe(district.tablets["a"])
    assert again["command"]["id"] == first["command"]["id"]
    assert sql("SELECT count(*) FROM approval") == [(1,)]
    answer = jiro.ask(district.tablets["a"], "wipe", reason="x", preserve_data_plan=False)
    assert answer.status_code == 409


def test_requests_of_ended_commands_are_withdrawn(district, hana, sql):
    """When a new enrolment dropped the command, the sweep withdraws what was still asked of a second person."""
    placed = hana.wipe(district.tablets["a"])
    sql("UPDATE command SET state = 'cancelled', ended_at = now()")
    with db.transaction() as session:
        transitions.expire(session)
    assert hana.get(f"/approvals/{placed['approval_id']}").json()["state"] == "cancelled"
