"""Ledger, carriers and tablets compared by the worker's job: observations, findings, and mending the ledger."""

from datetime import UTC, datetime, timedelta

import orjson
import pytest

from mdm import clock
from mdm.apple.results import device_information
from mdm.auth import Role
from tests.mdm_cellular.conftest import audited, iccid
from workers.reconciling import reconcile

START = datetime.now(UTC)


def imei(number: int) -> str:
    return f"3500000000{number:04d}0"


@pytest.fixture
def later(monkeypatch):
    """Let so many hours pass, and do a round."""
    passed = timedelta()

    def let_pass(hours=0.5):
        nonlocal passed
        passed += timedelta(hours=hours)
        with monkeypatch.context() as patch:  # only there: sessions of operators end by the same clock
            patch.setattr(clock, "now", lambda: START + passed)
            return dict(reconcile())

    let_pass.now = lambda: START + passed
    return let_pass


@pytest.fixture
def radios(sims, district, sql):
    """Each tablet has a radio, and has had its SIM for five days."""
    for control, device in district.items():
        sql("UPDATE device SET imei = :imei WHERE id = :id", imei=imei(int(control[1:])), id=device)
    sql("UPDATE sim_binding SET valid_from = now() - interval '5 days'")
    return district


@pytest.fixture
def answers(radios, sql, later):
    """Let a tablet answer DeviceInformation as an iPad does: `answers("T1", 1)`, None is an empty slot."""

    def answer(control, *sims, roaming=False):
        slots = [
            {"Slot": f"CTSubscriptionSlot{place}", "IMEI": imei(int(control[1:]))}
            | ({} if sim is None else {"ICCID": f"{iccid(sim)[:4]} {iccid(sim)[4:]}", "IsRoaming": roaming})
            for place, sim in enumerate(sims)
        ]
        body = device_information({"OSVersion": "26.1", "ServiceSubscriptions": slots}).body
        sql(
            "INSERT INTO device_report (device_id, kind, received_at, body) VALUES (:id, 'inventory_device', :at,"
            " CAST(:body AS jsonb)) ON CONFLICT (device_id, kind)"
            " DO UPDATE SET received_at = :at, body = EXCLUDED.body",
            id=radios[control],
            at=later.now(),
            body=orjson.dumps(body).decode(),
        )

    return answer


@pytest.fixture
def network(radios, sql, later):
    """Let a carrier see a SIM in a radio now."""

    def see(sim, radio):
        sql(
            "UPDATE sim SET imei_seen = :imei, imei_seen_at = :at WHERE id = :id",
            imei=imei(radio),
            at=later.now(),
            id=sim,
        )

    return see


def found(boss, **filters):
    items = boss.get("sims/findings", params=filters).json()["items"]
    return sorted((item["kind"], item["state"], item["control_number"] or "-") for item in items)


def observed(sql):
    return sql(
        "SELECT d.control_number, o.sim_id, right(o.iccid_core, 3), o.imei_key IS NOT NULL, o.roaming"
        " FROM sim_observation o JOIN device d ON d.id = o.device_id ORDER BY o.id"
    )


def test_answers_become_observations(answers, later, sql, sims):
    """An answer is kept when it says something new, or a day has passed; an empty slot is one without a SIM."""
    later()
    answers("T1", 1)
    answers("T2", None)
    assert later()["read"] == 2
    assert sorted(observed(sql), key=str) == [
        ("T1", sims[1], iccid(1)[15:18], True, False),
        ("T2", None, None, True, None),
    ]
    answers("T1", 1)
    later()
    assert len(observed(sql)) == 2
    answers("T1", 1, roaming=True)
    later()
    assert observed(sql)[-1][-1] is True
    answers("T1", 1, roaming=True)
    later(25)
    answers("T1", 1, roaming=True)
    assert later()["read"] == 1
    assert len(observed(sql)) == 4
    assert later().get("read", 0) == 0


