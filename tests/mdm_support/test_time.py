"""What time brings: deadlines, ends by the tablet's word, tablets that come back, answers that come too late."""

import json

import pytest
from sqlalchemy.exc import DBAPIError

from mdm import db
from mdm.auth import Role
from mdm.commands import epochs
from mdm.support import returns
from tests.mdm_support.conftest import asked, happened
from workers import cases as worker


def enrols_again(sql, device_id: int, serial: str, epoch: int) -> None:
    """Let a tablet enrol anew, as the door does it."""
    sql("UPDATE enrollment SET epoch = :epoch, status = 'active', lost_mode = false WHERE device_id = :id",
        epoch=epoch, id=device_id)  # fmt: skip
    with db.transaction() as session:
        epochs.begin(session, device_id, epoch)
        returns.comes_back(session, device_id, serial, epoch)


def test_a_case_whose_time_runs_out_is_escalated_again_and_again(hana, sign_in, sql):
    """Each time it is on the timeline and on record, and the case gets as much time again."""
    case = hana.open(serial="SERIALA")
    assert worker.tend().total() == 0
    for times in (1, 2):
        sql("UPDATE support_case SET deadline_at = now() - interval '1 minute'")
        assert hana.get("/cases", overdue=True)["items"] != []
        assert worker.tend()["overdue"] == 1
        shown = hana.get(f"/cases/{case['id']}")
        assert (shown["escalations"], happened(shown).count("overdue")) == (times, times)
    assert hana.get("/cases", overdue=True)["items"] == []
    boss = sign_in("boss", Role.ADMINISTRATOR)
    assert [each["action"] for each in boss.get("/audit")["items"]].count("case.overdue") == 2


def test_whoever_is_on_duty_is_called_once_for_each_case_whose_time_has_run_out(hana, sql):
    """One page for all that are new, by kind and number: nobody's name, user id or tablet, and none a second time."""
    lost, late = hana.open(serial="SERIALA"), hana.open("returned_late", serial="SERIALB", due_on="2026-04-01")
    hana.open("broken", serial="SERIALPLAIN")
    overdue = "UPDATE support_case SET deadline_at = now() - interval '1 minute' WHERE kind = ANY(:kinds)"
    sql(overdue, kinds=["lost", "returned_late"])
    assert worker.tend()["told"] == 2
    sql(overdue, kinds=["lost", "broken"])
    assert worker.tend()["told"] == 1
    assert worker.tend().total() == 0
    one = {"lost": {"count": 1, "cases": [lost["id"]]}, "returned_late": {"count": 1, "cases": [late["id"]]}}
    paged = sql("SELECT what, details FROM notice ORDER BY id")
    assert [tuple(each) for each in paged] == [
        ("case.overdue", one),
        ("case.overdue", {"broken": {"count": 1, "cases": [late["id"] + 1]}}),
    ]


def test_what_the_tablet_says_moves_the_case_by_itself(hana, says):
    """Locked, found, free: the list follows, and the case of a free tablet closes without anybody."""
    case = hana.open(serial="SERIALA")
    path = f"/cases/{case['id']}"
    says(asked(case, "lock"), "done")
    assert hana.get("/cases", state="secured")["items"] == []
    assert worker.tend()["moved"] == 1
    assert len(hana.get("/cases", state="secured")["items"]) == 1
    case = hana.post(f"{path}/found")
    assert worker.tend().total() == 0
    says(asked(case, "unlock"), "done")
    assert worker.tend()["closed"] == 1
    closed = hana.get(path)
    assert (closed["state"], closed["timeline"][-1]["actor"]) == ("closed_found", "job:cases")


def test_a_tablet_that_enrols_again_is_locked_again_and_not_wiped_by_an_old_order(hana, sql, district):
    """The former wipe is void; the tablet is locked at once; the desk is told to ask anew, and its asking is fresh."""
    case = hana.open(serial="SERIALA")
    path = f"/cases/{case['id']}"
    old = asked(hana.post(f"{path}/wipe", {"reason": "stolen"}), "wipe")
    enrols_again(sql, district.tablets["a"], "SERIALA", 2)
    case = hana.get(path)
    assert asked(case, "wipe")["state"] == "cancelled"
    locks = [each for each in case["commands"] if each["purpose"] == "lock"]
    assert [each["state"] for each in locks] == ["cancelled", "queued"]
    assert (case["state"], case["waits_for"]["code"], case["wants_wipe"]) == ("securing", "wipe_again", True)
    fresh = asked(hana.post(f"{path}/wipe", {"reason": "stolen"}), "wipe")
    assert fresh["id"] != old["id"]
    assert hana.get(path)["waits_for"]["code"] == "wipe_approval"


