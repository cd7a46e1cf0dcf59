"""Acts on lines from the wish to the carrier's own word, with a pretended carrier whose journal is the witness."""

import uuid
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from mdm import db
from mdm.app import operator_app
from mdm.auth import Role
from mdm.cellular import sim_wishes
from mdm.cellular.models import ActionKind
from mdm.cellular.sim_wishes import Wish
from mdm.cli import build
from simulator.clouds.carrier_script import Fault, Mishap
from tests.budgets import NO_BUDGETS
from tests.mdm_cellular.pretended import run
from tests.serving import serving
from tests.signer import Signer
from workers import carriers


@pytest.fixture
def ids(air, boss, district, sql):
    """The ids of the pretended lines, the first three in T1 to T3, whose tablets are enrolled."""
    air.rounds("sims")
    found = [air.sim(number)["id"] for number in range(5)]
    sql(
        "INSERT INTO enrollment (device_id, status, epoch, supervised, udid) SELECT id, 'active', 1, true, 'u' || id"
        " FROM device WHERE control_number IN ('T1', 'T2', 'T3')"
    )
    for number in range(3):
        body = {"device_id": district[f"T{number + 1}"], "reason": "delivered"}
        assert boss.post(f"sims/{found[number]}/binding", json=body).status_code == 200
    return found


def post(client, path, body, status=202):
    answer = client.post(path, json=body, headers={"Idempotency-Key": uuid.uuid4().hex})
    assert answer.status_code == status, answer.text
    return answer.json()


def act(client, sim_id, kind="suspend", status=202, **more):
    return post(client, f"sims/{sim_id}/actions", {"kind": kind, "reason": "idle", **more}, status)


def latest(client, sim_id):
    return client.get(f"sims/{sim_id}/actions").json()["items"][0]


def lock(boss, device_id):
    answer = post(boss, f"devices/{device_id}/commands", {"kind": "lost_mode_on", "arguments": {"message": "call us"}})
    return answer["command"]["id"]


def said(sql, command_id, state):
    sql("UPDATE command SET state = :state, ended_at = now() WHERE id = CAST(:id AS uuid)", state=state, id=command_id)


def test_only_the_carriers_late_word_makes_a_line_suspended(air, ids, boss):
    """Asked, sent and accepted it is still active; when the carrier has done it, minutes later, it is suspended."""
    air.script.status_takes_s = 180
    answer = act(boss, ids[0])
    assert (answer["action"]["state"], answer["created"]) == ("approved", True)
    sim = air.sim(0)
    assert (sim["intended_status"], sim["effective_status"]) == ("suspended", "active")
    assert air.acts()["accepted"] == 1
    for _ in range(3):
        assert air.acts()["accepted"] == 1
    assert latest(boss, ids[0])["state"] == "accepted"
    assert air.sim(0)["effective_status"] == "active"
    assert [each["id"] for each in boss.get("sims", params={"unsettled": "true"}).json()["items"]] == [ids[0]]
    air.clock.ahead += timedelta(seconds=181)
    assert air.acts()["effective"] == 1
    sim = air.sim(0)
    assert (sim["intended_status"], sim["effective_status"], sim["carrier_status"]) == (
        "suspended",
        "suspended",
        "suspended",
    )
    assert latest(boss, ids[0])["state"] == "effective"
    assert len(air.cloud.orders) == 1
    act(boss, ids[0], "resume")
    air.acts()
    air.clock.ahead += timedelta(seconds=181)
    air.acts()
    assert air.sim(0)["effective_status"] == "active"


def test_the_line_of_a_tablet_that_must_still_hear_something_is_not_cut(air, ids, boss, district, sql, monkeypatch):
    """Refused by API, command line and job while a lock is on its way; allowed when it has landed."""
    command = lock(boss, district["T1"])
    assert act(boss, ids[0], status=409)["type"].endswith("sim-gate")
    several = post(boss, "sims/actions", {"sims": ids[:2], "kind": "suspend", "reason": "idle"})
    assert [each["slug"] for each in several["refused"]] == ["sim-gate"]
    assert [each["action"]["sim_id"] for each in several["acted"]] == [ids[1]]
    with serving(operator_app()) as url:
        monkeypatch.setenv("TABANE_URL", url)
        monkeypatch.setenv("TABANE_TOKEN", boss.headers["Authorization"].removeprefix("Bearer "))
        said_no = CliRunner().invoke(build("sims"), ["sims", "suspend", "T1", "--reason", "idle"], prog_name="tabane")
        assert (said_no.exit_code, "only way to the tablet" in said_no.stderr) == (1, True)
        said_yes = CliRunner().invoke(
            build("sims"), ["sims", "speed", "s1.slow", "T1", "--reason", "idle"], prog_name="tabane"
        )
        assert said_yes.exit_code == 0, said_yes.output
    with db.transaction() as session:
        [outcome] = sim_wishes.ask(session, "job:usage", [ids[0]], Wish(ActionKind.SUSPEND, "used too much"))
        assert isinstance(outcome.refusal, sim_wishes.SimGate)
    assert air.sim(0)["intended_status"] is None
    air.acts()
    air.acts()
    said(sql, command, "done")
    assert act(boss, ids[0])["created"]