def test_a_swapped_pair_is_found_and_exchanged(boss, answers, later, sql, sims):
    """Suspected at first, open by a second observation, one row for the pair; the exchange mends it and it stays so."""
    later()
    answers("T1", 2)
    answers("T2", 1)
    assert later()["swapped_pair"] == 1
    assert found(boss) == [("swapped_pair", "suspected", "T1")]
    later()
    assert found(boss) == [("swapped_pair", "suspected", "T1")]
    answers("T2", 1)
    later()
    [pair] = boss.get("sims/findings").json()["items"]
    assert (pair["state"], pair["times"], pair["other_control_number"]) == ("open", 2, "T2")
    fixed = boss.post(f"sims/findings/{pair['id']}/fix", json={"reason": "two pupils"})
    assert (fixed.status_code, fixed.json()["state"]) == (200, "closed")
    assert fixed.json()["close_reason"] == "exchanged: two pupils"
    assert boss.post(f"sims/findings/{pair['id']}/fix", json={"reason": "again"}).status_code == 409
    rows = sql(
        "SELECT d.control_number, b.sim_id FROM sim_binding b JOIN device d ON d.id = b.device_id"
        " WHERE valid_to IS NULL ORDER BY 1"
    )
    assert rows == [("T1", sims[2]), ("T2", sims[1]), ("T3", sims[3])]
    assert [row[0] for row in audited(sql)][-3:] == ["sim.exchange", "sim_finding.fix", "sim_finding.close"]
    later(24)
    assert found(boss) == []


def test_a_sim_in_a_foreign_device_calls_whoever_is_on_duty(boss, network, answers, later, sql, sims):
    """The network sees it in a radio of nobody's: the second sight opens it, and a page goes out without a number."""
    network(sims[1], 99)
    later()
    assert found(boss) == [("in_foreign_device", "suspected", "T1")]
    network(sims[1], 99)
    later()
    assert found(boss, severity="high") == [("in_foreign_device", "open", "T1")]
    [(what, subject, details)] = sql("SELECT what, subject, details FROM notice")
    assert (what, subject) == ("sim_finding.open", "a SIM is in a foreign device (1)")
    assert imei(99)[:14] not in str(details)
    refused = boss.post(f"sims/findings/{details['findings'][0]}/fix", json={"reason": "x"})
    assert (refused.status_code, "see to it" in refused.json()["detail"]) == (409, True)
    answers("T1", 1)
    later()
    assert found(boss) == []
    assert found(boss, state="gone") == [("in_foreign_device", "gone", "T1")]


def test_what_the_tray_shows_for_a_moment_goes_away(boss, answers, later):
    """A foreign SIM that is gone by the next answer was only suspected."""
    later()
    answers("T1", 77)
    later()
    assert found(boss) == [("foreign_sim", "suspected", "T1")]
    answers("T1", 1)
    later()
    assert found(boss) == []
    answers("T1", 77)
    later()
    later(25)
    assert found(boss) == [("foreign_sim", "open", "T1")]


def test_a_used_line_that_the_ledger_does_not_know(boss, answers, network, later, sql, sims):
    """Its figures say that it is used, a tablet says where it is, and the step binds it there."""
    later()
    sql(
        "INSERT INTO usage_daily (usage_date, sim_id, source, bytes_total) VALUES (current_date, :sim, 'csv', 5)",
        sim=sims[4],
    )
    later(24)
    assert found(boss) == [("not_in_ledger", "suspected", "-")]
    [finding] = boss.get("sims/findings").json()["items"]
    path = f"sims/findings/{finding['id']}/fix"
    assert "nobody says" in boss.post(path, json={"reason": "x"}).json()["detail"]
    answers("T4", 4)
    later()
    assert boss.post(path, json={"reason": "found it"}).json()["close_reason"] == "bound: found it"
    assert boss.get("sims", params={"control_number": "T4"}).json()["items"][0]["id"] == sims[4]


