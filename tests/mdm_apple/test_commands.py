"""The command channel through the door: order, results, NotNow, repeats, lost mode, epochs."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4


def test_an_idle_tablet_with_nothing_to_do_gets_an_empty_200(district: Any) -> None:
    """Nothing to send is 200 with Content-Length: 0, and the wake-up is over."""
    tablet = district.enrolled()
    district.make_due(tablet)
    answer = tablet.idle()
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "0")
    assert district.one("SELECT count(*) FROM wakeup") == 0


def test_a_command_goes_out_is_acknowledged_and_is_done(district: Any) -> None:
    """Queued, delivered when handed over, done when acknowledged, each on record."""
    tablet = district.enrolled()
    command_id = district.order(tablet, "restart")
    answer = tablet.idle()
    assert (answer.request_type, answer.command_id) == ("RestartDevice", str(command_id))
    assert district.state(command_id) == "delivered"
    assert tablet.report("Acknowledged", str(command_id)).body == b""
    assert district.state(command_id) == "done"
    assert district.one("SELECT count(*) FROM wakeup") == 0
    events = district.all("SELECT state FROM command_event WHERE command_id = %s ORDER BY id", command_id)
    assert [state for (state,) in events] == ["delivered", "done"]


def test_the_urgent_lane_goes_first_then_the_older(district: Any) -> None:
    """Lane, then age."""
    tablet = district.enrolled()
    older = district.order(tablet, "restart")
    newer = district.order(tablet, "inventory_apps")
    urgent = district.order(tablet, "lock_screen", lane=0, arguments='{"message": "M"}')
    answer = tablet.idle()
    order = []
    while answer.body:
        order.append(answer.command_id)
        answer = tablet.report("Acknowledged", answer.command_id)
    assert order == [str(urgent), str(older), str(newer)]


def test_a_not_now_is_passed_over_until_the_next_idle(district: Any) -> None:
    """It stays open, is not handed out again in this session, and the tablet is woken for it later, not at once."""
    tablet = district.enrolled()
    first, second = district.order(tablet, "inventory_apps"), district.order(tablet, "restart")
    assert tablet.idle().command_id == str(first)
    assert tablet.report("NotNow", str(first)).command_id == str(second)
    assert tablet.report("Acknowledged", str(second)).body == b""
    assert district.state(first) == "not_now"
    assert not district.is_due(tablet)
    wait = district.one("SELECT extract(epoch FROM due_at - now()) FROM wakeup")
    assert 600 < wait <= 900
    assert tablet.idle().command_id == str(first)
    assert tablet.report("NotNow", str(first)).body == b""
    assert 1200 < district.one("SELECT extract(epoch FROM due_at - now()) FROM wakeup") <= 1800


def test_all_that_was_put_off_is_done_in_one_later_session(district: Any) -> None:
    """An unlocked tablet works off everything it had put off, not one thing a session."""
    tablet = district.enrolled()
    first, second = district.order(tablet, "inventory_apps"), district.order(tablet, "restart")
    tablet.idle()
    tablet.report("NotNow", str(first))
    assert tablet.report("NotNow", str(second)).body == b""
    district.connection.execute("UPDATE command SET not_now_at = not_now_at - interval '15 minutes'")
    assert tablet.idle().command_id == str(first)
    assert tablet.report("Acknowledged", str(first)).command_id == str(second)
    assert tablet.report("NotNow", str(second)).body == b""


def test_a_lost_answer_is_made_good(district: Any) -> None:
    """Before the answer the same command is handed out again; after it, a repeated report changes nothing."""
    tablet = district.enrolled()
    command_id, after = district.order(tablet, "restart"), district.order(tablet, "inventory_apps")
    assert [tablet.idle().command_id for _ in range(2)] == [str(command_id)] * 2
    answers = [tablet.report("Acknowledged", str(command_id)).command_id for _ in range(3)]
    assert answers == [str(after)] * 3
    assert tablet.report("Error", str(command_id)).command_id == str(after)
    assert (district.state(command_id), district.state(after)) == ("done", "delivered")
    events = district.all("SELECT state FROM command_event WHERE command_id = %s AND state = 'done'", command_id)
    assert len(events) == 1


def test_an_unknown_command_still_gets_the_next_one(district: Any) -> None:
    """Whether it looks like one of ours or like nothing."""
    tablet = district.enrolled()
    command_id = district.order(tablet, "restart")
    for stray in (str(uuid4()), "not-a-uuid"):
        assert tablet.report("Acknowledged", stray).command_id == str(command_id)


def test_an_error_is_final_and_keeps_its_chain(district: Any) -> None:
    """Error and CommandFormatError both."""
    tablet = district.enrolled()
    first, second = district.order(tablet, "restart"), district.order(tablet, "inventory_apps")
    tablet.idle()
    chain = [{"ErrorCode": 12021, "ErrorDomain": "MCMDMErrorDomain", "USEnglishDescription": "No.", "x": b"?"}]
    assert tablet.report("Error", str(first), ErrorChain=chain).command_id == str(second)
    assert tablet.report("CommandFormatError", str(second)).body == b""
    assert (district.state(first), district.state(second)) == ("failed", "failed")
    assert district.one("SELECT error FROM command WHERE id = %s", first) == [
        {"ErrorCode": 12021, "ErrorDomain": "MCMDMErrorDomain", "USEnglishDescription": "No."}
    ]


def test_held_expired_future_and_old_commands_never_leave(district: Any) -> None:
    """Only what is open, due, and of this epoch; what comes later moves the wake-up there."""
    tablet = district.enrolled()
    now = datetime.now(UTC)
    district.order(tablet, "wipe", state="held", lane=0)
    district.order(tablet, "restart", expires_at=now - timedelta(seconds=1))
    district.order(tablet, "restart", epoch=0)
    later = district.order(tablet, "restart", not_before=now + timedelta(hours=1))
    assert tablet.idle().body == b""
    assert 3500 < district.one("SELECT extract(epoch FROM due_at - now()) FROM wakeup") <= 3600
    district.connection.execute("UPDATE command SET not_before = now() WHERE id = %s", (later,))
    assert tablet.idle().command_id == str(later)


def test_location_waits_for_lost_mode_and_lost_mode_for_the_tablet(district: Any) -> None:
    """The flag follows what the tablet acknowledged; a location stays in the command's result."""
    tablet = district.enrolled()
    where = district.order(tablet, "locate", lane=0)
    assert tablet.idle().body == b""
    lost = district.order(tablet, "lost_mode_on", lane=0, arguments='{"message": "Lost", "phone_number": "+81 3"}')
    answer = tablet.idle()
    assert answer.command == {"RequestType": "EnableLostMode", "Message": "Lost", "PhoneNumber": "+81 3"}
    assert district.enrollment(tablet, "lost_mode") is False
    assert tablet.report("Acknowledged", str(lost)).command_id == str(where)
    assert district.enrollment(tablet, "lost_mode") is True
    tablet.report("Acknowledged", str(where), Latitude=35.5, Longitude=139.5, Timestamp="2026-11-23T00:00:00Z")
    result = district.one("SELECT result FROM command WHERE id = %s", where)
    assert result == {"Latitude": 35.5, "Longitude": 139.5, "Timestamp": "2026-11-23T00:00:00Z"}
    found = district.order(tablet, "lost_mode_off", lane=0)
    tablet.idle()
    tablet.report("Acknowledged", str(found))
    assert district.enrollment(tablet, "lost_mode") is False


