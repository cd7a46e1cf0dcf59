"""Cases through the API: opened in one step with the lock, shown as the tablet says, worked on, closed."""

import json

from mdm.auth import Role
from tests.mdm_support.conftest import asked, happened

HERE = json.dumps({"Latitude": 35.0, "Longitude": 135.0})


def test_opening_a_case_locks_the_tablet_in_the_same_step(hana, says, sql):
    """Lost mode is in line with message and number, nobody has to agree, and nothing is called locked before it is."""
    case = hana.open(control_number="T-A", message="Please return me", phone_number="03-0000-0000")
    lock = asked(case, "lock")
    assert (case["state"], lock["kind"], lock["state"]) == ("securing", "lost_mode_on", "queued")
    assert case["waits_for"]["code"] == "lock_never_heard"
    shown = hana.get(f"/commands/{lock['id']}")
    assert shown["arguments"] == {"message": "Please return me", "phone_number": "03-0000-0000"}
    assert case["holder"] == {"user_id": "p1", "year": 3, "class_name": "B"}
    sql("UPDATE enrollment SET last_seen_at = now() - interval '2 hours'")
    case = hana.get(f"/cases/{case['id']}")
    assert case["waits_for"]["code"] == "lock_silent"
    assert "Not locked yet: the tablet has been silent since" in case["waits_for"]["text"]
    says(lock, "delivered")
    assert hana.get(f"/cases/{case['id']}")["state"] == "securing"
    says(lock, "done")
    case = hana.get(f"/cases/{case['id']}")
    assert (case["state"], case["waits_for"]["code"]) == ("secured", "secured")
    assert [step["state"] for step in asked(case, "lock")["steps"]] == ["queued", "delivered", "done"]


def test_an_unsupervised_tablet_gets_its_screen_locked_and_no_false_word(hana, says):
    """Without supervision the screen is locked, and the case says that this protects nothing without a passcode."""
    case = hana.open(serial="SERIALPLAIN", message="Return me", footnote="Room 3")
    lock = asked(case, "lock")
    assert lock["kind"] == "lock_screen"
    says(lock, "done")
    case = hana.get(f"/cases/{case['id']}")
    assert (case["state"], case["waits_for"]["code"]) == ("secured", "screen_locked")


def test_a_tablet_that_cannot_be_reached_has_a_case_all_the_same(hana, sql):
    """Not enrolled: the case is open, says so, and the refusal is on its timeline."""
    sql("UPDATE enrollment SET status = 'ended' WHERE udid = 'udid-a'")
    case = hana.open(serial="SERIALA")
    assert (case["state"], case["waits_for"]["code"]) == ("opened", "not_enrolled")
    assert "lock_refused" in happened(case)


def test_what_a_locked_tablet_shows_comes_from_the_desk(hana, sign_in, district):
    """A school's own text, else everybody's, else the first; what the call gives goes before (R-09)."""
    boss = sign_in("boss", Role.ADMINISTRATOR)
    boss.put("/desk-settings/lost_text", {"value": {"message": "District", "phone_number": "03-1111-1111"}})
    boss.put("/desk-settings/lost_text", {"value": {"message": "E2 school"}, "school": "E2"})
    boss.put("/desk-settings/hours.lost", {"value": {"hours": 2}})
    assert hana.open(serial="SERIALA")["text_shown"] == {"message": "District", "phone_number": "03-1111-1111"}
    assert hana.open(serial="SERIALFAR")["text_shown"] == {"message": "E2 school"}
    own = hana.open(serial="SERIALB", message="Mine")
    assert own["text_shown"] == {"message": "Mine", "phone_number": "03-1111-1111"}
    assert hana.open(serial="SERIALPLAIN", message="x", phone_number="no number", expect=422)["errors"]
    assert hana.get("/cases", serial="SERIALPLAIN")["items"] == []
    assert boss.put("/desk-settings/hours.lost", {"value": {"hours": 0}}, expect=422)["errors"]
    values = {(line["name"], line["school"]): line["value"] for line in hana.get("/desk-settings")}
    assert (values["hours.lost", None], values["lost_text", "E2"]) == ({"hours": 2}, {"message": "E2 school"})


def test_which_tablet_is_meant(hana, sign_in):
    """By number, serial, holder or class; several are listed to choose from; one case at a time; scope holds."""
    assert hana.open(user_id="p2")["control_number"] == "T-B"
    several = hana.open(school="E1", year=3, class_name="B", expect=422)
    assert several["type"].endswith("several-tablets")
    assert [each["detail"] for each in several["errors"]] == ["T-A", "T-B", "T-PLAIN"]
    choices = hana.get("/cases/choices", school="E1", year=3)
    assert [(each["control_number"], each["case_id"] is not None) for each in choices] == [
        ("T-A", False),
        ("T-B", True),
        ("T-PLAIN", False),
    ]
    assert hana.open(serial="SERIALB", expect=409)["type"].endswith("case-open")
    assert hana.open(expect=422)["errors"][0]["pointer"] == "/control_number"
    there = sign_in("jiro", school="E2")
    there.open(serial="SERIALA", expect=404)
    there.get("/cases/1", expect=404)
    assert there.get("/cases")["items"] == []
    there.post("/cases/1/found", expect=404)


