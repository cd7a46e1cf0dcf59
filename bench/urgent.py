"""Lost tablets are locked while a rollout to the whole fleet runs at its limits: how long each takes. Prints seconds.

The house and the fleet of `bench.push`, but with the limits that the settings begin with. Once pushes flow, orders for
lost mode come over the operator API at random moments to random tablets, some of which are just in conversation. Each
clock starts with the call, before the API has accepted. It stops for `urgent_p99_s` when the push service has taken the
push (or the tablet, talking already, the order) and for `urgent_executed_p99_s` when the tablet has carried it out, by
their own journals.
"""

import json
import random
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

from bench.house import House
from bench.push import POLICY, ROLLOUT, populated, until
from bench.seeding import District, make_fleet
from bench.tablets import Line, Tablets

TABLETS = 15_000
ORDERS = 200
SECONDS = 60.0
_OPERATORS = 8
_GRACE_S = 30.0
_NO_BUDGET = (
    "INSERT INTO safeguard_threshold (name, value, set_by, reason) SELECT name, 15000, 'host', 'a benchmark'"
    " FROM unnest(ARRAY['b.operator.hour', 'b.fleet.hour', 'acts.operator.hour', 'acts.fleet.hour']) AS name"
)
"""More tablets are lost here than anybody may lock in an hour."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Scene:
    """A house whose rollout to the whole fleet is under way."""

    house: House
    fleet: Tablets
    district: District

    def pushes_per_s(self, since: float, before: int) -> float:
        """Return how fast pushes have flowed since a moment (seconds since the epoch) with so many."""
        return round((self.fleet.pushes() - before) / (time.time() - since), 1)


@dataclass(frozen=True, slots=True)
class _Order:
    serial: str
    called: float
    accepted: float


def measure(
    *, tablets: int = TABLETS, orders: int = ORDERS, seconds: float = SECONDS, seed: int | None = None
) -> dict[str, Any]:
    """Return both p99 with the medians and worst, and how much of the rollout went on meanwhile."""
    chance, seed = chances(seed)
    with rolling_out(tablets) as scene:
        lost = chance.sample([tablet.serial for tablet in scene.district.tablets], orders)
        before, began = scene.fleet.pushes(), time.time()
        placed = _place(scene.house, lost, [chance.uniform(0, seconds) for _ in lost])
        going_on = scene.pushes_per_s(began, before)
        return _judged(scene.fleet, placed) | {"urgent_rollout_pushes_per_s": going_on, "urgent_seed": seed}


def chances(seed: int | None) -> tuple[random.Random, int]:
    """Return a source of chance and its seed, a fresh one where none is given, and say it."""
    seed = random.SystemRandom().randrange(2**32) if seed is None else seed
    print(f"  seed {seed}", file=sys.stderr)
    return random.Random(seed), seed  # noqa: S311 - which tablets are lost is no secret


@contextmanager
def rolling_out(tablets: int) -> Iterator[Scene]:
    """Have a house for a `with` block that brings one policy to so many tablets, within the limits of the settings.

    It begins when pushes flow.
    """
    district = make_fleet(tablets)
    with populated(district, Line()) as (house, fleet):
        with psycopg.connect(house.database_url, autocommit=True) as connection:
            connection.execute(_NO_BUDGET)
        client = house.client()
        client.post("/api/v1/policies", {"documents": [POLICY]})
        client.post("/api/v1/rollouts", ROLLOUT)
        until(fleet.pushes, min(400, tablets // 4))
        yield Scene(house, fleet, district)


def at_moments(moments: Sequence[float], act: Callable[[int], _T]) -> list[_T]:
    """Call `act(place)` for each moment (seconds from now), as several operators would; return what they returned."""
    began = time.time()

    def one(place: int) -> _T:
        threading.Event().wait(max(0.0, began + moments[place] - time.time()))
        return act(place)

    with ThreadPoolExecutor(_OPERATORS) as operators:
        return list(operators.map(one, sorted(range(len(moments)), key=moments.__getitem__)))


def locked(fleet: Tablets, serials: Sequence[str]) -> dict[str, float]:
    """Wait until each has carried out lost mode and return when, by its own journal; RuntimeError if one has not."""
    deadline = time.monotonic() + _GRACE_S
    while fleet.count("EnableLostMode") < len(serials) and time.monotonic() < deadline:
        time.sleep(0.1)
    executed = {each.serial: each.at for each in fleet.executed("EnableLostMode")}
    missing = [serial for serial in serials if serial not in executed]
    if missing:
        raise RuntimeError(f"{len(missing)} of {len(serials)} lost tablets were not locked in {_GRACE_S:.0f} s")
    return executed


def _place(house: House, serials: Sequence[str], moments: Sequence[float]) -> list[_Order]:
    """Call the API for each tablet at its moment (seconds from now); return the orders."""
    client = house.client()
    ids = {each["serial"]: each["id"] for each in client.each("/api/v1/devices")}

    def one(place: int) -> _Order:
        called = time.time()
        body = {"kind": "lock", "arguments": {"message": "Please return to the school"}}
        client.post(f"/api/v1/devices/{ids[serials[place]]}/commands", body, once=True)
        return _Order(serials[place], called, time.time())

    return at_moments(moments, one)


def _judged(fleet: Tablets, placed: Sequence[_Order]) -> dict[str, Any]:
    executed = locked(fleet, [order.serial for order in placed])
    pushes: defaultdict[str, list[float]] = defaultdict(list)
    for push in fleet.pushed():
        pushes[push.serial].append(push.at)
    sent = [_first(pushes[each.serial], each.called, executed[each.serial]) - each.called for each in placed]
    done = [executed[each.serial] - each.called for each in placed]
    accepted = [each.accepted - each.called for each in placed]
    stages = sorted(zip(done, sent, accepted, strict=True), reverse=True)
    for executed_s, sent_s, accepted_s in stages[:5]:
        print(f"  accepted {accepted_s:.2f} s, sent {sent_s:.2f} s, executed {executed_s:.2f} s", file=sys.stderr)
    return {
        "urgent_p99_s": percentile(sent, 0.99),
        "urgent_executed_p99_s": percentile(done, 0.99),
        **spread("urgent", sent),
        **spread("urgent_executed", done),
        **spread("urgent_accepted", accepted),
    }


def _first(pushes: Sequence[float], called: float, executed: float) -> float:
    """When the tablet was reached: by a push after the call, or by the conversation that it was in."""
    return min([at for at in pushes if at >= called] + [executed])


def spread(name: str, seconds: Sequence[float]) -> Mapping[str, float]:
    """Return median and worst under names that begin with `name`."""
    return {f"{name}_p50_s": percentile(seconds, 0.5), f"{name}_max_s": round(max(seconds), 3)}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that is not below `share` of all."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)


if __name__ == "__main__":
    print(json.dumps(measure()))
