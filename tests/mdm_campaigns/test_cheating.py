"""Whoever tries to wipe many without right is refused with a clear word, and rows that lie send nothing."""

from datetime import datetime, timedelta

import pytest

from mdm.auth import Role
from mdm.organization.hours import JST
from tests.mdm_campaigns.conftest import ANY_TIME, NUMBERS, TODAY, Campaign, Signing
from tests.tampering import tamper
from workers import campaigns, sender

pytestmark = pytest.mark.usefixtures("small")


def _problem(answer) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].rpartition(":")[2]


def test_who_is_in_and_who_is_left_out(returned, take_stock, boss, sql):
    """Each that is asked for and not taken has its reason; a plan keeps nothing."""
    sql("UPDATE device SET state = 'issued' WHERE control_number = 'R010'")
    take_stock(*NUMBERS[:7], "R008")
    take_stock("R010", states=("issued",))
    sql("UPDATE device SET state = 'returned' WHERE control_number = 'R010'")  # scanned in its holder's hands
    sql("UPDATE device SET state = 'issued' WHERE control_number = 'R007'")
    sql("UPDATE enrollment SET status = 'ended' WHERE udid = 'SERR006'")
    tamper(f"UPDATE check_evidence SET seen_at = now() - interval '31 days' WHERE device_id = {returned['R005']}")
    assert boss.post(f"/devices/{returned['R004']}/commands", {"kind": "wipe", "reason": "x"}).status_code == 202
    asked = {"control_numbers": [*NUMBERS[:7], "R009", "R010", "R999", "x" * 60, "SERIALA"], "lease_contract": "L2022"}
    plan = {"name": "x", "filter": asked, "window": ANY_TIME}
    told = boss.post("/campaigns/plan", plan).json()
    assert [each["control_number"] for each in told["tablets"]] == ["R001", "R002", "R003"]
    assert {each["control_number"]: each["reason"] for each in told["left_out"]} == {
        "R004": "other_wipe",
        "R005": "old_scan",
        "R006": "not_enrolled",
        "R007": "not_returned",
        "R009": "no_scan",
        "R010": "no_scan",
        "R999": "unknown",
        "SERIALA": "unknown",
        "#11": "malformed",
    }
    assert boss.get("/campaigns").json()["items"] == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"filter": {}}, (422, "invalid")),
        ({"filter": {"schools": ["E9"]}}, (422, "invalid")),
        ({"filter": {"schools": ["E2"]}}, (409, "conflict")),
        ({"reason": " "}, (422, "invalid")),
        ({"window": ANY_TIME | {"hours": "22:00-06:00"}}, (422, "invalid")),
        (
            {"window": ANY_TIME | {"first_day": str(TODAY - timedelta(9)), "last_day": str(TODAY - timedelta(1))}},
            (422, "invalid"),
        ),
    ],
)
def test_what_is_no_request(stock, ask, change, problem):
    """All tablets, an unknown school, nobody to wipe, no reason, no window: each is refused in words."""
    assert _problem(ask(**change)) == problem


def test_who_may_ask(stock, ask, sign_in, contractor, district):
    """The board's administrators in person; nobody else, and no token; of one school no other school's tablets."""
    for by in (sign_in("hana", Role.SUPPORT), contractor, sign_in("robot", Role.ADMINISTRATOR, token=True)):
        assert ask(by).status_code == 403
    there = sign_in("saki", Role.ADMINISTRATOR, schools=["E2"])
    assert ask(there).status_code == 409
    assert ask(filter={"schools": ["E1"]}).json()["tablets"] == 12


def test_a_tablet_is_in_one_campaign_at_a_time(requested, ask):
    """A second request for the same finds nobody left."""
    assert _problem(ask()) == (409, "conflict")


