"""Workers ask a pretended carrier for its lines and their usage; the inventory and the journal are the witnesses."""

import json
import threading
import time
from datetime import timedelta

import pytest

from mdm.cellular.models import CarrierKind
from simulator.clouds.carrier_script import Fault, Mishap
from tests.mdm_cellular.conftest import csv_of, line
from tests.mdm_cellular.pretended import pretending, run
from workers import carrier_pace, carriers


def test_lines_of_a_carrier_come_into_the_inventory(air, sql):
    """Unknown lines are added with what the carrier says of them, and asked for once a day."""
    assert air.rounds()["sims"] == 1
    sims = air.sims()
    assert len(sims) == 5
    first = air.sim(0)
    truth = air.cloud.lines.all[0]
    assert (first["imsi"], first["msisdn"], first["imei_seen"]) == (truth.imsi, truth.msisdn, truth.imei)
    assert (first["effective_status"], first["carrier_status"], first["source"]) == ("active", "active", "carrier")
    assert (first["plan"], first["effective_speed"]) == ("plan-D", "s1.standard")
    assert sql("SELECT count(*), count(DISTINCT sim_id) FROM sim_observation WHERE source = 'carrier'") == [(5, 5)]
    assert air.account()["capabilities"]["speeds"][0] == "s1.minimum"
    assert air.question("sims")["finished_at"] is not None
    asked = len(air.cloud.journal)
    assert not carriers.work(), "nothing is due again so soon"
    assert len(air.cloud.journal) == asked


def test_what_a_file_said_is_what_the_carrier_goes_on_with(air, upload, boss):
    """A line that a file named is the carrier's line, in either form of its number; its tablet stays."""
    number = air.iccid(1)
    answer = upload(csv_of(line(1, "T1", iccid=number[:-1], plan="old", imsi="")), account="air")
    assert answer.status_code == 200, answer.text
    air.rounds("sims")
    sim = air.sim(1)
    assert (sim["source"], sim["control_number"], sim["plan"]) == ("import", "T1", "plan-D")
    assert len(air.sims()) == 5


def test_what_the_whole_list_leaves_out_is_marked_missing_and_comes_back(air):
    """Nothing is removed; a list that is suddenly empty is not believed."""
    air.rounds("sims")
    lines = list(air.cloud.lines.all)
    air.cloud.lines.all[:] = lines[:4]
    air.rounds("sims")
    assert [sim["iccid"] for sim in air.sims().values() if sim["missing_since"]] == [lines[4].iccid]
    air.cloud.lines.all[:] = []
    air.rounds("sims")
    assert sum(sim["missing_since"] is not None for sim in air.sims().values()) == 1
    assert "empty" in air.question("sims")["error"]
    air.cloud.lines.all[:] = lines
    air.rounds("sims")
    assert all(sim["missing_since"] is None for sim in air.sims().values())
    assert air.question("sims")["failures"] == 0


def test_numbers_that_change_places_follow_the_carrier(air):
    """Two lines that exchange their IMSIs have exchanged them here after one list."""
    air.rounds("sims")
    one, two = air.cloud.lines.all[0], air.cloud.lines.all[1]
    one.imsi, two.imsi = two.imsi, one.imsi
    air.rounds("sims")
    assert (air.sim(0)["imsi"], air.sim(1)["imsi"]) == (one.imsi, two.imsi)


def test_a_line_of_another_account_stays_there(air, upload):
    """What another account has is counted and left alone."""
    upload(csv_of(line(9, iccid=air.iccid(2))))
    air.rounds("sims")
    assert len(air.sims()) == 4


def test_usage_comes_in_to_the_byte(air, sql):
    """The last two months of a new account are asked for, and what the ledger has is what was used."""
    air.rounds("sims")
    for _ in range(60):
        if air.rounds("corrections")["corrections"] and air.question("corrections")["finished_at"]:
            break
    days = sql("SELECT min(usage_date), max(usage_date) FROM usage_daily")[0]
    told = dict(
        sql(
            "SELECT s.iccid_full, sum(u.bytes_total)::bigint FROM usage_daily u JOIN sim s ON s.id = u.sim_id"
            " WHERE usage_date < current_date GROUP BY 1"
        )
    )
    truth = {
        iccid: sum(v for day, v in used.items() if day < time.strftime("%Y-%m-%d", time.gmtime()))
        for iccid, used in air.cloud.lines.witness(*days).items()
    }
    assert told == truth
    assert (days[1] - days[0]).days > 50


