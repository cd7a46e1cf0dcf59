"""A bulk wipe leaves in waves, stops when it should, and wipes exactly the tablets that were signed for."""

import csv
import io

import pytest

from mdm.auth import Role
from workers import campaigns, sender


@pytest.mark.usefixtures("small")
def test_a_campaign_from_the_first_wave_to_the_last(campaign, sql):
    """2, 3, then 4 an hour, each after the former has answered; the report tells of every tablet."""
    assert campaign.round() == {"left": 2}
    assert campaign.shown()["state"] == "running"
    assert campaign.round() == {}
    campaign.answer()
    assert campaign.round() == {}  # its hour is not over
    for size in (3, 4):
        campaign.pass_time()
        assert campaign.round() == {"left": size}
        campaign.answer()
    campaign.pass_time()
    assert campaign.round() == {"left": 3}
    campaign.answer()
    assert campaign.counts() == {"done": 12}
    assert campaign.shown()["state"] == "ended"
    text = campaign.boss.get(f"/campaigns/{campaign.id}/report.csv").content.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["回"] for row in rows] == ["1"] * 2 + ["2"] * 3 + ["3"] * 4 + ["4"] * 3
    assert {row["結果"] for row in rows} == {"消去済"}
    assert all(row["送出日時"].endswith("+09:00") and row["完了日時"] for row in rows)
    told = [what for (what,) in sql("SELECT what FROM notice ORDER BY id")]
    assert told == ["campaign.request", "campaign.approve", "campaign.start", "campaign.end"]
    acts = [row[0] for row in sql("SELECT action FROM audit_event WHERE starts_with(subject, 'campaign:') ORDER BY id")]
    assert [act for act in acts if act != "campaign.export"] == [
        *("campaign.request", "approval.approve", "approval.approve", "campaign.start", "campaign.end")
    ]
    assert sql("SELECT count(*) FROM class_a_release WHERE campaign_id IS NOT NULL AND cardinality(signers) = 2") == [
        (12,)
    ]


def test_nothing_leaves_before_it_has_cooled(campaign):
    """For a day after the second signature nothing is even written down; then the first wave is ten."""
    assert campaign.round() == {}
    campaign.pass_time(23 * 60 + 58)
    assert campaign.round() == {}
    assert campaign.counts() == {"waiting": 12}
    campaign.pass_time(3)
    assert campaign.round() == {"left": 10}


@pytest.mark.usefixtures("small")
def test_the_next_wave_waits_for_answers(campaign):
    """While a wave's tablets are silent no other follows, however long it takes."""
    assert campaign.round() == {"left": 2}
    campaign.answer(most=1)
    campaign.pass_time(600)
    assert campaign.round() == {}
    campaign.answer()
    assert campaign.round() == {"left": 3}


@pytest.mark.usefixtures("small")
def test_failures_pause_it_until_somebody_has_looked(campaign, sql):
    """Three that fail stop it with a page; an administrator lets it go on, and those three stop it no more."""
    campaign.round()
    campaign.answer()
    campaign.pass_time()
    assert campaign.round() == {"left": 3}
    campaign.answer("failed")
    campaign.pass_time()
    assert campaign.round() == {}
    shown = campaign.shown()
    assert (shown["state"], shown["note"]) == ("paused", "job:campaigns: too many wipes failed")
    assert sql("SELECT count(*) FROM notice WHERE what = 'campaign.pause'") == [(1,)]
    assert campaign.boss.post(f"/campaigns/{campaign.id}/resume").json()["state"] == "running"
    assert campaign.round() == {"left": 4}


@pytest.mark.usefixtures("small")
def test_anybody_at_the_desk_can_stop_it_and_it_takes_more_to_go_on(campaign, sign_in, sql):
    """A pause holds back what no tablet has been handed; it goes on where it was, and nothing is counted twice."""
    desk = sign_in("hana", Role.SUPPORT)
    campaign.round()
    assert desk.post(f"/campaigns/{campaign.id}/pause", {"reason": "?"}).json()["state"] == "paused"
    assert sql("SELECT DISTINCT state FROM command") == [("held",)]
    assert campaign.round() == {}
    assert desk.post(f"/campaigns/{campaign.id}/resume").status_code == 403
    assert campaign.boss.post(f"/campaigns/{campaign.id}/resume").json()["state"] == "running"
    assert campaign.round() == {"left": 2}
    assert campaign.round() == {}


@pytest.mark.usefixtures("small")
def test_an_end_cancels_what_no_tablet_has(campaign, contractor, sql):
    """The contractor ends it: what was handed over is told as sent, the rest falls out, and nothing leaves any more."""
    campaign.round()
    sql("UPDATE command SET state = 'delivered', delivered_at = now() WHERE id = (SELECT id FROM command LIMIT 1)")
    assert contractor.post(f"/campaigns/{campaign.id}/abort", {}).json()["state"] == "aborted"
    assert campaign.counts() == {"sent": 1, "fell_out": 11}
    assert campaign.round() == {}
    assert campaign.boss.post(f"/campaigns/{campaign.id}/resume").status_code == 409
    sql("UPDATE command SET state = 'done', ended_at = now() WHERE state = 'delivered'")
    assert campaign.counts() == {"done": 1, "fell_out": 11}


