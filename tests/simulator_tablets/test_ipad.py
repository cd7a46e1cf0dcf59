"""A pretended iPad against a scripted door that reads it with the server's own codecs."""

import asyncio
import plistlib

import pytest

from simulator.tablets.behaviour import Behaviour
from simulator.tablets.device import Device
from simulator.tablets.enrolling import Refused
from simulator.tablets.ipad import Status
from simulator.tablets.journal import Event, executed_twice
from simulator.tablets.profile import BadProfile
from tests.simulator_tablets.conftest import Town, payload, play

CONFIGURATION = plistlib.dumps(payload("Configuration", "jp.example.apps", PayloadContent=[]))


def test_enrolling_is_scep_then_authenticate_then_token_update(town):
    """A tablet introduces itself with its serial, then says where to push it, signed with the issued certificate."""

    async def scene(t: Town) -> None:
        first, second = t.door.check_ins
        assert (first["MessageType"], first["SerialNumber"]) == ("Authenticate", "INVENTED0001")
        assert (second["MessageType"], len(second["Token"])) == ("TokenUpdate", 32)
        assert {"PushMagic", "UnlockToken"} <= set(second)
        assert len(set(t.door.identities)) == 1
        assert t.tablet.status is Status.ENROLLED

    play(town, scene)


def test_a_wrong_challenge_keeps_a_tablet_out(town):
    """A refused SCEP request ends the enrolment, and the journal says where."""

    async def run() -> None:
        async with town() as t:
            with pytest.raises(Refused, match="scep"):
                await t.tablet.enroll(t.door.profile(challenge="guessed"))
            assert t.tablet.journal.of(Event.REFUSED)[0].detail["where"] == "scep"
            assert t.door.check_ins == []

    asyncio.run(run())


def test_a_refused_authenticate_keeps_a_tablet_out(town):
    """A tablet that is answered 403 at Authenticate never sends a TokenUpdate."""

    async def run() -> None:
        async with town() as t:
            t.door.answers["Authenticate"] = 403
            with pytest.raises(Refused) as refusal:
                await t.tablet.enroll(t.door.profile())
            assert (refusal.value.where, refusal.value.status) == ("Authenticate", 403)
            assert t.tablet.status is Status.OUT_OF_THE_BOX

    asyncio.run(run())


def test_a_push_wakes_a_tablet_and_a_strange_one_does_not(town):
    """Only a push with the tablet's own magic starts a conversation."""

    async def scene(t: Town) -> None:
        uuid = t.door.order("SecurityInfo")
        t.tablet.push("someone else's")
        await t.tablet.settled()
        assert t.tablet.journal.executed() == []
        t.tablet.push(t.tablet.enrollment.magic)
        await t.tablet.settled()
        assert t.door.result_of(uuid)["SecurityInfo"]["PasscodePresent"] is False

    play(town, scene)


@pytest.mark.parametrize(
    ("device", "command", "expected"),
    [
        (Device("S1", iccid="8981100000000000019"), {"RequestType": "Nonsense"}, {"Status": "CommandFormatError"}),
        (Device("S1"), {"RequestType": "DeviceLocation"}, {"Status": "Error"}),
        (Device("S1", supervised=False), {"RequestType": "EnableLostMode", "Message": "x"}, {"Status": "Error"}),
        (Device("S1"), {"RequestType": "EnableLostMode"}, {"Status": "CommandFormatError"}),
        (Device("S1"), {"RequestType": "DeviceLock"}, {"MessageResult": "NoPasscodeSet"}),
        (Device("S1", passcode=True), {"RequestType": "DeviceLock"}, {"MessageResult": "Success"}),
        (Device("S1"), {"RequestType": "InstallProfile", "Payload": b"junk"}, {"Status": "Error"}),
        (Device("S1"), {"RequestType": "RemoveProfile", "Identifier": "absent"}, {"Status": "Error"}),
        (
            Device("S1"),
            {"RequestType": "Settings", "Settings": [{"Item": "DataRoaming", "Enabled": False}]},
            {"Settings": [{"Item": "DataRoaming", "Status": "Acknowledged"}]},
        ),
    ],
)
def test_commands_are_answered_as_the_state_of_the_tablet_demands(town, device, command, expected):
    """Supervision, passcode and lost mode decide what a command does; nonsense is a format error."""

    async def scene(t: Town) -> None:
        uuid = t.door.order(command.pop("RequestType"), **command)
        await t.tablet.check_in()
        report = t.door.result_of(uuid)
        assert {key: report.get(key) for key in expected} == expected
        assert ("ErrorChain" in report) == (report["Status"] == "Error")

    play(town, scene, device)