def test_a_case_outlives_the_tablets_record(hana, sql, says):
    """The record is gone, the case stays with its numbers; the same serial enrols as another record and is locked."""
    case = hana.open(serial="SERIALA")
    path = f"/cases/{case['id']}"
    says(asked(case, "lock"), "done")
    worker.tend()
    hana.post(f"{path}/wipe", {"reason": "stolen"})
    sql("DELETE FROM command WHERE device_id IN (SELECT id FROM device WHERE serial = 'SERIALA')")
    sql("DELETE FROM device WHERE serial = 'SERIALA'")
    case = hana.get(path)
    assert (case["device_id"], case["tablet"], case["serial"], case["wants_wipe"]) == (None, None, "SERIALA", True)
    assert case["waits_for"]["code"] == "record_gone"
    hana.post(f"{path}/locate", expect=409)
    [(new_id,)] = sql(
        "WITH d AS (INSERT INTO device (control_number, serial, platform, model, school_id, lease_contract, state)"
        " SELECT 'T-NEW', 'SERIALA', 'apple', '', id, '', 'issued' FROM school WHERE code = 'E1' RETURNING id)"
        " INSERT INTO enrollment (device_id, epoch, status, udid, supervised)"
        " SELECT id, 1, 'active', 'u', true FROM d RETURNING device_id"
    )
    enrols_again(sql, new_id, "SERIALA", 1)
    case = hana.get(path)
    assert (case["device_id"], case["waits_for"]["code"]) == (new_id, "wipe_again")
    assert asked(case, "lock")["state"] == "queued"


def test_a_new_case_takes_up_what_waits_for_the_tablet(hana):
    """A wipe asked for in a case that was written off shows in the next one, and finding the tablet takes it back."""
    first = hana.open(serial="SERIALA")
    wipe = asked(hana.post(f"/cases/{first['id']}/wipe", {"reason": "stolen"}), "wipe")
    hana.post(f"/cases/{first['id']}/written-off", {})
    second = hana.open(serial="SERIALA")
    assert (second["state"], second["wants_wipe"]) == ("wipe_requested", True)
    assert asked(second, "wipe")["id"] == wipe["id"]
    found = hana.post(f"/cases/{second['id']}/found")
    assert asked(found, "wipe")["state"] == "cancelled"


def test_a_tablet_that_was_written_off_and_comes_back_opens_its_case_again(hana, sql, district):
    """It is locked at once, unless the tablet has had another case since."""
    case = hana.open(serial="SERIALA")
    path = f"/cases/{case['id']}"
    hana.post(f"{path}/written-off", {})
    enrols_again(sql, district.tablets["a"], "SERIALA", 2)
    case = hana.get(path)
    assert (case["state"], case["closed_at"], asked(case, "lock")["state"]) == ("securing", None, "queued")
    assert {"reopen", "came_back"} <= set(happened(case))
    hana.post(f"{path}/found")
    hana.post(f"{path}/close", {"outcome": "closed_found"})
    enrols_again(sql, district.tablets["a"], "SERIALA", 3)
    assert hana.get(path)["state"] == "closed_found"


def test_a_location_that_comes_after_the_end_is_forgotten_too(hana, sql, says):
    """What was asked before and answered after is erased by the job."""
    case = hana.open(serial="SERIALA")
    path = f"/cases/{case['id']}"
    says(asked(case, "lock"), "done")
    located = asked(hana.post(f"{path}/locate"), "locate")
    says(located, "delivered")
    hana.post(f"{path}/found")
    hana.post(f"{path}/close", {"outcome": "closed_found"})
    says(located, "done", json.dumps({"Latitude": 35.0}))
    assert worker.tend()["forgotten"] == 1
    assert sql("SELECT result FROM command WHERE kind = 'locate'") == [(None,)]
    assert worker.tend().total() == 0


def test_a_timeline_cannot_be_changed(hana, sql):
    """The database refuses it."""
    hana.open(serial="SERIALA")
    for statement in (
        "UPDATE case_event SET what = 'x'",
        "DELETE FROM case_event",
        "UPDATE desk_setting SET name = 'x'",
    ):
        with pytest.raises(DBAPIError, match="append-only"):
            sql(statement)