def test_a_late_acknowledgement_of_what_was_cancelled_still_counts_for_lost_mode(district: Any) -> None:
    """The command stays cancelled; the tablet is lost all the same, once."""
    tablet = district.enrolled()
    command_id = district.order(tablet, "lost_mode_on", lane=0)
    tablet.idle()
    district.connection.execute("UPDATE command SET state = 'cancelled', ended_at = now()")
    tablet.report("Acknowledged", str(command_id))
    assert (district.state(command_id), district.enrollment(tablet, "lost_mode")) == ("cancelled", True)
    district.connection.execute("UPDATE enrollment SET lost_mode = false")
    tablet.report("Acknowledged", str(command_id))
    assert district.enrollment(tablet, "lost_mode") is False


def test_inventory_becomes_a_report_and_facts(district: Any) -> None:
    """SIMs from the array, ICCIDs as digits, and a changed fact marks the tablet stale."""
    tablet = district.enrolled()
    district.connection.execute("UPDATE enrollment SET desired_stale = false")
    command_id = district.order(tablet, "inventory_device")
    assert "ServiceSubscriptions" in tablet.idle().command["Queries"]
    responses = {
        "IsSupervised": True,
        "OSVersion": "26.2",
        "ProductName": "iPad13,18",
        "ICCID": "old",
        "BatteryLevel": 0.5,
        "ServiceSubscriptions": [
            {"Slot": "CTSubscriptionSlotOne", "ICCID": "8981 1000 2345 6789 012", "IMEI": "35 209900 176148 1"},
            {"Slot": "CTSubscriptionSlotTwo"},
        ],
    }
    tablet.report("Acknowledged", str(command_id), QueryResponses=responses)
    body = district.one("SELECT body FROM device_report WHERE kind = 'inventory_device'")
    assert body["subscriptions"] == [
        {"slot": "CTSubscriptionSlotOne", "iccid": "8981100023456789012", "imei": "352099001761481"},
        {"slot": "CTSubscriptionSlotTwo"},
    ]
    assert body["responses"]["BatteryLevel"] == 0.5
    row = district.all("SELECT supervised, os_version, desired_stale FROM enrollment")[0]
    assert row == (True, "26.2", True)


def test_an_answer_to_another_question_is_not_taken_for_a_report(district: Any) -> None:
    """A tablet cannot slip facts in with the acknowledgement of something else."""
    tablet = district.enrolled()
    command_id = district.order(tablet, "restart")
    tablet.idle()
    tablet.report("Acknowledged", str(command_id), QueryResponses={"IsSupervised": True})
    assert district.state(command_id) == "done"
    assert district.one("SELECT count(*) FROM device_report") == 0
    assert district.enrollment(tablet, "supervised") is None


def test_a_command_that_cannot_be_encoded_fails_and_the_next_goes_out(district: Any) -> None:
    """One bad row does not stand in the way of a lock."""
    tablet = district.enrolled()
    broken = district.order(tablet, "renew_identity", arguments='{"profile": "AAAA"}')
    after = district.order(tablet, "restart")
    assert tablet.idle().command_id == str(after)
    assert district.state(broken) == "failed"


def test_last_seen_is_written_behind(district: Any) -> None:
    """Within about a second, by the beat."""
    tablet = district.enrolled()
    assert district.enrollment(tablet, "last_seen_at") is None
    tablet.idle()
    deadline = time.monotonic() + 10
    while district.enrollment(tablet, "last_seen_at") is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert district.enrollment(tablet, "last_seen_at") is not None


def test_many_tablets_at_once_each_get_their_own(district: Any) -> None:
    """Check-ins that share a statement do not share answers."""
    tablets = [district.enrolled() for _ in range(12)]
    expected = {tablet.udid: str(district.order(tablet, "restart")) for tablet in tablets[::2]}
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda tablet: (tablet.udid, tablet.idle()), tablets * 3))
    assert {udid: answer.command_id for udid, answer in answers if answer.body} == expected
    assert {answer.status for _, answer in answers} == {200}