RESTRICTED = payload("com.apple.applicationaccess", "jp.example.apps.r", allowChat=False, blockedAppBundleIDs=["b"])


def test_restrictions_are_the_sum_of_what_is_installed(town):
    """Switches and lists in the groups of Apple's schema; one that the tablet ignores stands open."""

    async def scene(t: Town) -> None:
        more = payload("com.apple.applicationaccess", "jp.example.more.r", allowChat=True, blockedAppBundleIDs=["a"])
        for identifier, content in (("jp.example.apps", RESTRICTED), ("jp.example.more", more)):
            t.door.order(
                "InstallProfile", Payload=plistlib.dumps(payload("Configuration", identifier, PayloadContent=[content]))
            )
        asked = t.door.order("Restrictions")
        await t.tablet.check_in()
        assert t.door.result_of(asked)["GlobalRestrictions"] == {
            "restrictedBool": {"allowChat": {"value": False}},
            "union": {"blockedAppBundleIDs": {"values": ["a", "b"]}},
        }
        t.tablet.device.ignores = ["allowChat"]
        asked = t.door.order("Restrictions")
        await t.tablet.check_in()
        assert t.door.result_of(asked)["GlobalRestrictions"]["restrictedBool"] == {"allowChat": {"value": True}}

    play(town, scene)


def test_a_tablet_that_drifts_acknowledges_what_it_does_not_keep(town):
    """Only its own list tells."""

    async def scene(t: Town) -> None:
        t.tablet.device.loses = ["jp.example.apps"]
        installed = t.door.order("InstallProfile", Payload=CONFIGURATION)
        listed = t.door.order("ProfileList")
        await t.tablet.check_in()
        assert t.door.result_of(installed)["Status"] == "Acknowledged"
        assert t.door.result_of(listed)["ProfileList"] == []

    play(town, scene)


def test_access_rights_bound_what_is_told(town):
    """Without the network right the SIM stays unsaid; without the erase right nothing is erased."""

    async def run() -> None:
        async with town() as t:
            await t.tablet.enroll(t.door.profile(rights=16))
            asked = t.door.order("DeviceInformation", Queries=["SerialNumber", "ServiceSubscriptions"])
            erase = t.door.order("EraseDevice")
            await t.tablet.check_in()
            assert t.door.result_of(asked)["QueryResponses"] == {"SerialNumber": "INVENTED0001"}
            assert t.door.result_of(erase)["Status"] == "Error"
            assert t.tablet.status is Status.ENROLLED

    asyncio.run(run())


def test_a_profile_is_installed_listed_and_removed(town):
    """Profiles stand under their identifier: a second one of the same identifier replaces the first."""

    async def scene(t: Town) -> None:
        t.door.order("InstallProfile", Payload=CONFIGURATION)
        t.door.order("InstallProfile", Payload=CONFIGURATION)
        listed = t.door.order("ProfileList")
        await t.tablet.check_in()
        assert [each["PayloadIdentifier"] for each in t.door.result_of(listed)["ProfileList"]] == ["jp.example.apps"]
        t.door.order("RemoveProfile", Identifier="jp.example.apps")
        await t.tablet.check_in()
        assert t.tablet.device.profiles == {}

    play(town, scene)


