"""Takes tablets off their school's places for big downloads once they have what they were woken for.

Nobody tells: the tablets' door does not know of places. So the rows are looked at, once a second and process.
"""

import threading
import time
from typing import Final

from mdm import db
from mdm.devices import turns
from workers.throttle import Throttle

EVERY_S: Final = 1.0
_lock = threading.Lock()
_looked_at: float = float("-inf")


def tidy(throttle: Throttle) -> None:
    """Give back the places of tablets that are through; does nothing if it was done within the last second."""
    global _looked_at  # noqa: PLW0603 - one look a second for all lanes of the process
    with _lock:
        if time.monotonic() - _looked_at < EVERY_S:
            return
        _looked_at = time.monotonic()
    held = [(school, device) for school, devices in throttle.holders().items() for device in devices]
    if not held:
        return
    with db.transaction() as session:
        busy = turns.fetching(
            session, [device for _, device in held], [throttle.big_from(school) for school, _ in held]
        )
    throttle.give_back([(school, device) for school, device in held if device not in busy])
