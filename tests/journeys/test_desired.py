"""Desired state: a tablet gets what it should be now, not what it was once told."""

import plistlib

import pytest

from simulator.tablets.journal import Event
from tests.journeys.district import District

pytestmark = pytest.mark.timeout(300)  # the first journey waits for the servers to start


def test_a_tablet_that_was_off_for_two_rollouts_gets_only_the_latest(district: District):
    """Nothing piles up: one profile per section, each installed once, with the content of the last revision."""
    (device,) = district.school(1)
    tablet = district.enroll(device)
    code = district.school_of(device)
    district.until(lambda: "ProfileList" in tablet.journal.executed(), "the first inventory")
    district.town.do(tablet.settled())
    tablet.go_offline()
    for sites in (["one.example.com"], ["two.example.com"]):
        rollout = district.give(code, usb={"external_storage": "deny"}, web_filter={"deny_list": sites})
    district.until(lambda: bool(tablet.journal.of(Event.PUSHED)), "a push while it was off")
    assert tablet.device.profiles == {}

    async def back() -> None:
        tablet.come_online()

    district.town.do(back())
    district.until(lambda: district.device(device.serial)["enrollment"]["up_to_date"], "up to date")
    assert len(tablet.journal.of(Event.EXECUTED, "InstallProfile")) == len(tablet.device.profiles) == 2
    counts = district.first.ask("GET", f"/rollouts/{rollout}")["counts"]
    assert counts["installed"] == 1


def test_what_a_policy_no_longer_says_is_removed(district: District):
    """A section that leaves the policy leaves the tablet; the others are not installed again."""
    (device,) = district.school(1)
    tablet = district.enroll(device)
    code = district.school_of(device)
    district.give(code, usb={"external_storage": "deny"}, web_filter={"adult_filter": True})
    district.until(lambda: len(tablet.device.profiles) == 2, "both profiles")
    district.give(code, usb={"external_storage": "deny"})
    district.until(lambda: len(tablet.device.profiles) == 1, "one profile removed")
    executed = tablet.journal.executed()
    assert (executed.count("InstallProfile"), executed.count("RemoveProfile")) == (2, 1)


def test_a_tablet_that_enrolls_again_gets_everything_again(district: District):
    """A new enrolment begins with nothing installed, whatever was installed before."""
    (device,) = district.school(1)
    tablet = district.enroll(device)
    code = district.school_of(device)
    district.give(code, usb={"external_storage": "deny"})
    district.until(lambda: len(tablet.device.profiles) == 1, "the profile")
    district.town.do(tablet.check_out())
    district.until(lambda: district.device(device.serial)["enrollment"]["status"] == "ended", "checked out")
    district.town.do(tablet.enroll(district.profile(device.serial)))
    district.until(lambda: len(tablet.device.profiles) == 1, "the profile again")
    assert district.device(device.serial)["enrollment"]["epoch"] == 2


def test_the_content_that_arrives_is_the_policy(district: District):
    """What a tablet was told to install says what the policy says."""
    (device,) = district.school(1)
    tablet = district.enroll(device)
    code = district.school_of(device)
    district.give(code, web_filter={"deny_list": ["social.example.com"]})
    district.until(lambda: len(tablet.device.profiles) == 1, "the profile")
    (installed,) = tablet.device.profiles.values()
    document = plistlib.loads(installed["xml"].encode())
    (payload,) = document["PayloadContent"]
    assert payload["PayloadType"] == "com.apple.webcontent-filter"
    assert payload["DenyListURLs"] == ["https://social.example.com"] or "social.example.com" in str(payload)