@pytest.mark.parametrize(("kind", "state"), [("wipe", "held"), ("wipe", "failed"), ("lost_mode_on", "expired")])
def test_a_wipe_that_waits_and_a_lock_that_failed_count_too(ids, boss, district, sql, kind, state):
    """Only a stated wait that is over, and a reason, open the gate then."""
    sql(
        "INSERT INTO command (device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at, created_at)"
        " VALUES (:device, 1, :kind, '{}', 'k', 0, 'queued', now() + interval '9 days', now() - interval '5 hours')",
        device=district["T1"],
        kind="lost_mode_on",
    )
    sql("ALTER TABLE command DISABLE TRIGGER USER")
    sql("UPDATE command SET kind = :kind, state = :state", kind=kind, state=state)
    sql("ALTER TABLE command ENABLE TRIGGER USER")
    assert act(boss, ids[0], status=409)["type"].endswith("sim-gate")
    assert act(boss, ids[0], wait_hours=6, status=409)["type"].endswith("sim-gate")
    assert "cuts lock" in act(boss, ids[0], wait_hours=4)["warning"]


def test_a_lock_that_was_asked_for_after_the_suspension_stops_it_on_its_way(air, ids, boss, district):
    """The job looks once more before it sends; nothing has reached the carrier."""
    act(boss, ids[0])
    lock(boss, district["T1"])
    assert air.acts()["gated"] == 1
    assert air.cloud.orders == []
    ended = latest(boss, ids[0])
    assert (ended["state"], "has not landed" in ended["error"]) == ("cancelled", True)
    assert air.sim(0)["intended_status"] == "active"


def test_a_tablet_that_was_set_free_again_needs_its_line_no_longer(ids, boss, district, sql):
    """A lock of old does not keep a line for ever."""
    command = lock(boss, district["T1"])
    said(sql, command, "failed")
    freed = post(boss, f"devices/{district['T1']}/commands", {"kind": "lost_mode_off"})["command"]["id"]
    said(sql, freed, "done")
    assert act(boss, ids[0])["created"]


def test_the_sim_in_a_foreign_device_may_be_cut_at_once(air, ids, boss, district, sql):
    """The tablet is not on that line, so nothing is cut off from it."""
    sql("UPDATE device SET imei = '352099001761481' WHERE control_number = 'T1'")
    lock(boss, district["T1"])
    assert "not ours" in act(boss, ids[0])["warning"]
    # Seen in another tablet of ours it is two SIMs that changed places: that tablet may need it.
    sql("UPDATE device SET imei = :imei WHERE control_number = 'T5'", imei=air.cloud.lines.all[1].imei)
    sql("UPDATE device SET imei = '352099001761499' WHERE control_number = 'T2'")
    lock(boss, district["T2"])
    assert act(boss, ids[1], status=409)["type"].endswith("sim-gate")


def test_a_lost_answer_is_read_back_before_anything_is_sent_again(air, ids, boss):
    """What was done although the answer broke off is found out by reading, and not ordered twice."""
    air.script.faults = [Fault(Mishap.CUT, times=1, on="/suspend")]
    act(boss, ids[0])
    assert air.acts()["sent"] == 1
    assert latest(boss, ids[0])["state"] == "sent"
    assert air.acts()["effective"] == 1
    assert len(air.cloud.orders) == 1


def test_what_never_arrived_is_sent_again(air, ids, boss):
    """A line that was cut before the carrier heard of it costs one more try."""
    air.script.faults = [Fault(Mishap.LOST, times=1, on="/suspend"), Fault(Mishap.ERROR, times=1, on="/suspend")]
    act(boss, ids[0])
    for _ in range(6):
        air.acts()
    assert latest(boss, ids[0])["state"] == "effective"
    assert len(air.cloud.orders) == 1