def test_two_organizations_sign_and_never_the_asker(requested, boss, board, company, sign_in, contractor):
    """The asker, one of one's own side, a sub-contractor, another school's, an unpinned key: each is refused."""
    own = Signing(boss.client, "boss")
    assert _problem(own.sign(requested)) == (403, "self-approval")
    assert board.sign(requested).status_code == 200
    second = sign_in("yuki", Role.SUPPORT)
    assert _problem(Signing(second.client, "yuki").sign(requested)) == (409, "same-side")
    assert _problem(board.sign(requested)) == (409, "same-side")
    assert company("sub", tier="subcontractor").sign(requested).status_code == 403
    assert _problem(contractor.sign(requested, key=board.signer.id)) == (403, "key-not-pinned")
    assert boss.get(f"/campaigns/{requested}").json()["state"] == "requested"


def test_whoever_has_not_all_schools_does_not_see_it(requested, company):
    """Out of scope a campaign does not exist, to read or to sign."""
    elsewhere = company("far", schools=["E2"])
    assert elsewhere.get(f"/campaigns/{requested}").status_code == 404
    assert elsewhere.post(f"/campaigns/{requested}/approve", {"key": 1, "signature": "AA"}).status_code == 404
    assert elsewhere.get("/campaigns").json()["items"] == []
    assert company("near", schools=["E1"]).get(f"/campaigns/{requested}").status_code == 200


def test_a_signature_of_something_else_is_none(requested, board):
    """A signature under another list is not taken, nor is haste."""
    assert board.sign(requested, signature="AAAA").status_code == 403
    assert board.sign(requested, urgent=True).status_code == 422


def test_nothing_is_asked_for_or_signed_while_it_is_frozen(requested, ask, boss, board):
    """The red button stops the next step as well."""
    boss.post("/safeguards/freeze")
    assert _problem(board.sign(requested)) == (409, "frozen")
    assert _problem(ask(filter={"schools": ["E1"]})) == (409, "frozen")


def test_an_unsigned_campaign_runs_out(requested, boss, board, sql):
    """After a day it is over."""
    tamper("UPDATE campaign SET expires_at = now() - interval '1 second'")
    assert _problem(board.sign(requested)) == (409, "conflict")
    campaigns.bring_forward()
    assert boss.get(f"/campaigns/{requested}").json()["state"] == "expired"


def test_outside_its_window_nothing_leaves(stock, ask, board, contractor, boss, sql):
    """Written down before and sent after, or neither: the sender asks for the hour again."""
    hour = datetime.now(JST).hour
    later = f"{hour:02}:00-24:00"
    made = ask(window=ANY_TIME | {"hours": later}).json()["id"]
    for each in (board, contractor):
        assert each.sign(made).status_code == 200
    campaigns.bring_forward()
    assert sql("SELECT count(*) FROM command WHERE state = 'held'") == [(2,)]
    closed = ANY_TIME["weekdays"][datetime.now(JST).weekday()]
    others = [day for day in ANY_TIME["weekdays"] if day != closed]
    boss.post(f"/campaigns/{made}/abort", {})
    another = ask(window=ANY_TIME | {"weekdays": others}).json()["id"]
    for each in (board, contractor):
        assert each.sign(another).status_code == 200
    assert Campaign(boss, sql, another).round() == {}
    assert boss.get(f"/campaigns/{another}").json()["not_before"] > str(TODAY)


