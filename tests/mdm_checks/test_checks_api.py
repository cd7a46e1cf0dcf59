"""Whereabouts checks through the operator API, the job beside it."""

import pytest
from sqlalchemy import text

from mdm.auth import Role

from .conftest import NOW, PLAN, outcomes, tasks


def test_the_list_is_frozen_with_reasons(running, session):
    """A start lists what must be verified or seen, and what is left out and why; later changes move nothing."""
    path = running()
    listed = tasks(running.api, path)
    assert set(listed) == {"A01", "A02", "A03", "A04", "A05", "A06", "B01", "B02"}  # returned and retired are gone
    assert {n: t["hand"] for n, t in listed.items() if t["hand"]} == {
        "A02": "silent",
        "A03": "silent",
        "A04": "must_be_seen",
        "B02": "must_be_seen",
    }
    assert {n: t["excluded"] for n, t in listed.items() if t["excluded"]} == {"A05": "repair", "A06": "lost"}
    assert (listed["A01"]["year"], listed["A01"]["class_name"], listed["A01"]["user_id"]) == (3, "1", "p-a01")
    session.execute(text("UPDATE device SET school_id = (SELECT id FROM school WHERE code = 'E2'), state = 'lost'"))
    session.commit()
    after = tasks(running.api, path)
    frozen = ("school_code", "year", "class_name", "state", "hand", "excluded")
    assert {n: [t[f] for f in frozen] for n, t in after.items()} == {
        n: [t[f] for f in frozen] for n, t in listed.items()
    }
    assert {t["state_now"] for t in after.values()} == {"lost"}


def test_check_ins_within_the_check_verify(running, bring_forward, speak, time):
    """A check-in since the first day is evidence, an older one is not, and a spare must be seen all the same."""
    path = running()
    assert bring_forward() == {"started": 0, "checkins": 0, "told": 0}
    time.go(days=2)
    speak("A01", "A02", "A04", "A05", "A06")
    assert bring_forward()["checkins"] == 2
    listed = tasks(running.api, path, status="verified")
    assert {n: (t["verified_by"], t["verified_at"]) for n, t in listed.items()} == dict.fromkeys(
        ("A01", "A02"), ("checkin", "2026-04-15T01:00:00Z")
    )
    time.go(days=1)
    speak("A01")
    assert bring_forward()["checkins"] == 0
    evidence = running.api.get(f"{path}/evidence").json()["items"]
    assert sorted((e["control_number"], e["kind"], e["actor"]) for e in evidence) == [
        ("A01", "checkin", "job:checks"),
        ("A02", "checkin", "job:checks"),
    ]


@pytest.mark.parametrize(("days", "verified"), [(0, set()), (1, {"A01"}), (3, {"A01", "B01"})])
def test_how_old_a_check_in_may_be(running, bring_forward, days, verified):
    """`checkin_days` lets check-ins of the days before the first count, from midnight in Japan on."""
    path = running(checkin_days=days)
    bring_forward()
    assert set(tasks(running.api, path, status="verified")) == verified


def test_what_a_stolen_tablet_says_proves_nothing(running, bring_forward, speak, set_state, time):
    """A check-in of a tablet reported lost after the start is no evidence; of a spare that was issued it is."""
    path = running()
    set_state("A01", "lost")
    set_state("A04", "issued")
    time.go(hours=1)
    speak("A01", "A04")
    bring_forward()
    assert set(tasks(running.api, path, status="verified")) == {"A04"}


def _open_case(client, number, kind="lost"):
    body = {"kind": kind, "control_number": number, "caller": "teacher", "verified": "through_school"}
    answer = client.post("/api/v1/cases", json=body, headers={"Idempotency-Key": number})
    assert answer.is_success, answer.text