def test_a_worker_that_died_after_it_sent_leaves_the_rest_to_the_next(air, ids, boss, sql):
    """The act is marked as sent before it leaves; when the lease has run out the line is read first."""
    act(boss, ids[0])
    sql(
        "UPDATE sim_action SET state = 'sent', tries = 1, lease_until = now() + interval '1 minute',"
        " lease_token = uuidv7()"
    )
    assert not air.acts()
    air.cloud.order(air.cloud.lines.all[0], {"status": "suspended"})
    sql("UPDATE sim_action SET lease_until = now()")
    assert air.acts()["effective"] == 1
    assert len(air.cloud.orders) == 1


def test_too_fast_is_not_refused(air, ids, boss):
    """A 429 leaves the act where it was."""
    air.script.faults = [Fault(Mishap.BUSY, times=1, on="/suspend")]
    act(boss, ids[0])
    assert air.acts()["busy"] == 1
    assert latest(boss, ids[0])["state"] == "approved"


def test_what_the_carrier_will_not_do_has_failed_and_somebody_is_called(air, ids, boss, sql):
    """The line is read, and what was wanted stands as unsettled."""
    air.cloud.lines.all[0].words["status"] = "terminated"
    act(boss, ids[0])
    assert air.acts()["failed"] == 1
    ended = latest(boss, ids[0])
    assert (ended["state"], ended["error"]) == ("failed", "refused (400)")
    assert sql("SELECT what FROM notice") == [("sim.act_failed",)]
    assert air.sim(0)["effective_status"] == "terminated"
    assert act(boss, ids[0], status=409)["detail"] == "the line is terminated"


def test_what_does_not_come_about_in_time_is_over_and_shown(air, ids, boss, sql):
    """An act that the carrier took and never did expires, also while its account is off."""
    air.script.status_takes_s = 10**6
    act(boss, ids[0])
    air.acts()
    boss.patch("carriers/accounts/air", json={"enabled": False})
    sql("UPDATE sim_action SET expires_at = now()")
    carriers.work()
    assert [each["state"] for each in boss.get("sims/actions", params={"state": "expired"}).json()["items"]] == [
        "expired"
    ]
    assert sql("SELECT what FROM notice") == [("sim.act_failed",)]
    assert act(boss, ids[1], status=409)["type"].endswith("no-carrier")


def test_speed_and_bound_radio(air, ids, boss, sql):
    """A class of the carrier's own, the ledger's IMEI if none is given, and both back again."""
    assert act(boss, ids[0], "speed", value="warp", status=422)["errors"][0]["pointer"] == "/value"
    assert act(boss, ids[0], "lock_imei", status=422)["errors"][0]["pointer"] == "/value"
    assert act(boss, ids[0], "plan", value="x", status=409)["type"].endswith("no-carrier")
    several = {"sims": ids[:2], "kind": "lock_imei", "value": "352099001761481", "reason": "x"}
    assert post(boss, "sims/actions", several, 422)["errors"][0]["pointer"] == "/value"
    sql("UPDATE device SET imei = '352099001761481' WHERE control_number = 'T1'")
    for kind, value in (("speed", "s1.slow"), ("lock_imei", ""), ("unlock_imei", "")):
        act(boss, ids[0], kind, value=value)
        air.acts()
        air.acts()
        assert latest(boss, ids[0])["state"] == "effective", kind
        sim = air.sim(0)
        assert (sim["intended_speed"], sim["effective_speed"]) == ("s1.slow", "s1.slow")
        assert sim["imei_lock"] == ("352099001761481" if kind == "lock_imei" else None)


def test_a_wish_makes_way_for_another_until_it_was_sent(air, ids, boss):
    """The same wish twice is one act; after it left, another has to wait."""
    first = act(boss, ids[0])
    assert act(boss, ids[0]) == {**first, "created": False}
    act(boss, ids[0], "resume")
    states = [each["state"] for each in boss.get(f"sims/{ids[0]}/actions").json()["items"]]
    assert states == ["approved", "cancelled"]
    air.script.status_takes_s = 60
    act(boss, ids[1])
    air.acts()
    assert act(boss, ids[1], "resume", status=409)["type"].endswith("act-under-way")
    sent = latest(boss, ids[1])["id"]
    assert post(boss, f"sims/actions/{sent}/cancel", None, status=409)
    speed = act(boss, ids[2], "speed", value="s1.slow")["action"]["id"]
    assert post(boss, f"sims/actions/{speed}/cancel", None, status=200)["state"] == "cancelled"
    assert air.sim(2)["intended_speed"] == "s1.standard"


