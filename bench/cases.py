"""Lost tablets are reported while a rollout to the whole fleet runs at its limits: how soon each is locked.

The scene of `bench.urgent`. The desk opens cases (`lost`) over the operator API at random moments, each for another
tablet, by the number on it. `case_to_lost_mode_…` counts from the moment at which the case says it was opened, which
the API writes before it accepts, until the tablet has carried out EnableLostMode, by its own journal, and
`case_call_to_lost_mode_…` from the call, before the API has begun. In the end each case must say that it is `secured`.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bench.house import House
from bench.push import until
from bench.urgent import TABLETS, Scene, at_moments, chances, locked, percentile, rolling_out, spread

CASES = 200
SECONDS = 60.0
_GRACE_S = 30.0


@dataclass(frozen=True, slots=True)
class _Opened:
    """A case; moments in seconds since the epoch."""

    number: int
    serial: str
    called: float
    opened: float
    accepted: float


def measure(
    *, tablets: int = TABLETS, cases: int = CASES, seconds: float = SECONDS, seed: int | None = None
) -> dict[str, Any]:
    """Return seconds to the lock, and how much of the rollout went on meanwhile; RuntimeError when it had ended."""
    chance, seed = chances(seed)
    with rolling_out(tablets) as scene:
        lost = chance.sample([tablet.serial for tablet in scene.district.tablets], cases)
        before, began = scene.fleet.pushes(), time.time()
        opened = _open(scene.house, lost, [chance.uniform(0, seconds) for _ in lost])
        going_on = scene.pushes_per_s(began, before)
        if scene.fleet.count("InstallProfile") == tablets:
            raise RuntimeError("the rollout had ended before the last case was opened")
        executed = locked(scene.fleet, lost)
        _must_say_so(scene, opened)
        return _judged(opened, executed) | {"case_rollout_pushes_per_s": going_on, "case_seed": seed}


def _open(house: House, serials: Sequence[str], moments: Sequence[float]) -> list[_Opened]:
    """Open a case for each tablet at its moment (seconds from now)."""
    client = house.client()

    def one(place: int) -> _Opened:
        call = {"kind": "lost", "control_number": serials[place], "caller": "guardian", "verified": "call_back"}
        called = time.time()
        case = client.post("/api/v1/cases", call, once=True)
        opened = datetime.fromisoformat(case["opened_at"]).timestamp()
        return _Opened(case["id"], serials[place], called, opened, time.time())

    return at_moments(moments, one)


def _must_say_so(scene: Scene, opened: Sequence[_Opened]) -> None:
    """Wait until each case says of itself that its tablet is locked; RuntimeError when one does not."""
    client = scene.house.client()
    left = {each.number for each in opened}

    def secured() -> int:
        left.difference_update({n for n in left if client.get(f"/api/v1/cases/{n}")["state"] == "secured"})
        return len(opened) - len(left)

    until(secured, len(opened), longest=_GRACE_S)


def _judged(opened: Sequence[_Opened], executed: dict[str, float]) -> dict[str, Any]:
    done = [executed[each.serial] - each.opened for each in opened]
    from_call = [executed[each.serial] - each.called for each in opened]
    accepted = [each.accepted - each.called for each in opened]
    for whole, answer in sorted(zip(from_call, accepted, strict=True), reverse=True)[:5]:
        print(f"  accepted {answer:.2f} s, locked {whole:.2f} s after the call", file=sys.stderr)
    return {
        "case_to_lost_mode_p95_s": percentile(done, 0.95),
        "case_to_lost_mode_p99_s": percentile(done, 0.99),
        **spread("case_to_lost_mode", done),
        "case_call_to_lost_mode_p95_s": percentile(from_call, 0.95),
        **spread("case_accepted", accepted),
        "cases": len(opened),
    }


if __name__ == "__main__":
    print(json.dumps(measure()))
