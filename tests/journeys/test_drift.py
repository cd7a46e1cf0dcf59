"""A tablet that is not what it should be: found by its own word, healed once, then reported."""

import pytest

from mdm.jobs import Job
from simulator.tablets.ipad import IPad
from simulator.tablets.journal import Event
from tests.journeys.district import District

pytestmark = pytest.mark.timeout(300)  # the first journey waits for the servers to start

USB = "tabane.policy.usb"
POLICY = {"usb": {"external_storage": "deny"}, "web_filter": {"deny_list": ["one.example.com"]}}


def proof(district: District, tablet: IPad) -> str | None:
    enrollment = district.device(tablet.device.serial)["enrollment"]
    status = enrollment["verification"]
    return None if status is None else str(status)


def until_proved(district: District, tablet: IPad, status: str) -> None:
    def settled() -> bool:
        found = proof(district, tablet)
        if found in ("asked", "healing"):
            district.hint(Job.VERIFY)
        return found == status

    district.until(settled, lambda: f"{status}, but {proof(district, tablet)}; {tablet.journal.executed()}")


def installs(tablet: IPad) -> int:
    return len(tablet.journal.of(Event.EXECUTED, "InstallProfile"))


def test_a_tablet_proves_its_policy_and_heals_when_it_loses_a_profile(district: District):
    """Verified in the conversation that installed it, with no push of its own; a profile lost later comes back."""
    (device,) = district.school(1)
    tablet = district.enroll(device)
    rollout = district.give(district.school_of(device), **POLICY)
    until_proved(district, tablet, "verified")
    assert tablet.journal.executed()[-2:] == ["ProfileList", "Restrictions"]
    assert district.first.ask("GET", f"/rollouts/{rollout}")["proofs"]["verified"] == 1
    tablet.device.profiles.pop(USB)
    before = installs(tablet)
    district.order(tablet, "inventory_profiles")
    district.until(lambda: tablet.journal.executed()[-1] == "ProfileList", "asked again")

    def back() -> bool:
        district.hint(Job.VERIFY)
        return USB in tablet.device.profiles

    district.until(back, "the profile again")
    until_proved(district, tablet, "verified")
    assert installs(tablet) == before + 1


@pytest.mark.parametrize("fault", ["loses", "ignores"])
def test_drift_that_healing_does_not_cure_is_reported_and_not_looped(district: District, fault: str):
    """Handed over twice in all, then left alone; the tablet and the rollout say so, and it is on record."""
    (device,) = district.school(1)
    tablet = district.enroll(device)
    setattr(tablet.device, fault, [USB] if fault == "loses" else ["allowFilesUSBDriveAccess"])
    rollout = district.give(district.school_of(device), **POLICY)
    until_proved(district, tablet, "drifted")
    assert installs(tablet) == 3
    assert district.first.ask("GET", f"/rollouts/{rollout}")["proofs"]["drifted"] == 1
    shown = district.first.ask("GET", f"/devices/{district.device(device.serial)['id']}")
    key, what = (None, "missing") if fault == "loses" else ("allowFilesUSBDriveAccess", "loosened")
    assert shown["findings"] == [{"identifier": USB, "key": key, "what": what}]
    records = [line for line in district.audited("profile.drift") if line["subject"] == f"device:{shown['id']}"]
    assert len(records) == 1
    district.hint(Job.VERIFY)
    district.town.do(tablet.check_in())
    assert (proof(district, tablet), installs(tablet)) == ("drifted", 3)