def test_the_same_call_twice_opens_one_case(hana):
    """A repeat with the same Idempotency-Key gets the first answer."""
    body = {"kind": "stolen", "serial": "SERIALA", "caller": "teacher"}
    first = hana.post("/cases", body, key="k1")
    assert hana.post("/cases", body, key="k1") == first
    assert len(hana.get("/cases")["items"]) == 1


def test_locating_only_in_lost_mode_on_record_and_forgotten_at_the_end(hana, sign_in, says, sql):
    """Where it was is read by an audited act, shown nowhere else, and erased when it is found, in the past too."""
    boss = sign_in("boss", Role.ADMINISTRATOR)
    case = hana.open(serial="SERIALA")
    path = f"/cases/{case['id']}"
    says(asked(case, "lock"), "done")
    located = asked(hana.post(f"{path}/locate"), "locate")
    hana.get(f"{path}/location", expect=404)
    says(located, "done", HERE)
    assert "35.0" not in json.dumps(hana.get(path))
    for _ in range(2):
        assert hana.get(f"{path}/location")["answer"] == {"Latitude": 35.0, "Longitude": 135.0}
    reads = [each for each in boss.get("/audit")["items"] if each["action"] == "location.read"]
    assert len(reads) == 2
    assert happened(hana.get(path)).count("location_read") == 2
    sound = asked(hana.post(f"{path}/sound"), "sound")
    assert sound["state"] == "queued"
    sql("UPDATE command SET ended_at = now() - interval '5 days' WHERE kind = 'locate'")
    with_past = sql(
        "WITH gone AS (DELETE FROM command WHERE kind = 'locate' RETURNING *)"
        " INSERT INTO command_past SELECT * FROM gone RETURNING id"
    )
    assert len(with_past) == 1
    found = hana.post(f"{path}/found")
    assert found["timeline"][-2]["details"]["locations_purged"] == 1
    assert hana.get(f"/commands/{located['id']}")["result"] is None
    hana.get(f"{path}/location", expect=409)


def test_found_frees_the_tablet_and_takes_the_wipe_back(hana, sign_in, says):
    """Lost mode off and the wipe cancelled, as commands really stand; it is free only when the tablet says so."""
    case = hana.open(serial="SERIALA")
    path = f"/cases/{case['id']}"
    says(asked(case, "lock"), "done")
    case = hana.post(f"{path}/wipe", {"reason": "stolen"})
    assert (case["state"], case["waits_for"]["who"]) == ("wipe_requested", "second_person")
    case = hana.post(f"{path}/found")
    assert (case["state"], asked(case, "wipe")["state"]) == ("found", "cancelled")
    assert case["waits_for"]["code"].startswith("found_")
    assert asked(case, "unlock")["state"] == "queued"
    says(asked(case, "unlock"), "done")
    case = hana.get(path)
    assert (case["state"], case["waits_for"]["code"], case["tablet"]["lost_mode"]) == ("found", "found_free", False)
    case = hana.post(f"{path}/close", {"outcome": "closed_found"})
    assert (case["state"], case["closed_at"] is not None) == ("closed_found", True)
    hana.post(f"{path}/found", expect=409)


def test_a_wipe_that_was_handed_over_is_not_called_cancelled(hana, sql, says):
    """Found too late: the order is with the tablet, and the case says so."""
    case = hana.open(serial="SERIALA")
    path = f"/cases/{case['id']}"
    wipe = asked(hana.post(f"{path}/wipe", {"reason": "stolen"}), "wipe")
    sql("ALTER TABLE command DISABLE TRIGGER USER; UPDATE command SET state = 'delivered' WHERE kind = 'wipe'")
    case = hana.get(path)
    assert case["state"] == "wipe_approved"
    hana.post(f"{path}/wipe/cancel", expect=409)
    case = hana.post(f"{path}/found")
    sql("ALTER TABLE command ENABLE TRIGGER USER")
    assert asked(case, "wipe")["state"] == "delivered"
    assert [e["details"]["outcome"] for e in case["timeline"] if e["what"] == "wipe_cancel"] == ["too_late"]
    assert wipe["id"] == asked(case, "wipe")["id"]


