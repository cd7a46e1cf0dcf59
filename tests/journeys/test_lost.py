"""A tablet is lost: found by lost mode, or wiped by two persons, and never wiped twice."""

import pytest

from simulator.tablets.behaviour import Behaviour
from simulator.tablets.enrolling import Refused
from simulator.tablets.ipad import IPad, Status
from simulator.tablets.journal import Event, executed_twice
from tests.journeys.district import District

pytestmark = pytest.mark.timeout(300)  # the first journey waits for the servers to start


def approval_of(district: District, command: str) -> str:
    """Return the id of the approval that a held command waits for."""
    found = district.second.ask("GET", f"/commands/{command}")["approval_id"]
    assert found is not None
    return str(found)


def test_a_lost_tablet_is_locked_located_and_made_to_sound(district: District):
    """Lost mode first; location and sound only after the tablet has confirmed it; afterwards it is free again."""
    tablet = district.enroll(district.school(1)[0])
    on = district.order(tablet, "lost_mode_on", message="Please return me", phone_number="0312345678")
    locate = district.order(tablet, "locate")
    district.until_state(on, "done")
    district.until_state(locate, "done")
    sound = district.order(tablet, "play_sound")
    district.until_state(sound, "done")
    assert tablet.device.lost_mode == {"Message": "Please return me", "PhoneNumber": "0312345678"}
    assert tablet.device.sounds == 1
    assert district.device(tablet.device.serial)["enrollment"]["lost_mode"] is True
    result = district.first.ask("GET", f"/commands/{locate}")["result"]
    assert "35.0" in str(result)
    off = district.order(tablet, "lost_mode_off")
    district.until_state(off, "done")
    assert tablet.device.lost_mode is None
    done = tablet.journal.executed()
    wanted = ["EnableLostMode", "DeviceLocation", "PlayLostModeSound", "DisableLostMode"]
    assert [kind for kind in done if kind in wanted] == wanted


def test_a_wipe_leaves_only_with_a_second_persons_approval(district: District):
    """Asked for by one and approved by another, it is carried out; the asker alone gets nowhere."""
    tablet = district.enroll(district.school(1)[0])
    wipe = district.order(tablet, "wipe")
    assert district.state(wipe) == "held"
    approval = approval_of(district, wipe)
    request = district.first.ask("GET", f"/approvals/{approval}")
    consent = district.signer.consent(request)
    district.first.ask("POST", f"/approvals/{approval}/approve", json=consent, expect=403)
    # Whatever wakes the tablet meanwhile, the wipe is not handed over.
    district.until_state(district.order(tablet, "lost_mode_on", message="Please return me"), "done")
    district.town.do(tablet.check_in())
    assert district.state(wipe) == "held"
    assert "EraseDevice" not in tablet.journal.executed()
    district.approve(wipe)
    district.until(lambda: tablet.device.wipes == 1, "wiped")
    district.until_state(wipe, "done")
    assert tablet.status is Status.REMOVED
    assert tablet.journal.executed()[-1] == "EraseDevice"
    assert district.first.ask("GET", "/audit/verification")["intact"] is True


def test_a_rejected_wipe_never_leaves(district: District):
    """What the second person refuses is over."""
    tablet = district.enroll(district.school(1)[0])
    wipe = district.order(tablet, "wipe")
    district.second.ask("POST", f"/approvals/{approval_of(district, wipe)}/reject")
    district.until_state(wipe, "cancelled")
    district.town.do(tablet.check_in())
    assert tablet.device.wipes == 0


def test_a_tablet_wiped_and_enrolled_again_is_not_wiped_twice(district: District):
    """Even when the acknowledgement was lost, so that the server still holds the wipe for one that may leave."""
    (device,) = district.school(1)
    tablet = district.enroll(device)
    wipe = district.order(tablet, "wipe")
    # The line drops whatever is said on it: the wipe is carried out, and nobody hears of it.
    tablet.behaviour = Behaviour(lost_reply=1, returns_after_s=None)
    district.approve(wipe)
    district.until(lambda: tablet.device.wipes == 1, "wiped")
    assert district.state(wipe) != "done"
    tablet.behaviour = Behaviour(returns_after_s=0.3)
    district.town.do(tablet.enroll(district.profile(device.serial)))

    def since_the_wipe() -> list[str]:
        done = tablet.journal.executed()
        return done[done.index("EraseDevice") + 1 :]

    district.until(lambda: "ProfileList" in since_the_wipe(), "the inventory of the new enrolment")
    district.town.do(tablet.check_in())
    assert "EraseDevice" not in since_the_wipe()
    assert (tablet.device.wipes, tablet.status) == (1, Status.ENROLLED)
    assert district.state(wipe) in ("done", "cancelled", "superseded")
    assert executed_twice([tablet.journal]) == []


def test_an_unsupervised_tablet_is_told_to_lock_its_screen_and_that_this_protects_nothing(district: District):
    """Without supervision there is no lost mode: the answer says what a lock is worth without a passcode."""
    (device,) = district.school(1, supervised=False)
    tablet = district.enroll(device)
    district.until(lambda: district.device(device.serial)["enrollment"]["supervised"] is False, "known as unsupervised")
    lock = district.order(tablet, "lock_screen", message="Please return me")
    district.until_state(lock, "done")
    assert "NoPasscodeSet" in str(district.first.ask("GET", f"/commands/{lock}")["result"])
    refusal = district.first.ask(
        "POST",
        f"/devices/{district.device(device.serial)['id']}/commands",
        json={"kind": "lost_mode_on", "arguments": {"message": "x"}, "reason": "a journey"},
        expect=409,
    )
    assert "supervised" in str(refusal)
    assert tablet.journal.of(Event.EXECUTED, "EnableLostMode") == []


def test_a_tablet_that_the_ledger_calls_retired_stays_managed_but_does_not_come_back(district: District):
    """One person's ledger edit takes nothing from a tablet; once it was reset, it is not let in."""
    (device,) = district.school(1)
    tablet: IPad = district.enroll(device)
    profile = district.profile(device.serial)
    district.first.ask("PATCH", f"/devices/{district.device(device.serial)['id']}", json={"state": "retired"})
    district.town.do(tablet.check_in())
    assert tablet.status is Status.ENROLLED
    with pytest.raises(Refused) as refusal:
        district.town.do(tablet.enroll(profile))
    assert refusal.value.status != 401
