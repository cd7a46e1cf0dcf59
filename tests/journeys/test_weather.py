"""Bad lines and moody tablets: NotNow, errors, lost answers, doubled messages, offline spells, failing pushes."""

import time

import pytest

from simulator.clouds.apns_script import Answer
from simulator.tablets.behaviour import Behaviour
from simulator.tablets.ipad import IPad
from simulator.tablets.journal import Event, executed_twice
from tests.journeys.district import District

MOODY = Behaviour(
    not_now=0.3,
    error=0.1,
    lost_reply=0.25,
    duplicate=0.25,
    offline=0.3,
    offline_s=0.3,
    latency_s=0.05,
    clock_skew_s=90,
    returns_after_s=None,  # whoever said NotNow is woken by the server, or never
)
ENDS = {"done", "failed"}

pytestmark = pytest.mark.timeout(300)  # the first journey waits for the servers to start


def tails(tablets: list[IPad]) -> str:
    """Return the last lines of each journal, for the message of a failure."""
    return "\n".join(str(entry) for tablet in tablets for entry in tablet.journal.entries[-12:])


def test_whatever_the_weather_every_command_settles_and_nothing_is_done_twice(district: District):
    """Four moody tablets: each accepted command ends, and each was carried out exactly once by the tablet's journal."""
    tablets = [district.enroll(device) for device in district.school(4)]
    for tablet in tablets:
        tablet.behaviour = MOODY
    code = district.school_of(tablets[0].device)
    rollout = district.give(code, usb={"external_storage": "deny"}, web_filter={"adult_filter": True})
    kinds = ("inventory_device", "inventory_apps", "restart", "lost_mode_on")
    commands = [
        (tablet, district.order(tablet, kind, **({"message": "m"} if kind == "lost_mode_on" else {})))
        for kind in kinds
        for tablet in tablets
    ]

    def unsettled() -> list[str]:
        district.turn_the_clock(code)
        return [state for _, command in commands if (state := district.state(command)) not in ENDS]

    def under_way() -> int:
        district.turn_the_clock(code)
        counts = district.first.ask("GET", f"/rollouts/{rollout}")["counts"]
        return int(counts["pending"] + counts["woken"])

    district.until(lambda: not unsettled(), lambda: f"unsettled: {unsettled()} {tails(tablets)}", seconds=40)
    district.until(
        lambda: under_way() == 0, lambda: f"under way: {district.profiles_of(code)} {tails(tablets)}", seconds=20
    )
    assert executed_twice(tablet.journal for tablet in tablets) == []
    for tablet, command in commands:
        lines = [entry for entry in tablet.journal.of(Event.EXECUTED) if entry.command == command]
        assert len(lines) == 1
        ended = "done" if lines[0].detail["status"] == "Acknowledged" else "failed"
        assert district.state(command) == ended
    assert any(tablet.journal.of(Event.NOT_NOW) for tablet in tablets)
    assert not any(tablet.journal.of(Event.STRANGE_PUSH) for tablet in tablets)


def test_a_tablet_whose_token_is_dead_is_reached_again_by_its_own_token_update(district: District):
    """410 from the push service stops pushes to that token; the command waits, and the new token brings it."""
    tablet = district.enroll(district.school(1)[0])
    district.town.do(tablet.settled())
    assert tablet.enrollment is not None
    dead = tablet.enrollment.token
    gone = Answer(410, "Unregistered", timestamp=int(time.time() * 1000) + 60_000)
    district.town.fleet.cloud.script.answer(dead, gone)
    on = district.order(tablet, "lost_mode_on", message="m")
    district.until(lambda: district.pushes(dead, "410") > 0, "the refused push")
    assert district.state(on) in ("queued", "sent")
    district.town.do(tablet.refresh_token())
    district.until_state(on, "done")
    assert tablet.journal.executed().count("EnableLostMode") == 1
    assert district.pushes(dead, "410") == 1


def test_a_tablet_with_a_new_push_token_is_reached(district: District):
    """After a TokenUpdate pushes go to the new token with the new magic."""
    tablet = district.enroll(district.school(1)[0])
    district.town.do(tablet.refresh_token())
    pushed = len(tablet.journal.of(Event.PUSHED))
    on = district.order(tablet, "lost_mode_on", message="m")
    district.until_state(on, "done")
    assert len(tablet.journal.of(Event.PUSHED)) > pushed
    assert tablet.journal.of(Event.STRANGE_PUSH) == []


def test_a_changed_sim_shows_in_the_next_inventory(district: District):
    """The inventory tells which SIM is in the tablet now; the ledger still says which should be."""
    tablet = district.enroll(district.school(1)[0])
    was = tablet.device.iccid
    tablet.device.iccid = "8981100999999999990"
    asked = district.order(tablet, "inventory_device")
    district.until_state(asked, "done")
    result = str(district.reported(tablet.device.serial, "inventory_device"))
    assert "8981100999999999990" in result
    assert was not in result
    assert district.device(tablet.device.serial)["iccid"] == was