FORGERIES = {
    "a tablet more": "UPDATE campaign_tablet SET device_id = (SELECT id FROM device WHERE serial = 'SERIALA'),"
    " serial = 'SERIALA' WHERE control_number = 'R012'",
    "another epoch": "UPDATE campaign_tablet SET epoch = 2 WHERE control_number = 'R012'",
    "another scan": "UPDATE campaign_tablet SET evidence_id = 0 WHERE control_number = 'R012'",
    "a tablet less": "DELETE FROM campaign_tablet WHERE control_number = 'R012'",
    "another list's hash": "UPDATE campaign SET snapshot = 'x'",
    "another window": 'UPDATE campaign SET "window" = jsonb_set("window", \'{last_day}\', \'"2099-01-01"\')',
    "other arguments": "UPDATE campaign SET arguments = '{\"preserve_data_plan\": false}'",
    "another reason": "UPDATE campaign SET reason = 'x'",
    "another asker": "UPDATE campaign SET requested_by = (SELECT id FROM operator WHERE name = 'mallory')",
    "asked by a signer": "UPDATE campaign SET requested_by = (SELECT id FROM operator WHERE name = 'mieko')",
    "one signature": "DELETE FROM campaign_signature WHERE side = 'contractor'",
    "noise": 'UPDATE campaign_signature SET signature = \'{"signature": "AAAA"}\'',
    "one signs twice": "UPDATE campaign_signature c SET operator_id = b.operator_id, key_id = b.key_id,"
    " signature = b.signature FROM campaign_signature b WHERE b.side = 'board'",
    "another side": "UPDATE operator SET organization_id = NULL, handler_id = NULL WHERE name = 'kenji'",
    "a key that was revoked": "UPDATE approver_key SET revoked_at = now()",
    "a key that was never pinned": "UPDATE approver_key SET pinned_at = NULL",
    "asked by one who has left": "UPDATE operator SET disabled_at = now() WHERE name = 'boss'",
    "signed by one who has left": "UPDATE operator SET disabled_at = now() WHERE name = 'mieko'",
    "signed under a contract that ended": "UPDATE contract SET ends_on = '2021-01-01'",
    "signed by one who may not": "UPDATE operator SET role = 'viewer' WHERE name = 'mieko'",
    "signed before it was asked for": "UPDATE campaign_signature SET signed_at = now() - interval '2 days'",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_rows_that_lie_end_the_campaign(campaign, sign_in, sql, forgery):
    """Whatever was written past the application: the sender refuses the whole, on record and with a page."""
    sign_in("mallory", Role.ADMINISTRATOR)
    campaigns.bring_forward()
    assert sql("SELECT count(*) FROM command WHERE state = 'held'") == [(2,)]
    tamper(FORGERIES[forgery])
    assert {name: number for name, number in sender.look().items() if number} == {"refused": 2}
    assert sql("SELECT DISTINCT state FROM command") == [("cancelled",)]
    assert sql("SELECT state FROM campaign") == [("refused",)]
    assert sql("SELECT count(*) FROM class_a_release") == [(0,)]
    assert sql("SELECT count(*) FROM notice WHERE what = 'campaign.refuse'") == [(1,)]


def _smuggled(campaign, sql, command: str) -> dict[str, int]:
    campaigns.bring_forward()
    tamper(command)
    return {name: number for name, number in sender.look().items() if number}


@pytest.mark.parametrize(
    "command",
    [
        "UPDATE command SET kind = 'raw' WHERE device_id = {R001}",
        "UPDATE command SET epoch = 2 WHERE device_id = {R001}",
        "UPDATE command SET arguments = '{{\"preserve_data_plan\": false}}' WHERE device_id = {R001}",
        "UPDATE command SET device_id = (SELECT id FROM device WHERE serial = 'SERIALA') WHERE device_id = {R001}",
    ],
)
def test_a_wipe_that_is_another_does_not_leave(campaign, returned, sql, command):
    """The command in the list's place must be exactly what was signed for; the other one leaves."""
    assert _smuggled(campaign, sql, command.format(**returned)) == {"left": 1, "refused": 1}
    assert sql("SELECT count(*) FROM command WHERE state = 'queued'") == [(1,)]


def test_more_than_a_wave_does_not_leave(campaign, returned, sql):
    """Whoever writes down the whole list at once gets this hour's wave and no more; the rest waits."""
    sql("INSERT INTO safeguard_threshold (name, value, set_by, reason) VALUES ('campaign.wave.1', 12, 'host', '')")
    campaigns.bring_forward()
    sql("INSERT INTO safeguard_threshold (name, value, set_by, reason) VALUES ('campaign.wave.1', 2, 'host', '')")
    assert {name: number for name, number in sender.look().items() if number} == {"left": 2, "waits": 10}
    assert {name: number for name, number in sender.look().items() if number} == {"waits": 10}


def test_the_sender_asks_for_the_cooling_time_again(campaign, sql):
    """What was written down too early waits."""
    campaigns.bring_forward()
    sql(
        "INSERT INTO safeguard_threshold (name, value, set_by, reason)"
        " VALUES ('campaign.cooling_hours', 24, 'host', '')"
    )
    assert sender.look() == {"waits": 2}