def test_a_new_sim_shows_in_the_next_inventory(town):
    """The ICCID is told in groups, as iPads tell it."""

    async def scene(t: Town) -> None:
        t.tablet.device.iccid = "8981100000000000027"
        uuid = t.door.order("DeviceInformation", Queries=["ServiceSubscriptions"])
        await t.tablet.check_in()
        slot = t.door.result_of(uuid)["QueryResponses"]["ServiceSubscriptions"][0]
        assert slot["ICCID"] == "8981 1000 0000 0000 027"

    play(town, scene)


def test_an_erased_tablet_acknowledges_and_forgets_everything(town):
    """After EraseDevice nothing answers any more; the tablet can be enrolled again, with another identity."""

    async def scene(t: Town) -> None:
        t.door.order("EnableLostMode", Message="return me")
        erase = t.door.order("EraseDevice", PreserveDataPlan=True)
        t.door.order("SecurityInfo")
        await t.tablet.check_in()
        assert t.door.result_of(erase)["Status"] == "Acknowledged"
        assert (t.tablet.status, t.tablet.device.lost_mode) == (Status.REMOVED, None)
        assert t.tablet.journal.executed() == ["EnableLostMode", "EraseDevice"]
        await t.tablet.enroll(t.door.profile())
        await t.tablet.settled()
        assert t.tablet.journal.executed()[-1] == "SecurityInfo"
        assert (t.tablet.epoch, t.door.issued) == (2, 2)

    play(town, scene)


@pytest.mark.parametrize("challenge", [None, ""], ids=["new challenge", "signed by the old identity"])
def test_an_enrolment_profile_renews_the_identity(town, challenge):
    """The same enrolment gets a new certificate, introduces itself with it and acknowledges with it."""

    async def scene(t: Town) -> None:
        old, magic = t.door.identities[0], t.tablet.enrollment.magic
        uuid = t.door.order("InstallProfile", Payload=t.door.profile(challenge=challenge))
        await t.tablet.check_in()
        assert t.door.result_of(uuid)["Status"] == "Acknowledged"
        assert [each["MessageType"] for each in t.door.check_ins[2:]] == ["Authenticate", "TokenUpdate"]
        assert t.door.identities[-1] != old
        assert t.tablet.enrollment.magic != magic
        assert list(t.fleet.directory.values()) == [t.tablet]

    play(town, scene)


def test_an_enrolment_profile_of_someone_else_is_an_error(town):
    """A renewal may not change who the enrolment belongs to."""

    async def scene(t: Town) -> None:
        uuid = t.door.order("InstallProfile", Payload=t.door.profile(identifier="jp.example.other"))
        await t.tablet.check_in()
        assert t.door.result_of(uuid)["Status"] == "Error"
        assert t.door.issued == 1

    play(town, scene)


def test_lost_replies_and_doubled_messages_execute_nothing_twice(town):
    """On a line that loses half the answers and doubles half the messages each command is carried out once."""

    async def scene(t: Town) -> None:
        uuids = [t.door.order("InstalledApplicationList") for _ in range(12)]
        await t.tablet.check_in()
        executed = [entry.command for entry in t.tablet.journal.of(Event.EXECUTED)]
        assert sorted(executed) == sorted(uuids)
        assert executed_twice([t.tablet.journal]) == []
        assert len(t.door.reports) > len(uuids) + 1

    play(town, scene, behaviour=Behaviour(lost_reply=0.5, duplicate=0.5), seed=7)


def test_not_now_puts_a_command_off_and_the_tablet_returns_by_itself(town):
    """A tablet that said NotNow comes back when it is unlocked, without a push."""

    async def scene(t: Town) -> None:
        uuid = t.door.order("SecurityInfo")
        t.tablet.behaviour = Behaviour(not_now=1, returns_after_s=0.05)
        await t.tablet.check_in()
        assert t.door.result_of(uuid)["Status"] == "NotNow"
        t.tablet.behaviour = Behaviour()
        async with asyncio.timeout(5):
            await t.tablet.journal.until(lambda: not t.door.queue)
        assert t.tablet.journal.executed() == ["SecurityInfo"]

    play(town, scene)