def test_a_sim_that_went_into_another_tablet(boss, sign_in, network, later, sims, sql):
    """The step hands it over; not by people who do not see both tablets, and not over a SIM that is there."""
    network(sims[1], 5)
    later()
    [finding] = boss.get("sims/findings").json()["items"]
    assert (finding["kind"], finding["other_control_number"]) == ("in_other_tablet", "T5")
    path = f"sims/findings/{finding['id']}/fix"
    assert sign_in("hana", Role.SUPPORT, "E1").post(path, json={"reason": "x"}).status_code in (404, 409)
    assert boss.post(path, json={"reason": "spare"}).json()["close_reason"] == "handed over: spare"
    network(sims[2], 3)
    later()
    [finding] = boss.get("sims/findings").json()["items"]
    refused = boss.post(f"sims/findings/{finding['id']}/fix", json={"reason": "x"})
    assert (refused.status_code, "SIM of its own" in refused.json()["detail"]) == (409, True)


def test_thirty_days_without_a_word(boss, answers, later, sql, sims):
    """A tablet that was handed out and its line, both silent: it may be missing. What is in the cupboard is not."""
    sql("UPDATE device SET state = 'stock' WHERE control_number = 'T3'")
    sql("UPDATE sim_binding SET valid_from = now() - interval '40 days'")
    answers("T1", 1)
    assert later().get("not_seen", 0) == 1
    later(24)
    assert found(boss) == [("not_seen", "open", "T2")]


def test_a_round_waits_for_news_or_the_night(answers, network, later, sims, sql):
    """Without news nothing is compared until half past two; with them, a quarter of an hour later."""
    later()
    [(first,)] = sql("SELECT finished_at FROM sim_round WHERE name = 'reconciliation'")
    later(0.1)
    network(sims[1], 1)
    later(0.1)
    assert sql("SELECT finished_at FROM sim_round WHERE name = 'reconciliation'") == [(first,)]
    later(0.3)
    [(second,)] = sql("SELECT finished_at FROM sim_round WHERE name = 'reconciliation'")
    assert second > first
    later(24)
    [(third,)] = sql("SELECT finished_at FROM sim_round WHERE name = 'reconciliation'")
    assert third > second


def test_old_words_are_asked_for_again(answers, later, sql, radios):
    """A tablet that has said nothing of its SIMs for a week is asked once."""
    sql("INSERT INTO enrollment (device_id, status, epoch, udid) SELECT id, 'active', 1, serial FROM device")
    answers("T1", 1)
    later()
    answers("T2", 2)
    assert later(24 * 7 - 0.25)["asked"] == 1
    assert sql("SELECT d.control_number, c.kind FROM command c JOIN device d ON d.id = c.device_id") == [
        ("T1", "inventory_device")
    ]
    assert "asked" not in {name for name, count in later(0.1).items() if count}


def test_a_foreign_sim_asks_for_a_case(boss, answers, later, sql):
    """Whoever is on duty is called once; not for a tablet that has a case already. Nothing is locked by itself."""
    later()
    body = {"kind": "stolen", "control_number": "T2", "caller": "desk", "verified": "in_person", "phone_number": "03-1"}
    opened = boss.post("cases", json=body, headers={"Idempotency-Key": "one"})
    assert opened.status_code == 201, opened.text
    for foreign, control in ((77, "T1"), (78, "T2")):
        answers(control, foreign)
    later()
    assert sql("SELECT count(*) FROM notice") == [(0,)]
    later(25)
    later(1)
    [(what, details)] = sql("SELECT what, details FROM notice")
    [mine] = boss.get("sims/findings", params={"control_number": "T1", "kind": "foreign_sim"}).json()["items"]
    assert (what, details) == ("case.wanted", {"count": 1, "findings": [mine["id"]]})
    assert sql("SELECT count(*) FROM command WHERE device_id = :id", id=mine["device_id"]) == [(0,)]
