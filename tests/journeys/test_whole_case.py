"""Whole cases of the desk, each by API and by command line: what a case says is what the simulated tablet has done."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mdm.jobs import Job
from simulator.tablets.ipad import IPad, Status
from simulator.tablets.journal import executed_twice
from tests.journeys.desks import ByApi, ByCli, Case, Desk
from tests.journeys.district import District

pytestmark = pytest.mark.timeout(300)  # the first journey waits for the servers to start


@pytest.fixture(params=["api", "cli"])
def desk(request, district: District, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The desk of the first administrator."""
    monkeypatch.setenv("TABANE_URL", district.web_url)
    monkeypatch.setenv("TABANE_TOKEN", district.first.bearer)
    return ByApi(district) if request.param == "api" else ByCli()


def asked(case: Case, purpose: str) -> dict[str, Any]:
    return dict([each for each in case["commands"] if each["purpose"] == purpose][-1])


def until(district: District, desk: Desk, case: Case, state: str) -> Case:
    district.until(lambda: desk.show(case)["state"] == state, lambda: f"not {state}: {desk.show(case)}")
    return desk.show(case)


def falls_silent(district: District, tablet: IPad) -> None:
    """Go out of reach; who was heard is written down a moment later, so wait until that is over."""
    district.town.do(tablet.settled())
    tablet.go_offline()

    def over() -> bool:
        heard = district.device(tablet.device.serial)["enrollment"]["last_seen_at"]
        return heard is not None and datetime.fromisoformat(heard) < datetime.now(UTC) - timedelta(seconds=1.5)

    district.until(over, "its last word is on record")


async def comes_online(tablet: IPad) -> None:
    tablet.come_online()


def test_lost_locked_located_heard_wiped_and_written_off(district: District, desk: Desk):
    """Every step is the tablet's own before the case calls it so, and the wipe waits for a second person."""
    tablet = district.enroll(district.school(1)[0])
    case = until(district, desk, desk.open("lost", tablet.device.serial), "secured")
    assert tablet.device.lost_mode is not None
    desk.message(case, "Please call", "0312345678")
    shown = {"Message": "Please call", "PhoneNumber": "0312345678"}
    district.until(lambda: tablet.device.lost_mode == shown, "the other text")
    located = asked(desk.ask_where(case), "locate")
    district.until_state(located["id"], "done")
    assert "35.0" in str(desk.look_where(case)["answer"])
    desk.sound(case)
    district.until(lambda: tablet.device.sounds == 1, "the sound")
    wipe = asked(desk.wipe(case), "wipe")
    assert (wipe["state"], desk.show(case)["state"], tablet.device.wipes) == ("held", "wipe_requested", 0)
    district.approve(wipe["id"])
    case = until(district, desk, case, "wiped")
    assert (tablet.device.wipes, tablet.status) == (1, Status.REMOVED)
    assert [step["state"] for step in asked(case, "wipe")["steps"]][-1] == "done"
    case = desk.write_off(case, "K-2026-1")
    assert (case["state"], case["police_report_no"]) == ("closed_written_off", "K-2026-1")
    assert district.device(tablet.device.serial)["state"] == "lost"
    assert "K-2026-1" in desk.report(case)
    assert district.first.ask("GET", f"/commands/{located['id']}")["result"] is None
    assert executed_twice([tablet.journal]) == []


def test_found_before_it_was_heard_takes_back_the_wipe_that_was_agreed_on(district: District, desk: Desk):
    """An approved wipe waits for a silent tablet; found, it is cancelled: the tablet comes back free and unharmed."""
    tablet = district.enroll(district.school(1)[0])
    case = until(district, desk, desk.open("lost", tablet.device.serial), "secured")
    falls_silent(district, tablet)
    wipe = asked(desk.wipe(case), "wipe")
    district.approve(wipe["id"])
    district.until(lambda: desk.show(case)["waits_for"]["code"] == "wipe_silent", lambda: str(desk.show(case)))
    case = desk.found(case)
    assert (case["state"], asked(case, "wipe")["state"]) == ("found", "cancelled")
    assert case["waits_for"]["code"] == "found_silent"
    assert tablet.device.lost_mode is not None
    district.town.do(comes_online(tablet))
    district.until_state(asked(case, "unlock")["id"], "done")
    district.hint(Job.CASES)
    case = until(district, desk, case, "closed_found")
    assert (tablet.device.lost_mode, tablet.device.wipes, tablet.status) == (None, 0, Status.ENROLLED)
    assert "EraseDevice" not in tablet.journal.executed()
    assert asked(case, "wipe")["state"] == "cancelled"


def test_written_off_while_silent_it_is_still_locked_when_it_is_heard(district: District, desk: Desk):
    """The ledger calls it lost, the case is over, and what was in line for the tablet stays there."""
    tablet = district.enroll(district.school(1)[0])
    falls_silent(district, tablet)
    case = desk.open("stolen", tablet.device.serial)
    assert case["waits_for"]["code"] == "lock_silent"
    case = desk.write_off(case, "K-2026-2")
    assert case["state"] == "closed_written_off"
    assert district.device(tablet.device.serial)["state"] == "lost"
    assert "K-2026-2" in desk.report(case)
    district.town.do(comes_online(tablet))
    district.until(lambda: tablet.device.lost_mode is not None, "the lock")
    assert asked(desk.show(case), "lock")["state"] in ("delivered", "done")


def test_broken_swapped_repaired_and_back(district: District, desk: Desk):
    """The holder goes on with a spare; the broken tablet goes away, comes back as a spare, or to its holder."""
    broken, spare = district.school(2)
    school = district.school_of(broken)
    pupil = f"pupil-{school}"
    district.import_ledger(school, [broken], holder=pupil)
    district.import_ledger(school, [spare], state="stock")

    def standing() -> list[tuple[str | None, str]]:
        found = [district.device(each.serial) for each in (broken, spare)]
        return [((each["holder"] or {}).get("user_id"), each["state"]) for each in found]

    case = desk.open("broken", broken.serial)
    assert case["state"] == "opened"
    case = desk.swap(case, f"T-{spare.serial}")
    assert (case["state"], standing()) == ("swapped", [(None, "repair"), (pupil, "issued")])
    assert desk.undo_swap(case)["state"] == "opened"
    assert standing() == [(pupil, "issued"), (None, "stock")]
    desk.swap(case, f"T-{spare.serial}")
    desk.send(case, "R-7")
    assert desk.show(case)["state"] == "repairing"
    case = desk.back(case)
    assert (case["state"], case["repairs"][0]["back_on"]) == ("swapped", "2026-04-08")
    assert desk.close(case, "repaired")["state"] == "closed_repaired"
    assert standing() == [(None, "stock"), (pupil, "issued")]
