"""A tablet asks while another transaction holds its row."""

import threading
from typing import Any

import psycopg


def test_a_tablet_whose_row_is_held_still_gets_its_profile(database: str, district: Any) -> None:
    """It was just pushed and the push is being noted: it waits for that and gets its work, not an empty answer."""
    tablet = district.enrolled()
    district.drop_first_questions(tablet)
    district.desire(tablet, {"tabane.policy.usb": b"<plist/>"})
    with psycopg.connect(database) as other:
        other.execute("UPDATE enrollment SET last_push_at = now() WHERE device_id = %s", [tablet.device_id])
        threading.Timer(0.3, other.commit).start()
        answer = tablet.idle()
    assert answer.request_type == "InstallProfile"