def test_usage_is_not_asked_for_before_the_lines_are_known(air):
    """While the first whole list fails no usage is asked for: what unknown lines used would be left out for good."""
    air.script.faults = [Fault(Mishap.ERROR, on="/v1/sims", times=2)]
    for _ in range(2):
        done = air.rounds()
        assert not done["usage"] + done["corrections"]
        assert air.calls("/export") == 0
    air.rounds()
    assert air.question("sims")["finished_at"] is not None
    for _ in range(3):
        air.rounds("usage")
    assert air.calls("/exports/", status=200) >= 1


def test_two_workers_never_ask_the_same(air):
    """Of workers that are rung at once one has the account; the carrier sees one question at a time."""
    air.rounds("sims")
    for each in air.cloud.lines.all:
        each.imei = ""
    before = air.calls("/sims")
    run("UPDATE poll_cursor SET due_at = CASE job WHEN 'sims' THEN now() ELSE now() + interval '1 year' END")
    threads = [threading.Thread(target=carriers.work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert air.calls("/sims") == before + 1
    assert air.cloud.most_in_flight == 1


def test_a_killed_workers_page_is_asked_again_and_its_late_answer_is_nothing(air):
    """A lease that has run out is another's; who has lost it writes nothing any more."""
    air.rounds("sims")
    before = air.question("sims")["finished_at"]
    hold = threading.Event()
    real = type(air.cloud.lines).settle

    def slow(self, each):
        hold.wait(20)
        return real(self, each)

    type(air.cloud.lines).settle = slow
    try:
        run("UPDATE poll_cursor SET due_at = CASE job WHEN 'sims' THEN now() ELSE now() + interval '1 year' END")
        late = threading.Thread(target=carriers.work)
        late.start()
        while not run("SELECT 1 FROM poll_cursor WHERE lease_token IS NOT NULL"):
            time.sleep(0.02)
        run("UPDATE poll_cursor SET lease_until = now() - interval '1 second' WHERE lease_token IS NOT NULL")
        run(
            "UPDATE poll_cursor SET lease_token = uuidv7(), lease_until = now() + interval '1 minute'"
            " WHERE job = 'sims'"
        )
    finally:
        type(air.cloud.lines).settle = real
        hold.set()
    late.join(30)
    assert air.question("sims")["finished_at"] == before


def test_a_carrier_that_asks_to_wait_is_left_alone(air):
    """After a 429 nothing is asked before Retry-After has passed, whatever else is due."""
    air.script.retry_after_s = 40
    air.script.faults = [Fault(Mishap.BUSY, times=1, on="/sims")]
    assert air.rounds("sims")["busy"] == 1
    asked = len(air.cloud.journal)
    assert air.rounds()["busy"] >= 1
    assert len(air.cloud.journal) == asked
    assert air.question("sims")["failures"] == 0


def test_a_silent_carrier_is_asked_later_and_later_and_then_somebody_is_called(air, sql):
    """Failures are counted and shown; the sixth calls whoever is on duty, and the first success clears them."""
    air.script.faults = [Fault(Mishap.ERROR)]
    for number in range(1, 7):
        air.rounds("sims")
        assert air.question("sims")["failures"] == number
    assert "500" in air.question("sims")["error"]
    assert sql("SELECT what FROM notice") == [("carrier.silent",)]
    [(wait,)] = sql("SELECT extract(epoch FROM due_at - now()) FROM poll_cursor WHERE job = 'sims'")
    assert wait > 200
    air.script.faults = []
    air.rounds("sims")
    assert (air.question("sims")["failures"], air.question("sims")["error"]) == (0, "")


def test_an_account_that_is_not_let_in_is_stopped_until_somebody_turns_it_on(air, sql):
    """A wrong key stops all questions with a page; turning the account on again begins anew."""
    air.secret.write_text(json.dumps({"authKeyId": "keyId-invented", "authKey": "wrong"}))
    air.rounds()
    assert air.account()["enabled"] is True
    air.rounds()
    assert air.account()["enabled"] is False
    assert any("401" in each["error"] for each in air.account()["polling"])
    assert sql("SELECT what FROM notice") == [("carrier.stop",)]
    asked = len(air.cloud.journal)
    air.rounds()
    assert len(air.cloud.journal) == asked
    air.secret.write_text(json.dumps({"authKeyId": "keyId-invented", "authKey": "secret-invented"}))
    assert air.boss.patch("carriers/accounts/air", json={"enabled": True}).status_code == 200
    carriers.work()
    assert len(air.sims()) == 5


@pytest.mark.parametrize("body", ["", "[1]", '{"authKey": 1}', "x" * 70_000, None])
def test_a_secret_that_cannot_be_read_stops_the_account(air, body):
    """Nothing is asked, and what is in the file is not told."""
    if body is None:
        air.secret.unlink()
    else:
        air.secret.write_text(body)
    for _ in range(2):
        air.rounds()
    assert air.account()["enabled"] is False
    assert air.cloud.journal == []
    assert any(each["error"].startswith("the account's secret") for each in air.account()["polling"])


def test_an_account_is_asked_no_faster_than_its_contract_allows(air):
    """Two a second are two a second, over all workers; without Valkey fewer."""
    air.boss.patch("carriers/accounts/air", json={"limits": {"calls_per_s": 4}})
    started = time.monotonic()
    for _ in range(3):
        air.rounds("sims")
    # A sign-in and a list each: six calls, the first at once.
    assert time.monotonic() - started > 5 / 4 - 0.1
    assert [call.status for call in air.cloud.journal] == [200] * 6


def test_without_valkey_carriers_are_asked_slowly(air, monkeypatch):
    """Polling goes on by this process's own small rate."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    carriers.valkey.cache_clear()
    carriers.get_settings.cache_clear()
    monkeypatch.setattr(carrier_pace, "_LOCAL_PER_S", 4.0)
    started = time.monotonic()
    assert air.rounds("sims")["sims"] == 1
    assert time.monotonic() - started > 0.2
    carriers.get_settings.cache_clear()
    carriers.valkey.cache_clear()


@pytest.fixture
def control_center(boss, valkey, tmp_path, monkeypatch):
    """A pretended Control Center with 120 lines behind the account `air`."""
    with pretending(boss, tmp_path, monkeypatch, lines=120, kind=CarrierKind.CONTROL_CENTER) as pretended:
        yield pretended


def test_a_broken_page_is_asked_again_and_none_before_it(control_center, sql):
    """The cursor is saved with each page, so a round goes on where it broke."""
    air = control_center
    air.script.faults = [Fault(Mishap.GARBAGE, every=2, times=1, on="/devices")]
    assert air.rounds("sims") == {"sims": 1, "failed": 1}
    assert len(air.sims()) == 50
    assert air.rounds("sims") == {"sims": 2}
    assert len(air.sims()) == 120
    assert air.calls("/devices") == 4
    assert sql("SELECT count(*), count(DISTINCT sim_id) FROM sim_observation") == [(120, 120)]


def test_only_what_changed_is_asked_for_between_whole_lists(control_center, sql):
    """A change at the carrier's desk is known minutes later; what did not change is not written again."""
    air = control_center
    air.rounds("sims")
    while air.question("sims")["finished_at"] is None:
        air.rounds("sims")
    sql("UPDATE sim_observation SET observed_at = observed_at - interval '2 hours'")
    for each in air.cloud.lines.all:
        each.modified_at -= timedelta(hours=2)
    air.cloud.lines.ask(air.cloud.lines.all[7], {"status": "DEACTIVATED"})
    sql("UPDATE poll_cursor SET started_at = now(), finished_at = now() WHERE job = 'changes'")
    before = air.calls("/devices")
    assert air.rounds("changes")["changes"] == 1
    assert air.calls("/devices") == before + 1
    assert (air.sim(7)["effective_status"], air.sim(7)["carrier_status"]) == ("suspended", "DEACTIVATED")
    assert sql("SELECT count(*) FROM sim_observation WHERE observed_at > now() - interval '1 minute'")[0][0] == 1


def test_a_carrier_that_knows_lines_by_their_iccid_is_asked_by_it(control_center, boss, sql):
    """Whatever a file calls the line; plans are changed there, speeds are not."""
    air = control_center
    air.rounds("sims")
    sql("UPDATE sim SET carrier_sim_id = 'from-a-file' WHERE iccid_full = :iccid", iccid=air.iccid(0))
    sim = air.sim(0)
    plan = next(each["plan"] for each in air.sims().values() if each["plan"] != sim["plan"])
    headers = {"Idempotency-Key": "one"}
    wish = {"kind": "plan", "value": plan, "reason": "less"}
    assert boss.post(f"sims/{sim['id']}/actions", json=wish, headers=headers).status_code == 202
    assert air.acts()["accepted"] == 1
    assert air.acts()["effective"] == 1
    assert air.sim(0)["plan"] == plan
