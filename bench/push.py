"""A rollout to the whole fleet, from the call that starts it to the last tablet's word, against the floor.

15,000 enrolled tablets (`bench.seeding`), played by the simulator in one process of its own. A house as processes:
durable PostgreSQL, Valkey, doors, workers, beat. Limits are off, one wave. The clock starts with the call of the
operator API. It ends when the server counts all as installed, never before the last tablet's own journal says so.

The floor is what the same simulator process needs for as many requests, with the same bodies over as many connections,
to a handler that reads them and answers 200 (`bench.doors`): nothing is pushed, stored or handed out there. Of two
runs the faster counts.

`push_wall_vs_floor`: tablets sign each message, as our enrolment profile tells them to; the simulator pays for it on
both sides. `…_clientcert` is the stricter one: a proxy vouches for them (RFC 9440), and signing hides nothing.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from bench import doors
from bench.house import House, running
from bench.seeding import District, make_fleet, seed
from bench.tablets import Line, Tablets

TABLETS = 15_000
CONNECTIONS = 256
DOORS = 1
POLICY = {"version": 1, "name": "bench", "layer": "fleet", "usb": {"external_storage": "deny"}}
ROLLOUT: dict[str, Any] = {
    "policy": POLICY["name"],
    "target": "fleet",
    "waves": {"kind": "at_once"},
    "schedule": {"obey_class_hours": False, "avoid_marks": False},
    "thresholds": {"proof": False},
}
"""All tablets at once, at any hour, and the end as soon as the last has answered."""
NO_LIMITS = {f"TABANE_THROTTLE__{name}_PER_S": "0" for name in ("FLEET", "PROVIDER", "SCHOOL", "DEVICE", "URGENT")}
_LONGEST_S = 600.0
_INSTALLED = "SELECT count(*) FROM enrollment WHERE installed_manifest = desired_manifest"


def measure(*, tablets: int = TABLETS, connections: int = CONNECTIONS, door_processes: int = DOORS) -> dict[str, Any]:
    """Return both ratios with what lies behind them; `…_cpu_s` is the processor time of each part."""
    district = make_fleet(tablets)
    signed = _compared(district, Line(connections, signs=True), door_processes)
    vouched = _compared(district, Line(connections), door_processes)
    ratios = {"push_wall_vs_floor": signed.pop("ratio"), "push_wall_vs_floor_clientcert": vouched.pop("ratio")}
    named = {f"push_{name}": value for name, value in signed.items()}
    return ratios | named | {f"push_{name}_clientcert": value for name, value in vouched.items()}


def _compared(district: District, line: Line, doors: int) -> dict[str, Any]:
    tablets = len(district.tablets)
    with populated(district, line, doors=doors, settings=NO_LIMITS) as (house, fleet):
        before = house.cpu_seconds() | {"simulator": fleet.cpu_seconds()}
        wall = _roll_out(house, fleet, tablets)
        after = house.cpu_seconds() | {"simulator": fleet.cpu_seconds()}
        requests, pushes, said = fleet.requests(), fleet.pushes(), fleet.said()
    used = {name: round(seconds - before[name], 1) for name, seconds in after.items()}
    floor = _floor(district, line, said, requests)
    return {
        "ratio": round(wall / floor, 2),
        "wall_s": round(wall, 1),
        "floor_s": round(floor, 1),
        "tablets_per_s": round(tablets / wall),
        "requests_per_tablet": round(requests / tablets, 2),
        "pushes_per_tablet": round(pushes / tablets, 3),
        "cpu_s": {name: seconds for name, seconds in used.items() if seconds >= 0.1},
    }


@contextmanager
def populated(
    district: District, line: Line, *, doors: int = DOORS, settings: dict[str, str] | None = None
) -> Iterator[tuple[House, Tablets]]:
    """Have a house with this district in it, and its pretended tablets, run for a `with` block.

    Every tablet has been heard once, so that the door is one that has been running for a while.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        fleet = Tablets(folder / "push", line)
        try:
            house = House(folder, doors=doors, settings=fleet.settings() | (settings or {}))
            house.seed = lambda url: seed(url, district, topic=fleet.topic)
            with running(house):
                fleet.enlist(district, house.door_url)
                fleet.check_in([tablet.serial for tablet in district.tablets])
                fleet.forget()
                yield house, fleet
        finally:
            fleet.stop()


def until(condition: Callable[[], int], wanted: int, *, every: float = 0.1, longest: float = _LONGEST_S) -> None:
    """Wait until a count has reached `wanted`; RuntimeError when that takes too long."""
    deadline = time.monotonic() + longest
    while (found := condition()) < wanted:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{found} of {wanted} after {longest:.0f} s")
        time.sleep(every)


def _roll_out(house: House, fleet: Tablets, tablets: int) -> float:
    client = house.client()
    client.post("/api/v1/policies", {"documents": [POLICY]})
    began = time.time()
    rollout = client.post("/api/v1/rollouts", ROLLOUT)["id"]
    print(f"  accepted after {time.time() - began:.2f} s", file=sys.stderr)
    until(lambda: fleet.count("InstallProfile"), tablets)
    with psycopg.connect(house.database_url, autocommit=True) as connection:  # cheaper than to ask the API every time
        until(lambda: connection.execute(_INSTALLED).fetchall()[0][0], tablets)
    until(lambda: int(client.get(f"/api/v1/rollouts/{rollout}")["counts"]["installed"]), tablets)
    counted = time.time()
    installed = sorted(each.at for each in fleet.executed("InstallProfile"))
    pushed = [each.at for each in fleet.pushed()]
    for what, moments in (("pushed", pushed), ("installed", installed)):
        print(f"  {what} from {moments[0] - began:.2f} s to {moments[-1] - began:.2f} s", file=sys.stderr)
    client.close()
    return max(counted, installed[-1]) - began


def _floor(district: District, line: Line, said: list[bytes], requests: int) -> float:
    """Seconds that the same tablets need for as many requests to the empty handler."""
    with tempfile.TemporaryDirectory() as folder:
        fleet = Tablets(Path(folder), line)
        empty, port = doors.start("empty")
        try:
            fleet.enlist(district, f"http://127.0.0.1:{port}")
            seconds = min(fleet.rehearse(f"http://127.0.0.1:{port}", said) for _ in range(2))
            return seconds * requests / (len(said) * len(district.tablets))
        finally:
            fleet.stop()
            empty.terminate()
            empty.join(10)


if __name__ == "__main__":
    print(json.dumps(measure()))
