"""Getting in: from the ledger to an enrolled tablet, and who stays out."""

import pytest

from simulator.tablets.enrolling import Refused
from simulator.tablets.ipad import IPad, Status
from simulator.tablets.journal import Event, executed_twice
from tests.journeys.district import District

pytestmark = pytest.mark.timeout(300)  # the first journey waits for the servers to start


def refused(district: District, tablet: IPad, profile: bytes) -> Refused:
    """Try to enrol a tablet and return how it was refused."""
    with pytest.raises(Refused) as refusal:
        district.town.do(tablet.enroll(profile))
    assert tablet.status is Status.OUT_OF_THE_BOX
    return refusal.value


def test_a_school_is_enrolled_and_every_tablet_gets_its_policy(district: District):
    """Ledger in, tickets out, five tablets enrol by SCEP, a policy is rolled out, and all five have it."""
    devices = district.school(5)
    code = district.school_of(devices[0])
    tablets = [district.enroll(device) for device in devices]
    rollout = district.give(code, usb={"external_storage": "deny"}, web_filter={"adult_filter": True})

    def counts() -> dict[str, int]:
        return dict(district.first.ask("GET", f"/rollouts/{rollout}")["counts"])

    district.until(lambda: counts()["installed"] == 5, lambda: str(counts()))
    for tablet in tablets:
        installed = tablet.journal.of(Event.EXECUTED, "InstallProfile")
        assert len(installed) == len(tablet.device.profiles) == 2
        assert tablet.journal.of(Event.PUSHED)
    assert executed_twice(tablet.journal for tablet in tablets) == []


def test_a_new_tablet_of_a_school_with_a_policy_gets_it_at_once(district: District):
    """Whoever enrols after the rollout needs no rollout."""
    devices = district.school(1)
    code = district.school_of(devices[0])
    district.give(code, usb={"external_storage": "deny"})
    tablet = district.enroll(devices[0])
    district.until(lambda: len(tablet.device.profiles) == 1, "the policy on a new tablet")
    district.until(lambda: district.device(devices[0].serial)["enrollment"]["up_to_date"], "up to date")


def test_a_ticket_of_one_tablet_lets_only_that_tablet_in_and_once(district: District):
    """The profile of one tablet is of no use to another, nor a second time; the refusal is on record."""
    mine, other = district.school(2)
    stolen = district.profile(mine.serial)
    thief = district.tablet(other)
    assert refused(district, thief, stolen).where == "Authenticate"
    assert any(line["details"].get("serial") == other.serial for line in district.audited("enrollment.refuse"))
    rightful = district.tablet(mine)
    assert refused(district, rightful, stolen).where == "scep"
    assert district.device(mine.serial)["enrollment"]["status"] == "absent"
    assert district.device(other.serial)["enrollment"]["status"] == "absent"


def test_a_tablet_that_is_not_in_the_ledger_stays_out(district: District):
    """With a ticket of the set-up bench, a serial that nobody knows is refused with 4xx, never 401, and on record."""
    (known,) = district.school(1)
    code = district.school_of(known)
    known.serial = "UNKNOWN00001"
    refusal = refused(district, district.tablet(known), district.staging(code, uses=3))
    assert refusal.where == "Authenticate"
    assert 400 <= refusal.status < 500
    assert refusal.status != 401
    assert any(line["details"].get("serial") == "UNKNOWN00001" for line in district.audited("enrollment.refuse"))


@pytest.mark.parametrize("state", ["lost", "retired"])
def test_a_lost_or_retired_tablet_stays_out(district: District, state: str):
    """The bench's ticket does not let in what the ledger says is gone, and the refusal is on record."""
    (device,) = district.school(1)
    before = district.device(device.serial)
    profile = district.staging(before["school_code"], uses=1)
    district.first.ask("PATCH", f"/devices/{before['id']}", json={"state": state})
    refusal = refused(district, district.tablet(device), profile)
    assert (refusal.where, refusal.status == 401) == ("Authenticate", False)
    assert any(line["details"].get("serial") == device.serial for line in district.audited("enrollment.refuse"))
    assert district.device(device.serial)["enrollment"]["status"] in ("absent", "ended")


def test_a_bench_ticket_is_good_for_its_school_and_its_number_of_uses(district: District):
    """Of three uses a tablet of another school wastes one and is refused; two get in; the fourth finds it used up."""
    devices = district.school(3)
    (stranger,) = district.school(1)
    profile = district.staging(district.school_of(devices[0]), uses=3)
    assert refused(district, district.tablet(stranger), profile).where == "Authenticate"
    tablets = [district.tablet(device) for device in devices]
    for tablet in tablets[:2]:
        district.town.do(tablet.enroll(profile))
    assert refused(district, tablets[2], profile).where == "scep"
    states = [district.device(device.serial)["enrollment"]["status"] for device in devices]
    assert states == ["active", "active", "absent"]