@pytest.mark.usefixtures("small")
def test_the_red_button_stops_it_as_well(campaign, sql, sign_in):
    """Frozen, what was let go is pulled back and nothing follows; thawed by two, the same wave leaves, uncounted."""
    campaign.round()
    assert campaign.boss.post("/safeguards/freeze").json()["open"] is True
    assert sql("SELECT DISTINCT state FROM command") == [("held",)]
    assert campaign.round() == {"waits": 2}
    sql("INSERT INTO breaker_event (what, actor, detail) VALUES ('thawed', 'host', '')")
    assert campaign.round() == {"left": 2}
    assert sql("SELECT count(*) FROM class_a_release") == [(2,)]


FALLS = {
    "given out again": ("UPDATE device SET state = 'issued' WHERE control_number = 'R001'", "not_returned"),
    "enrolled again": ("UPDATE enrollment SET epoch = 2 WHERE udid = 'SERR001'", "enrolled_again"),
    "not managed any more": ("UPDATE enrollment SET status = 'ended' WHERE udid = 'SERR001'", "not_enrolled"),
    "another serial": ("UPDATE device SET serial = 'OTHER' WHERE control_number = 'R001'", "changed"),
    "another holder": (
        (
            "WITH h AS (INSERT INTO holder (school_id, user_id, name_sealed) SELECT school_id, 'u', 'x' FROM device"
            " LIMIT 1 RETURNING id) UPDATE device SET holder_id = h.id FROM h WHERE control_number = 'R001'"
        ),
        "new_holder",
    ),
    "scanned elsewhere": (
        (
            "INSERT INTO check_evidence (check_id, device_id, kind, seen_at, recorded_at, actor, school_id, hint)"
            " SELECT check_id, device_id, 'scan', now(), now(), 'x', (SELECT id FROM school WHERE code = 'E2'), true"
            " FROM check_evidence WHERE device_id = (SELECT id FROM device WHERE control_number = 'R001')"
        ),
        "elsewhere",
    ),
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("what", "moment"),
    [
        *((what, "sent") for what in FALLS),
        ("given out again", "waiting"),
        ("given out again", "held"),
        ("enrolled again", "held"),
    ],
)
def test_a_tablet_that_is_not_what_was_signed_falls_out(campaign, sql, what, moment):
    """Before its wave, in it, and after it left unheard: it is not wiped, and the list says why."""
    if moment == "held":
        campaigns.bring_forward()
    elif moment == "sent":
        campaign.round()
    statement, why = FALLS[what]
    sql(statement)
    if moment == "held":
        sender.look()  # before the job has seen it
    campaign.round()
    assert campaign.tablets()["R001"] == ("fell_out", why)
    assert sql(
        "SELECT count(*) FROM command c JOIN device d ON d.id = c.device_id WHERE d.control_number = 'R001'"
        " AND c.state <> 'cancelled'"
    ) == [(0,)]
    assert campaign.tablets()["R002"][0] == "sent"


@pytest.mark.usefixtures("small")
def test_a_returned_tablet_that_is_given_out_is_spared_at_once(campaign, returned, sql):
    """The ledger's own change ends its wipe, before any job has looked."""
    campaign.round()
    answer = campaign.boss.client.patch(f"/api/v1/devices/{returned['R001']}", json={"state": "issued"})
    assert answer.status_code == 200, answer.text
    assert sql(f"SELECT state FROM command WHERE device_id = {returned['R001']}") == [("cancelled",)]


@pytest.mark.usefixtures("small")
def test_a_tablet_that_the_desk_looks_for_falls_out(campaign):
    """With an open case of loss it is somebody's concern again."""
    case = {"kind": "stolen", "serial": "SERR001", "caller": "guardian"}
    assert campaign.boss.post("/cases", case).status_code == 201
    assert campaign.tablets()["R001"] == ("fell_out", "case")


@pytest.mark.usefixtures("small")
def test_somebody_cancels_one_wipe(campaign, sql):
    """A single wipe of a campaign can be cancelled like any other; the tablet falls out."""
    campaign.round()
    command = sql("SELECT id FROM command ORDER BY device_id")[0][0]
    assert campaign.boss.post(f"/commands/{command}/cancel").status_code == 200
    assert campaign.tablets()["R001"] == ("fell_out", "cancelled")


@pytest.mark.usefixtures("small")
def test_what_two_campaigns_send_shares_the_size(campaign, ask, board, contractor, sql):
    """A second campaign beside the first gives nobody a second wave within the hour."""
    sql("UPDATE campaign_tablet SET state = 'fell_out' WHERE control_number > 'R006'")
    other = ask(filter={"control_numbers": ["R007", "R008"]}).json()["id"]
    for each in (board, contractor):
        assert each.sign(other).status_code == 200
    assert campaign.round()["left"] == 2
    assert sql("SELECT count(DISTINCT campaign_id) FROM class_a_release") == [(1,)]
