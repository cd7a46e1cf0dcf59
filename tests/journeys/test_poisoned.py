"""A policy that cuts tablets off: the rollout stops by itself in its first wave and brings back who still answers."""

from typing import Any

import pytest

from mdm.jobs import Job
from simulator.tablets.behaviour import Behaviour
from simulator.tablets.ipad import IPad
from simulator.tablets.journal import Event
from tests.journeys.district import District

pytestmark = pytest.mark.timeout(300)  # the first journey waits for the servers to start

FILTER = "tabane.policy.web-filter"
POISON = Behaviour(returns_after_s=0.3, silent_after_install=1, silent_marker="com.apple.webcontent-filter")
SHARP = {"soak_s": 0, "pulse_after_s": 1, "silent_after_s": 4, "proof": True}


def start(district: District, school: str, first: list[IPad]) -> str:
    """Store a second revision with a filter and bring it to these tablets first."""
    name = f"school-{school.lower()}"
    sections = {"usb": {"external_storage": "deny"}, "web_filter": {"deny_list": ["one.example.com"]}}
    document = {"version": 1, "name": name, "layer": {"school": school}, **sections}
    district.first.ask("POST", "/policies", json={"documents": [document]})
    places = [f"serial={tablet.device.serial}" for tablet in first]
    body = {
        "policy": name,
        "target": f"school={school}",
        "waves": {"kind": "by_hand", "lists": [places]},
        "thresholds": SHARP,
    }
    rollout = str(district.first.ask("POST", "/rollouts", json=body)["id"])
    district.first.ask("POST", f"/rollouts/{rollout}/waves/1/release")
    return rollout


def test_a_poisoned_policy_stops_in_its_first_wave_and_goes_back(district: District):
    """One of two tablets falls silent: the other loses the profile again, and nobody else ever saw it."""
    devices = district.school(4)
    code = district.school_of(devices[0])
    poisoned, *others = [
        district.enroll(device, POISON if number == 0 else None) for number, device in enumerate(devices)
    ]
    answering = others[0]
    district.give(code, usb={"external_storage": "deny"})
    district.until(lambda: all(len(each.device.profiles) == 1 for each in [poisoned, *others]), "revision 1 everywhere")
    rollout = start(district, code, [poisoned, answering])

    def shown() -> dict[str, Any]:
        district.hint(Job.ADVANCE_ROLLOUTS)
        return dict(district.first.ask("GET", f"/rollouts/{rollout}"))

    district.until(lambda: shown()["state"] == "rolled_back", lambda: f"rolled back: {shown()}", seconds=90)
    found = shown()
    assert (found["halt"]["code"], found["halt"]["wave"], found["halt"]["counted"]) == ("silence", 1, 1)
    assert found["halt"]["of"] == found["counts"]["installed"] == 2
    assert [wave["state"] for wave in found["waves"]] == ["released", "waiting"]
    assert poisoned.silent
    district.until(lambda: shown()["restored"]["restored"] == 1, lambda: f"the other is back: {shown()['restored']}")
    assert shown()["restored"]["asked"] == 2
    assert FILTER not in answering.device.profiles
    assert FILTER in poisoned.device.profiles
    untouched = [len(tablet.journal.of(Event.EXECUTED, "InstallProfile")) for tablet in others[1:]]
    assert untouched == [1, 1], "the second wave was never told"