def test_what_the_desk_looks_for_is_left_to_it(running, bring_forward, speak, session, time):
    """A tablet in a case of loss is left out of the list; one that gets there later is verified by no check-in.

    A scan of it counts, and says that the desk is looking for it.
    """
    _open_case(running.api, "A01", "stolen")
    path = running()
    assert tasks(running.api, path, status="excluded")["A01"]["excluded"] == "case"
    _open_case(running.api, "A02")
    session.execute(
        text("UPDATE enrollment SET lost_mode = true WHERE device_id = (SELECT id FROM device WHERE serial = 'ZZB01')")
    )
    session.commit()
    time.go(hours=1)
    speak("A01", "A02", "A03", "B01")
    assert bring_forward()["checkins"] == 1
    listed = tasks(running.api, path, status="unverified")
    assert {number: line["state_now"] for number, line in listed.items()} == {
        "A02": "case",
        "A04": "stock",
        "B01": "issued",
        "B02": "stock",
    }
    scanned = running.api.post(f"{path}/scans", json={"control_numbers": ["A02", "A01"]})
    assert outcomes(scanned) == [("A02", "verified"), ("A01", "excluded")]
    assert [line["reason"] for line in scanned.json()["lines"]] == ["case", "case"]


def test_scans_are_answered_line_by_line(running, session, fleet, time):
    """Each number gets its outcome: verified, of another school, left out, not listed, unknown, twice, no number."""
    path = running()
    numbers = ["A01", "\uff21\uff10\uff12", "B01", "A05", "A07", "A99", "A01", "no number"]
    body = {"control_numbers": numbers, "school": "E1"}
    answer = running.api.post(f"{path}/scans", json=body)
    assert outcomes(answer) == [
        ("A01", "verified"),
        ("A02", "verified"),
        ("B01", "other_school"),
        ("A05", "excluded"),
        ("A07", "not_listed"),
        ("A99", "unknown"),
        ("A01", "repeated"),
        (None, "malformed"),
    ]
    lines = answer.json()["lines"]
    assert (lines[2]["school"], lines[3]["reason"]) == ("E2", "repair")
    assert [each["line"] for each in lines] == list(range(1, 9))
    assert set(tasks(running.api, path, status="verified")) == {"A01", "A02", "B01"}
    stocktaken = text("SELECT control_number FROM device WHERE stocktaken_at = :now")
    assert set(session.execute(stocktaken, {"now": time.now}).scalars()) == {"A01", "A02", "A05", "A07", "B01"}
    # Once more: on record, and the first evidence stays.
    time.go(days=1)
    assert outcomes(running.api.post(f"{path}/scans", json={"control_numbers": ["A01"]})) == [("A01", "again")]
    assert tasks(running.api, path)["A01"]["verified_at"] == "2026-04-13T01:00:00Z"
    assert len(running.api.get(f"{path}/evidence", params={"control_number": "A01"}).json()["items"]) == 2


def test_a_tablet_found_in_another_school_is_a_hint_for_its_own(running, api, session):
    """A school's scan of another school's number tells it nothing, proves nothing, and shows in that other school."""
    path = running()
    hana, jiro = api("hana", Role.SCHOOL, school="E1"), api("jiro", Role.SCHOOL, school="E2")
    scan = {"control_numbers": ["B01", "A99", "A01"]}
    answer = hana.post(f"{path}/scans", json=scan)
    assert outcomes(answer) == [("B01", "unknown"), ("A99", "unknown"), ("A01", "verified")]
    assert answer.json()["lines"][0].keys() == answer.json()["lines"][1].keys()
    assert answer.json()["lines"][0]["school"] is None
    line = tasks(jiro, path)["B01"]
    assert (line["status"], line["found_elsewhere"], line["found_school"]) == ("unverified", True, None)
    assert tasks(running.api, path)["B01"]["found_school"] == "E1"
    [hint] = jiro.get(f"{path}/evidence").json()["items"]
    assert (hint["control_number"], hint["hint"], hint["actor"], hint["school"]) == ("B01", True, "operator:hana", None)
    never = text("SELECT stocktaken_at FROM device WHERE control_number = 'B01'")
    assert session.execute(never).scalar() is None
    # A word about another school's tablet leaves no trace at all.
    assert outcomes(hana.post(f"{path}/confirmations", json={"control_numbers": ["B02"]})) == [("B02", "unknown")]
    assert len(jiro.get(f"{path}/evidence").json()["items"]) == 1