def test_nobody_is_wiped_on_a_strangers_word(hana):
    """A wipe waits for the caller to be verified; the lock does not."""
    case = hana.open(serial="SERIALA", verified="not_yet")
    path = f"/cases/{case['id']}"
    assert case["state"] == "securing"
    assert hana.post(f"{path}/wipe", {"reason": "x"}, expect=409)["type"].endswith("caller-not-verified")
    hana.post(f"{path}/verify", {"verified": "not_yet"}, expect=422)
    hana.post(f"{path}/verify", {"verified": "call_back"})
    wiped = hana.post(f"{path}/wipe", {"reason": "x"})
    assert wiped["wants_wipe"] is True
    again = hana.post(f"{path}/wipe", {"reason": "x"})
    assert asked(again, "wipe")["id"] == asked(wiped, "wipe")["id"]
    taken_back = hana.post(f"{path}/wipe/cancel")
    assert (taken_back["state"], taken_back["wants_wipe"]) == ("securing", False)


def test_the_sim_stays_until_lock_and_wipe_have_landed(hana, says, sql):
    """Refused while something is under way; then noted, and honestly not done: no carrier is connected."""
    case = hana.open(serial="SERIALA")
    path = f"/cases/{case['id']}"
    suspend = {"wish": "suspend", "reason": "costs"}
    assert hana.post(f"{path}/sim", suspend, expect=409)["type"].endswith("sim-gate")
    assert hana.get(path)["sim_wanted"] is None
    says(asked(case, "lock"), "done")
    assert hana.post(f"{path}/sim", suspend, expect=409)["type"].endswith("no-carrier")
    assert hana.get(path)["sim_wanted"] == "suspended"
    hana.post(f"{path}/wipe", {"reason": "x"})
    assert hana.post(f"{path}/sim", suspend, expect=409)["type"].endswith("sim-gate")
    sql("UPDATE command SET created_at = created_at - interval '3 hours'")
    sql("UPDATE support_case SET opened_at = opened_at - interval '3 hours'")
    assert hana.post(f"{path}/sim", suspend, expect=409)["type"].endswith("sim-gate")
    assert hana.post(f"{path}/sim", suspend | {"wait_hours": 2}, expect=409)["type"].endswith("no-carrier")
    unsaid = {"wish": "suspend", "wait_hours": 2}
    assert hana.post(f"{path}/sim", unsaid, expect=409)["type"].endswith("sim-gate")
    found = hana.post(f"{path}/found")
    assert found["sim_wanted"] == "active"


def test_writing_off(hana, sql):
    """The ledger calls it lost, a stolen one needs the report's number, and lock and wipe stay in line."""
    case = hana.open("stolen", serial="SERIALA")
    path = f"/cases/{case['id']}"
    hana.post(f"{path}/wipe", {"reason": "stolen"})
    assert hana.post(f"{path}/written-off", {}, expect=422)["errors"][0]["pointer"] == "/police_report_no"
    done = hana.post(f"{path}/written-off", {"police_report_no": "2026-0815", "insurance_no": "I-1"})
    assert (done["state"], done["police_report_no"]) == ("closed_written_off", "2026-0815")
    assert [asked(done, each)["state"] for each in ("lock", "wipe")] == ["queued", "held"]
    assert sql("SELECT state FROM device WHERE serial = 'SERIALA'") == [("lost",)]


def test_a_late_return_is_reminded_of_and_may_turn_out_lost(hana):
    """It needs a day, nothing is locked until it is called lost."""
    hana.open("returned_late", serial="SERIALA", expect=422)
    hana.open("lost", serial="SERIALA", due_on="2026-03-31", expect=422)
    case = hana.open("returned_late", serial="SERIALA", due_on="2026-03-31")
    path = f"/cases/{case['id']}"
    assert (case["state"], case["commands"], case["waits_for"]["code"]) == ("opened", [], "late")
    hana.post(f"{path}/locate", expect=409)
    case = hana.post(f"{path}/reminders")
    assert (case["state"], case["waits_for"]["who"]) == ("reminded", "holder")
    hana.post(f"{path}/lost", {"kind": "broken"}, expect=422)
    case = hana.post(f"{path}/lost", {})
    assert (case["kind"], case["state"]) == ("lost", "securing")
    mistaken = hana.post(f"{path}/close", {"outcome": "closed_mistaken"})
    assert asked(mistaken, "lock")["state"] == "superseded"
    assert asked(mistaken, "unlock")["state"] == "queued"


def test_a_memo_that_looks_personal_is_sent_back_once(hana):
    """R-47: what looks like a name, health or a number comes back with a warning, and is taken only as sure."""
    path = f"/cases/{hana.open(serial='SERIALA')['id']}/notes"
    for text in ("母は03-1234-5678", "田中さんの家", "診断書あり", "Mr. Smith has it"):
        assert hana.post(path, {"text": text}, expect=422)["type"].endswith("memo-warning")
    hana.post(path, {"text": "The school looks in the gym once more."})
    case = hana.post(path, {"text": "診断書あり", "sure": True})
    assert happened(case).count("note") == 2
