"""A lost tablet from the first call to the last word, with real servers and a simulated tablet: by API and by CLI."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from mdm.cli import build
from simulator.tablets.behaviour import Behaviour
from simulator.tablets.ipad import IPad, Status
from simulator.tablets.journal import executed_twice
from tests.journeys.district import District

pytestmark = pytest.mark.timeout(300)  # the first journey waits for the servers to start
Case = dict[str, Any]


def opened(district: District, serial: str, kind: str = "lost", **more: Any) -> Case:
    """Open a case as the desk does it on the telephone."""
    body = {"kind": kind, "serial": serial, "caller": "guardian", "verified": "call_back", **more}
    return dict(district.first.ask("POST", "/cases", json=body))


def shown(district: District, case: Case) -> Case:
    return dict(district.first.ask("GET", f"/cases/{case['id']}"))


def done(district: District, case: Case, what: str, **body: Any) -> Case:
    """Do something about a case."""
    return dict(district.first.ask("POST", f"/cases/{case['id']}/{what}", json=body))


def until(district: District, case: Case, *states: str) -> Case:
    district.until(
        lambda: shown(district, case)["state"] in states,
        lambda: f"case {case['id']} is {shown(district, case)}",
    )
    return shown(district, case)


def asked(case: Case, purpose: str) -> dict[str, Any]:
    return dict([each for each in case["commands"] if each["purpose"] == purpose][-1])


async def comes_online(tablet: IPad) -> None:
    """Be back, among the tablets."""
    tablet.come_online()


def test_a_lost_tablet_is_found_again(district: District):
    """Locked at once, located, made to sound, found: it is free, its wipe was taken back, its place is forgotten."""
    tablet = district.enroll(district.school(1)[0])
    case = opened(district, tablet.device.serial, message="Please return me", phone_number="0312345678")
    case = until(district, case, "secured")
    assert tablet.device.lost_mode == {"Message": "Please return me", "PhoneNumber": "0312345678"}
    assert [step["state"] for step in asked(case, "lock")["steps"]][-1] == "done"
    located = asked(done(district, case, "locate"), "locate")
    district.until_state(located["id"], "done")
    assert "35.0" in str(district.first.ask("GET", f"/cases/{case['id']}/location")["answer"])
    done(district, case, "sound")
    district.until(lambda: tablet.device.sounds == 1, "the sound")
    wipe = asked(done(district, case, "wipe", reason="a journey"), "wipe")
    assert wipe["state"] == "held"
    case = done(district, case, "found")
    assert (case["state"], asked(case, "wipe")["state"]) == ("found", "cancelled")
    case = until(district, case, "closed_found")
    assert tablet.device.lost_mode is None
    assert district.first.ask("GET", f"/commands/{located['id']}")["result"] is None
    assert "EraseDevice" not in tablet.journal.executed()


def test_a_stolen_tablet_that_is_silent_is_locked_and_wiped_when_it_is_heard_and_met_when_it_comes_back(
    district: District,
):
    """Nothing is claimed while it is silent; the wipe waits; enrolled anew, it is locked again and not wiped again."""
    (device,) = district.school(1)
    tablet = district.enroll(device)
    district.town.do(tablet.settled())
    district.until(lambda: district.device(device.serial)["enrollment"]["last_seen_at"] is not None, "heard")
    tablet.go_offline()
    case = opened(district, device.serial, "stolen")
    case = done(district, case, "wipe", reason="a journey")
    district.approve(asked(case, "wipe")["id"])
    district.until(lambda: shown(district, case)["waits_for"]["code"] == "wipe_silent", "the wipe has left")
    case = shown(district, case)
    assert case["state"] == "wipe_approved"
    assert "Not wiped yet: the tablet has been silent since" in case["waits_for"]["text"]
    assert case["tablet"]["lost_mode"] is False
    suspend = {"wish": "suspend", "reason": "a journey"}
    refused = district.first.ask("POST", f"/cases/{case['id']}/sim", json=suspend, expect=409)
    assert refused["type"].endswith("sim-gate")
    district.town.do(comes_online(tablet))
    case = until(district, case, "wiped")
    assert (tablet.device.wipes, tablet.status) == (1, Status.REMOVED)
    # Whoever has it sets it up again: it is met at the door.
    tablet.behaviour = Behaviour(returns_after_s=0.3)
    district.town.do(tablet.enroll(district.profile(device.serial)))
    case = until(district, case, "secured")
    assert tablet.device.lost_mode is not None
    assert (tablet.device.wipes, case["wants_wipe"]) == (1, False)
    assert "came_back" in [event["what"] for event in case["timeline"]]
    assert executed_twice([tablet.journal]) == []


@pytest.fixture
def tabane(district: District, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run `tabane case` as the first administrator and return what it prints."""
    monkeypatch.setenv("TABANE_URL", district.web_url)
    monkeypatch.setenv("TABANE_TOKEN", district.first.bearer)

    def run(*words: str, status: int = 0) -> str:
        result = CliRunner().invoke(build("case"), ("case", *words), prog_name="tabane")
        assert result.exit_code == status, result.output
        return result.output

    return run


def test_the_whole_case_on_the_command_line(district: District, tabane: Callable[..., str], tmp_path):
    """Open, show, locate, wipe, SIM, found and papers; what it prints is the live line."""
    tablet = district.enroll(district.school(1)[0])
    call = ("--caller", "guardian", "--verified", "call_back", "--message", "Please return me")
    number = str(json.loads(tabane("open", "lost", "--serial", tablet.device.serial, *call, "--json"))["id"])
    case = until(district, {"id": number}, "secured")
    assert "lost_mode_on" in tabane("show", number)
    assert tablet.device.serial in tabane("show", number)
    assert number in tabane("list")
    tabane("message", number, "--message", "Call us", "--phone", "0312345678")
    district.until(lambda: (tablet.device.lost_mode or {}).get("Message") == "Call us", "the other text")
    tabane("locate", number, "--ask")
    district.until_state(asked(shown(district, case), "locate")["id"], "done")
    assert "35.0" in tabane("locate", number)
    tabane("sound", number)
    district.until(lambda: tablet.device.sounds == 1, "the sound")
    assert "second person" in tabane("wipe", number, "--reason", "a journey")
    assert "has not landed" in tabane("sim", number, "suspend", status=1)
    tabane("wipe", number, "--cancel")
    tabane("note", number, "The school looks in the gym.")
    assert "Still locked" in tabane("found", number)
    until(district, case, "closed_found")
    assert tablet.device.lost_mode is None
    paper = tmp_path / "case.csv"
    tabane("export", number, "timeline-csv", "-o", str(paper))
    assert "紛失モード開始: 端末が実行済み" in paper.read_text("utf-8-sig")
    assert "incident" not in tabane("export", number, "report-csv").lower()
    assert number not in tabane("list").split()
    assert "closed_found" in tabane("list", "--all", "--serial", tablet.device.serial)
