"""Messages and answers as values: any document gives a message or the typed error, any answer is read leniently."""

import json
import plistlib
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from mdm.apple import encode, results, wire
from mdm.apple.plist import loads
from mdm.commands.kinds import Kind
from mdm.commands.profile_work import ProfileHandout
from mdm.commands.reports import CommandHandout, Report, Said
from mdm.errors import Malformed

_PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF), max_size=20)
_LEAF = _PRINTABLE | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=20) | st.floats()
_VALUE = st.recursive(_LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_PRINTABLE, inner, max_size=3))
_KEYS = st.sampled_from(
    [
        *("Status", "UDID", "EnrollmentID", "UserID", "CommandUUID", "ErrorChain", "MessageType", "Topic", "Token"),
        *("PushMagic", "UnlockToken", "AwaitingConfiguration", "SerialNumber", "OSVersion", "QueryResponses"),
        *("SecurityInfo", "InstalledApplicationList", "ProfileList", "Latitude"),
    ]
)
_WORDS = st.sampled_from(
    ["Idle", "Acknowledged", "Error", "NotNow", "CommandFormatError", "Authenticate", "TokenUpdate", "CheckOut", "A-1"]
)


@given(st.dictionaries(_KEYS, _WORDS | _VALUE, max_size=10))
def test_any_document_is_a_message_or_malformed(document: dict[str, Any]) -> None:
    """No other error, and whatever a report carries can be stored as JSON."""
    with suppress(Malformed):
        message = wire.parse(plistlib.dumps(document), bytes(32))
        if isinstance(message, Report):
            carried = [message.error, message.result, message.inventory and message.inventory.body]
            json.dumps(carried, allow_nan=False)


def test_a_report_says_what_the_status_says() -> None:
    """The five statuses, and a CommandUUID that is none of ours."""
    number = str(uuid4()).upper()
    for status, said in (
        ("Acknowledged", Said.DONE),
        ("Error", Said.FAILED),
        ("CommandFormatError", Said.FAILED),
        ("NotNow", Said.NOT_NOW),
    ):
        message = wire.parse(plistlib.dumps({"Status": status, "UDID": "U", "CommandUUID": number}), bytes(32))
        assert isinstance(message, Report)
        assert (message.said, message.command_id) == (said, UUID(number))
    stray = wire.parse(plistlib.dumps({"Status": "Error", "UDID": "U", "CommandUUID": "x"}), bytes(32))
    assert isinstance(stray, Report)
    assert stray.command_id is None


def test_old_systems_report_their_sim_at_the_top() -> None:
    """Without the array the top-level keys count; with it they are ignored."""
    old = {"ICCID": "8981 1000 2345 6789 012", "IMEI": "35 209900 176148 1", "IsRoaming": False}
    assert results.subscriptions(old) == [{"iccid": "8981100023456789012", "imei": "352099001761481", "roaming": False}]
    assert results.subscriptions({**old, "ServiceSubscriptions": []}) == []
    assert results.subscriptions({"BatteryLevel": 1}) == []


def test_a_device_name_is_neither_asked_for_nor_kept() -> None:
    """People give their tablets their own names."""
    assert "DeviceName" not in encode.QUERIES
    inventory = results.device_information({"DeviceName": "Taro's iPad", "OSVersion": "26.1"})
    assert "Taro" not in json.dumps(inventory.body)


def test_texts_reach_the_tablet_as_they_were_given() -> None:
    """Markup in a message stays text: property lists are built from objects."""
    message = "</string><key>x</key> & <![CDATA["
    sent = encode.encode(CommandHandout(uuid4(), Kind.LOST_MODE_ON, {"message": message, "phone_number": None}))
    assert loads(sent)["Command"] == {"RequestType": "EnableLostMode", "Message": message}


def test_a_wipe_keeps_the_data_plan_unless_told_otherwise() -> None:
    """The plan is the tablet's way back."""
    assert encode.command(Kind.WIPE, {})["PreserveDataPlan"] is True
    assert encode.command(Kind.WIPE, {"preserve_data_plan": False})["PreserveDataPlan"] is False


def test_a_profile_is_handed_over_unopened() -> None:
    """The artifact's bytes are the payload."""
    number = uuid4()
    sent = loads(encode.encode(ProfileHandout(number, "a", b"<plist/>")))
    assert sent == {
        "CommandUUID": str(number),
        "Command": {"RequestType": "InstallProfile", "Payload": b"<plist/>"},
    }
    removal = loads(encode.encode(ProfileHandout(number, "a", None)))["Command"]
    assert removal == {"RequestType": "RemoveProfile", "Identifier": "a"}


def test_what_is_kept_of_an_answer_is_nobodys() -> None:
    """Two tablets that get the same profile or command get lists that differ in the CommandUUID alone."""
    for make in (
        lambda each: ProfileHandout(each, "a.b", b"<profile/>" * 50),
        lambda each: ProfileHandout(each, "a.b", None),
        lambda each: CommandHandout(each, Kind.RESTART, {}),
        lambda each: CommandHandout(each, Kind.LOST_MODE_ON, {"message": "00000000-0000-0000-0000-000000000000"}),
    ):
        one, other = uuid4(), uuid4()
        lists = [plistlib.loads(encode.encode(make(each))) for each in (one, other, one)]
        assert [each.pop("CommandUUID") for each in lists] == [str(one), str(other), str(one)]
        assert lists[0] == lists[1] == lists[2]
    assert lists[0]["Command"]["Message"] == "00000000-0000-0000-0000-000000000000"
