"""Tablets that a profile cuts off, as a wrong APN does."""

import plistlib

from simulator.tablets.behaviour import Behaviour
from simulator.tablets.journal import Event
from tests.simulator_tablets.conftest import Town, payload, play

CONFIGURATION = plistlib.dumps(payload("Configuration", "jp.example.apps", PayloadContent=[]))


def test_a_profile_can_silence_a_tablet_for_good(town):
    """It acknowledges, hears no answer any more, and no push, silence or visit of its user wakes it again."""

    async def scene(t: Town) -> None:
        t.tablet.behaviour = Behaviour(silent_after_install=1, returns_after_s=0.01)
        installed = t.door.order("InstallProfile", Payload=CONFIGURATION)
        t.door.order("DeviceLock")
        await t.tablet.check_in()
        assert t.door.result_of(installed)["Status"] == "Acknowledged"
        heard = len(t.door.reports)
        t.tablet.push(t.tablet.enrollment.magic)
        t.tablet.come_online()
        await t.tablet.check_in()
        assert (t.tablet.silent, len(t.door.reports)) == (True, heard)
        assert t.tablet.journal.executed() == ["InstallProfile"]
        assert [entry.event for entry in t.tablet.journal.entries][-1] is Event.SILENCED
        await t.tablet.enroll(t.door.profile())
        assert not t.tablet.silent

    play(town, scene)


def test_only_a_profile_with_the_marker_silences(town):
    """A tablet that one kind of payload cuts off bears all others."""
    poison = plistlib.dumps(payload("Configuration", "jp.example.apn", PayloadContent=[payload("jp.bad.apn", "a")]))

    async def scene(t: Town) -> None:
        t.tablet.behaviour = Behaviour(silent_after_install=1, silent_marker="jp.bad.apn")
        t.door.order("InstallProfile", Payload=CONFIGURATION)
        t.door.order("DeviceLock")
        await t.tablet.check_in()
        assert (t.tablet.silent, t.tablet.journal.executed()) == (False, ["InstallProfile", "DeviceLock"])
        t.door.order("InstallProfile", Payload=poison)
        await t.tablet.check_in()
        assert t.tablet.silent

    play(town, scene)
