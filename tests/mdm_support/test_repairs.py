"""Broken tablets: a spare for the holder, the repairer, the way back, and the ledger at each step."""

from mdm.auth import Role
from tests.mdm_support.conftest import happened


def standing(sql, *serials: str) -> list[tuple]:
    found = sql("SELECT d.serial, h.user_id, d.state FROM device d LEFT JOIN holder h ON h.id = d.holder_id")
    known = {serial: (user_id, state) for serial, user_id, state in found}
    return [known[each] for each in serials]


def broken(api, serial: str = "SERIALA") -> str:
    return f"/cases/{api.open('broken', serial=serial, caller='teacher')['id']}"


def test_a_spare_takes_over_and_can_be_given_back(hana, sql):
    """Holder and what follows from the ledger move in one step, and both tablets are computed anew."""
    path = broken(hana)
    sql("UPDATE enrollment SET desired_stale = false")
    case = hana.post(f"{path}/swap", {"control_number": "T-SPARE"})
    assert (case["state"], case["spare_number"], case["commands"]) == ("swapped", "T-SPARE", [])
    assert standing(sql, "SERIALA", "SERIALSPARE") == [(None, "repair"), ("p1", "issued")]
    assert len(sql("SELECT 1 FROM enrollment WHERE desired_stale")) == 2
    hana.post(f"{path}/swap", {"control_number": "T-SPARE"}, expect=409)
    case = hana.post(f"{path}/swap/undo")
    assert (case["state"], case["spare_number"]) == ("opened", None)
    assert standing(sql, "SERIALA", "SERIALSPARE") == [("p1", "issued"), (None, "stock")]


def test_only_a_spare_of_the_school_is_handed_out(hana, sign_in, sql):
    """Not a pupil's, not another school's, not one with a case, not itself; nothing moves when it is refused."""
    path = broken(hana)
    before = standing(sql, "SERIALA", "SERIALB", "SERIALFAR")
    for number in ("T-B", "T-FAR", "T-A"):
        assert hana.post(f"{path}/swap", {"control_number": number}, expect=409)["type"].endswith("not-a-spare")
    sql("UPDATE device SET holder_id = NULL, state = 'stock' WHERE serial = 'SERIALFAR'")
    assert "another school" in hana.post(f"{path}/swap", {"serial": "SERIALFAR"}, expect=409)["detail"]
    sign_in("jiro", school="E1").post(f"{path}/swap", {"serial": "SERIALFAR"}, expect=404)
    hana.open("broken", serial="SERIALSPARE", caller="desk")
    assert "case of its own" in hana.post(f"{path}/swap", {"control_number": "T-SPARE"}, expect=409)["detail"]
    assert standing(sql, "SERIALA", "SERIALB") == before[:2]


def test_a_swap_is_not_undone_over_a_later_change(hana, sql):
    """When the spare has gone on to somebody else, it stays there."""
    path = broken(hana)
    hana.post(f"{path}/swap", {"control_number": "T-SPARE"})
    sql("UPDATE device SET holder_id = NULL, state = 'stock' WHERE serial = 'SERIALSPARE'")
    hana.post(f"{path}/swap/undo", expect=409)


def test_to_the_repairer_and_back(hana, sql):
    """Order, return, ledger; the repairer's usual wrong wish is answered; the holder's spare stays his."""
    path = broken(hana)
    hana.post(f"{path}/swap", {"control_number": "T-SPARE"})
    order = {"order_number": "R-1", "vendor": "Invented Repairs", "sent_on": "2026-04-02"}
    sent = hana.post(f"{path}/repairs", order)
    assert "Apple School Manager" in sent["advice"]
    assert (sent["case"]["state"], sent["case"]["waits_for"]["who"]) == ("repairing", "repairer")
    hana.post(f"{path}/close", {"outcome": "closed_repaired"}, expect=409)
    hana.post(f"{path}/repairs/back", {"back_on": "2026-04-01"}, expect=422)
    case = hana.post(f"{path}/repairs/back", {"back_on": "2026-04-20"})
    assert (case["state"], case["repairs"][0]["back_on"]) == ("swapped", "2026-04-20")
    assert standing(sql, "SERIALA", "SERIALSPARE") == [(None, "stock"), ("p1", "issued")]
    assert hana.post(f"{path}/close", {"outcome": "closed_repaired"})["state"] == "closed_repaired"


def test_a_tablet_without_a_spare_goes_back_to_its_holder(hana, sql):
    """Sent away and back, it is the pupil's throughout."""
    path = broken(hana)
    hana.post(f"{path}/repairs", {"order_number": "R-1", "vendor": "Invented", "sent_on": "2026-04-02"})
    assert standing(sql, "SERIALA") == [("p1", "repair")]
    hana.post(f"{path}/repairs/back", {})
    assert standing(sql, "SERIALA") == [("p1", "issued")]


def test_retiring_is_the_boards(hana, sign_in, sql):
    """The desk may not take a tablet out of the fleet; the board may, and the case ends with it."""
    path = broken(hana)
    hana.post(f"{path}/close", {"outcome": "closed_retired"}, expect=403)
    boss = sign_in("boss", Role.ADMINISTRATOR)
    assert boss.post(f"{path}/close", {"outcome": "closed_retired"})["state"] == "closed_retired"
    assert standing(sql, "SERIALA") == [("p1", "retired")]


def test_duties_are_apart(hana, sign_in):
    """The repair desk works on broken tablets, sees no holder and no loss; the loss desk the reverse (R-41)."""
    repair, loss = sign_in("rie", Role.REPAIR_DESK), sign_in("leo", Role.LOSS_DESK)
    repair.open("lost", serial="SERIALA", expect=403)
    loss.open("broken", serial="SERIALA", expect=403)
    path = broken(repair)
    assert repair.get(path)["holder"] is None
    assert hana.get(path)["holder"]["user_id"] == "p1"
    lost = loss.open("lost", serial="SERIALB")
    assert lost["holder"]["user_id"] == "p2"
    for act in ("found", "wipe", "locate", "message"):
        repair.post(f"/cases/{lost['id']}/{act}", {"reason": "x"} if act == "wipe" else {}, expect=403)
    repair.get(f"/cases/{lost['id']}", expect=404)
    loss.get(path, expect=404)
    assert [each["kind"] for each in repair.get("/cases")["items"]] == ["broken"]
    assert [each["kind"] for each in loss.get("/cases")["items"]] == ["lost"]
    assert repair.get("/cases/choices", serial="SERIALB")[0]["user_id"] is None
    assert happened(hana.get(path)) == ["open"]
