"""The command channel through the door: order, results, NotNow, repeats, lost mode, epochs."""

from typing import Any


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