def test_many_lines_wait_for_a_second_person(air, ids, boss, sign_in, sql, database):
    """Above the threshold nothing leaves before somebody else has signed; what needs its line by then is left out."""
    sql("INSERT INTO safeguard_threshold (name, value, set_by, reason) VALUES ('sims.at_once', 2, 'host', 'test')")
    sql("UPDATE operator SET made_on_host = true")
    body = {"sims": ids[:4], "kind": "suspend", "reason": "holidays"}
    asked = post(boss, "sims/actions", body)
    assert {each["action"]["state"] for each in asked["acted"]} == {"requested"}
    assert air.sim(0)["intended_status"] is None
    assert not air.acts()
    second = sign_in("second")
    sql("UPDATE operator SET made_on_host = true")
    signer = Signer("second").pinned(database)
    request = second.get(f"approvals/{asked['approval_id']}").json()
    assert (request["action"], len(request["devices"]), request["subject"]["free_sims"]) == ("sim.suspend", 3, [ids[3]])
    own = Signer("boss").pinned(database).consent(request)
    assert boss.post(f"approvals/{asked['approval_id']}/approve", json=own).json()["type"].endswith("self-approval")
    one_school = sign_in("hana", Role.SUPPORT, "E1")
    assert one_school.get(f"approvals/{asked['approval_id']}").status_code == 404
    lock(boss, request["devices"][0]["id"])
    answer = second.post(f"approvals/{asked['approval_id']}/approve", json=signer.consent(request))
    assert answer.status_code == 200, answer.text
    air.acts()
    air.acts()
    states = {each["sim_id"]: each["state"] for each in boss.get("sims/actions").json()["items"]}
    assert states == {ids[0]: "cancelled", **dict.fromkeys(ids[1:4], "effective")}
    assert len(air.cloud.orders) == 3


def test_a_request_that_is_refused_or_tampered_with_moves_no_line(air, ids, boss, sign_in, sql, database):
    """A second person's no ends the acts; one that was changed after the signature is not what was signed."""
    sql("INSERT INTO safeguard_threshold (name, value, set_by, reason) VALUES ('sims.at_once', 1, 'host', 'test')")
    second = sign_in("second")
    sql("UPDATE operator SET made_on_host = true")
    signer = Signer("second").pinned(database)
    body = {"sims": ids[:2], "kind": "speed", "value": "s1.slow", "reason": "holidays"}
    refused = post(boss, "sims/actions", body)["approval_id"]
    assert second.post(f"approvals/{refused}/reject").status_code == 200
    carriers.work()
    assert {each["state"] for each in boss.get("sims/actions").json()["items"]} == {"cancelled"}
    asked = post(boss, "sims/actions", body)["approval_id"]
    sql("UPDATE sim_action SET kind = 'suspend', value = '' WHERE sim_id = :id AND state = 'requested'", id=ids[0])
    request = second.get(f"approvals/{asked}").json()
    assert second.post(f"approvals/{asked}/approve", json=signer.consent(request)).status_code == 200
    for _ in range(2):
        air.acts()
    assert air.sim(0)["effective_speed"] == "s1.standard"
    assert air.sim(0)["effective_status"] == "active"
    assert air.sim(1)["effective_speed"] == "s1.slow"


def test_who_may_and_how_much(air, ids, sign_in, sql):
    """The operation duty may, the loss desk by its cases only, schools see none; class B's budget bounds it."""
    act(sign_in("ops", Role.OPERATION), ids[0], "speed", value="s1.slow")
    assert act(sign_in("loss", Role.LOSS_DESK), ids[0], status=403)
    away = sign_in("away", Role.SUPPORT, "E2")
    assert act(away, ids[0], status=404)
    assert act(away, ids[3], status=404)
    assert away.get("sims/actions").json()["items"] == []
    sql("INSERT INTO safeguard_threshold (name, value, set_by, reason) VALUES ('b.operator.hour', 1, 'host', 'test')")
    near = sign_in("near", Role.SUPPORT, "E1")
    act(near, ids[1], "speed", value="s1.slow")
    assert act(near, ids[2], "speed", value="s1.slow", status=429)["type"].endswith("budget-spent")
    assert near.get(f"sims/{ids[1]}/actions").json()["items"][0]["requested_by"] == "operator:near"


def test_a_job_may_not_change_many_lines(ids):
    """What is not a person's wish is bounded by the threshold itself."""
    run(NO_BUDGETS)
    run("INSERT INTO safeguard_threshold (name, value, set_by, reason) VALUES ('sims.at_once', 2, 'host', 'test')")
    with pytest.raises(sim_wishes.Forbidden), db.transaction() as session:
        sim_wishes.ask(session, "job:usage", ids[:3], Wish(ActionKind.RESUME, "x"))