def test_a_word_is_on_record(running, api):
    """A word verifies tablets of one's schools; the evidence says whose it was."""
    path = running()
    hana = api("hana", Role.SCHOOL, school="E1")
    assert outcomes(hana.post(f"{path}/confirmations", json={"control_numbers": ["A04"]})) == [("A04", "verified")]
    [word] = hana.get(f"{path}/evidence").json()["items"]
    assert (word["control_number"], word["kind"], word["actor"]) == ("A04", "word", "operator:hana")
    trail = running.api.get("/api/v1/audit", params={"action": "check.confirm"}).json()["items"]
    assert [each["details"] for each in trail] == [{"verified": 1}]


def test_progress_counts_schools_and_classes(running, api, bring_forward, speak, time):
    """Counts add up by school and by class, and those of another school are not among them."""
    path = running()
    time.go(hours=1)
    speak("A01", "B01")
    bring_forward()
    running.api.post(f"{path}/scans", json={"control_numbers": ["A04"]})
    all_ = running.api.get(f"{path}/progress").json()
    assert [(s["school_code"], s["counts"]["verified"], s["counts"]["listed"]) for s in all_["schools"]] == [
        ("E1", 2, 4),
        ("E2", 1, 2),
    ]
    assert all_["total"] == {
        "listed": 6,
        "verified": 3,
        "by_checkin": 2,
        "by_scan": 1,
        "by_word": 0,
        "unverified": 3,
        "must_be_seen": 1,
        "silent": 2,
        "excluded": 2,
    }
    hana = api("hana", Role.VIEWER, school="E1")
    own = hana.get(f"{path}/progress", params={"school": "E1"}).json()
    found = [(c["year"], c["class_name"], c["counts"]["verified"], c["counts"]["unverified"]) for c in own["classes"]]
    assert found == [(3, "1", 1, 1), (3, "2", 0, 1), (None, None, 1, 0)]
    assert hana.get(path).json()["counts"]["listed"] == own["total"]["listed"] == 4
    assert hana.get(f"{path}/progress", params={"school": "E2"}).status_code == 404
    assert set(tasks(hana, path)) == {"A01", "A02", "A03", "A04", "A05", "A06"}
    assert tasks(hana, path)["A01"]["user_id"] is None  # a viewer may not know who has a tablet


def test_escalation_tells_each_once(running, api, bring_forward, session, time):
    """The schools are reminded, then told, then the board, each once; who has found all is left in peace."""
    path = running()
    running.api.post(f"{path}/scans", json={"control_numbers": ["B01", "B02"]})
    told = []
    for _ in range(40):
        told.append(bring_forward()["told"])
        assert bring_forward()["told"] == 0
        time.go(days=1)
    steps = running.api.get(path).json()["steps"]
    assert [(s["step"], s["school_code"], s["done_at"][:10], s["unverified"]) for s in steps] == [
        ("reminder", "E1", "2026-05-05", 4),
        ("school", "E1", "2026-05-09", 4),
        ("board", None, "2026-05-15", 4),
    ]
    assert sum(told) == 3
    session.rollback()
    paged = session.execute(text("SELECT what, details -> 'schools', details ->> 'unverified' FROM notice ORDER BY id"))
    assert [tuple(row) for row in paged] == [
        ("check.reminder", {"E1": 4}, "4"),
        ("check.school", {"E1": 4}, "4"),
        ("check.board", {}, "4"),
    ]
    assert [s["step"] for s in api("hana", Role.VIEWER, school="E1").get(path).json()["steps"]] == [
        "reminder",
        "school",
    ]
    assert api("jiro", Role.VIEWER, school="E2").get(path).json()["steps"] == []


def test_a_late_job_reminds_nobody_of_yesterday(running, bring_forward, time):
    """After the last day there is no reminder any more, and a null deadline tells nobody."""
    path = running(deadlines={"board_after": None})
    time.go(days=60)
    bring_forward()
    assert {s["step"] for s in running.api.get(path).json()["steps"]} == {"school"}