def test_a_push_waits_for_a_tablet_that_is_out_of_reach(town):
    """Pushes to an offline tablet collapse into one that arrives when it is back."""

    async def scene(t: Town) -> None:
        t.door.order("SecurityInfo")
        t.tablet.go_offline()
        for _ in range(3):
            t.tablet.push(t.tablet.enrollment.magic)
        await t.tablet.settled()
        assert t.tablet.journal.executed() == []
        before = len(t.door.reports)
        t.tablet.come_online()
        await t.tablet.settled()
        assert t.tablet.journal.executed() == ["SecurityInfo"]
        assert [report["Status"] for report in t.door.reports[before:]] == ["Idle", "Acknowledged"]

    play(town, scene)


def test_a_server_in_trouble_gets_the_same_report_again(town, monkeypatch):
    """5xx makes a tablet repeat itself; the command is not carried out again."""
    monkeypatch.setattr("simulator.tablets.line._PATIENCE", (0.01,))

    async def scene(t: Town) -> None:
        uuid = t.door.order("SecurityInfo")
        t.door.answers["Acknowledged"] = 500
        t.tablet.behaviour = Behaviour(returns_after_s=None)
        await t.tablet.check_in()
        assert t.door.queue
        t.door.answers.clear()
        await t.tablet.check_in()
        assert t.door.queue == []
        assert [entry.command for entry in t.tablet.journal.of(Event.EXECUTED)] == [uuid]

    play(town, scene)


def test_401_makes_a_tablet_drop_its_enrolment(town):
    """What a proxy in front of the door must never do shows in the journal."""

    async def scene(t: Town) -> None:
        t.door.answers["Idle"] = 401
        await t.tablet.check_in()
        assert t.tablet.status is Status.REMOVED
        assert t.tablet.journal.of(Event.REMOVED)[0].detail["why"] == "answered 401"

    play(town, scene)


def test_removing_the_enrolment_is_told_at_best_effort(town):
    """CheckOut goes out, and the tablet is free whatever is answered."""

    async def scene(t: Town) -> None:
        t.door.answers["CheckOut"] = 400
        await t.tablet.check_out()
        assert t.door.check_ins[-1]["MessageType"] == "CheckOut"
        assert (t.tablet.status, t.fleet.directory) == (Status.REMOVED, {})

    play(town, scene)


def test_a_profile_without_what_apple_requires_is_refused(town):
    """A tablet does not guess what a profile leaves out."""

    async def run() -> None:
        async with town() as t:
            whole = plistlib.loads(t.door.profile())
            for key in ("IdentityCertificateUUID", "Topic", "ServerURL", "AccessRights"):
                broken = plistlib.loads(plistlib.dumps(whole))
                del broken["PayloadContent"][1][key]
                with pytest.raises(BadProfile, match=key):
                    await t.tablet.enroll(plistlib.dumps(broken))
            whole["PayloadContent"].reverse()
            with pytest.raises(BadProfile, match="behind"):
                await t.tablet.enroll(plistlib.dumps(whole))

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(6))
def test_a_moody_tablet_comes_through_everything_by_itself(town, seed):
    """NotNow, lost and doubled messages and spells out of reach: the tablet returns until nothing is left."""
    moody = Behaviour(
        not_now=0.4, lost_reply=0.3, duplicate=0.3, offline=0.4, offline_s=0.03, latency_s=0.01, returns_after_s=0.02
    )

    async def scene(t: Town) -> None:
        for _ in range(10):
            t.door.order("SecurityInfo")
        t.tablet.behaviour = moody
        t.tablet.push(t.tablet.enrollment.magic)
        async with asyncio.timeout(20):
            await t.tablet.journal.until(lambda: not t.door.queue)
        assert executed_twice([t.tablet.journal]) == []

    play(town, scene, seed=seed)