def test_a_check_starts_on_its_day_and_comes_again(planned, bring_forward, time):
    """The job starts a check on its first day in Japan and plans the next of its rhythm, once."""
    time.go(days=-2)
    path = planned(repeats="termly")
    time.now = NOW.replace(day=12, hour=14, minute=59)
    assert bring_forward()["started"] == 0
    time.now = NOW.replace(day=12, hour=15, minute=1)
    assert bring_forward()["started"] == 1
    assert bring_forward()["started"] == 0
    assert planned.api.get(path).json()["state"] == "running"
    upcoming, first = planned.api.get("/api/v1/checks").json()["items"]
    assert (upcoming["follows"], upcoming["first_day"], upcoming["last_day"]) == (
        first["id"],
        "2026-09-13",
        "2026-10-08",
    )
    assert (upcoming["state"], upcoming["repeats"], upcoming["planned_by"]) == ("planned", "termly", "job:checks")
    planned.api.post(f"/api/v1/checks/{upcoming['id']}/cancel")
    time.go(days=300)
    assert bring_forward()["started"] == 0


def test_a_copy_has_other_days(running):
    """A copy is a plan of its own, with the same schools and rules."""
    path = running(schools=["E2"], states=["issued", "stock", "repair"], silent_days=7)
    days = {"first_day": "2026-09-01", "last_day": "2026-09-30"}
    answer = running.api.post(f"{path}/copies", json=days)
    assert answer.status_code == 201
    copy = answer.json()
    assert (copy["state"], copy["silent_days"], copy["fiscal_year"]) == ("planned", 7, 2026)
    assert copy["states"] == ["issued", "repair", "stock"]
    started = running.api.post(f"/api/v1/checks/{copy['id']}/start").json()  # early: today is its first day
    assert (started["first_day"], started["counts"]["listed"]) == ("2026-04-13", 2)


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"last_day": "2026-04-12"}, ""),
        ({"first_day": "2026-01-01", "last_day": "2026-04-01"}, "/last_day"),
        ({"first_day": "2026-01-01", "last_day": "2026-12-31"}, ""),
        ({"schools": ["E1", "E9"]}, "/schools/1"),
        ({"states": ["lost"]}, ""),
        ({"repeats": "termly", "first_day": "2026-07-20", "last_day": "2026-08-01"}, ""),
        ({"deadlines": {"school_after": 5, "board_after": 1}}, "/deadlines"),
        ({"first_day": "9999-01-01", "last_day": "9999-01-02"}, "/first_day"),
        ({"name": " "}, "/name"),
        ({"location": True}, "/location"),
    ],
)
def test_plans_that_make_no_sense(api, time, wrong, pointer):
    """Each mistake is refused and named."""
    answer = api("boss").post("/api/v1/checks", json=PLAN | wrong)
    assert answer.status_code == 422
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]


def test_schools_keep_to_themselves(running, api, planned):
    """A check is there for whoever has one of its schools; only who has them all may start or close it."""
    hana, jiro = api("hana", Role.SUPPORT, school="E1"), api("jiro", Role.SUPPORT, school="E2")
    only_e2 = running(schools=["E2"])
    assert hana.get(only_e2).status_code == 404
    assert hana.post(f"{only_e2}/scans", json={"control_numbers": ["A01"]}).status_code == 404
    assert {each["id"] for each in hana.get("/api/v1/checks").json()["items"]} == set()
    everywhere = running()
    assert hana.post(f"{everywhere}/close").status_code == 403
    assert jiro.post(f"{only_e2}/close").status_code == 200
    own = hana.post("/api/v1/checks", json=PLAN).json()
    assert (own["all_schools"], jiro.get(f"/api/v1/checks/{own['id']}").status_code) == (False, 404)
    assert hana.post("/api/v1/checks", json=PLAN | {"schools": ["E2"]}).status_code == 422
    mie = api("mie", Role.VIEWER, school="E1")
    for act, body in (("scans", {"control_numbers": ["A01"]}), ("confirmations", {"control_numbers": ["A01"]})):
        assert mie.post(f"{everywhere}/{act}", json=body).status_code == 403
    assert mie.post(f"{planned()}/start").status_code == 403
