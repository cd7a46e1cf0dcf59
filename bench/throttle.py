"""Whether limits hold to the last push, and whether they are used up, with four push workers at once. Prints ratios.

A house as processes (durable PostgreSQL, Valkey, operators' app, beat) with four `tabane worker push`, a seeded
district of which every tablet is due, most in bulk and some in the normal lane, and a simulated push service in a
process of its own that takes 5 to 60 ms to answer. Its journal is the only witness. Limits are set through the operator
API while the workers run, in two phases:
- the fleet's limit binds: 150 pushes per second, burst 300, and one school is held to 1 per second;
- the schools' limits bind: each has a rate of its own from 2 to 7 per second, every fourth a limit in bytes besides.

`throttle_max_over_limit` is the most that any window of any bucket (fleet, provider, each school, each school's bytes)
held in either phase, divided by rate * window + burst (in bytes: or one payload, if that is more than the burst).
`throttle_utilisation` is the smaller of: pushes of the fleet in the first phase, and pushes or bytes of all schools in
the second, divided by what the limits allowed in that time. The first seconds of a phase are left out of it: there the
bursts go out, and would make it look better. Work waits in every school all the time, and in the bulk lane: when the
normal lane runs out, bulk pauses by design until half of a burst is free again for what is more urgent.
`throttle_refused_per_push` is the churn: tablets leased and given back for one that was pushed.
"""

import asyncio
import json
import multiprocessing
import random
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, cast

import psycopg
import uvloop

from bench.house import House, running
from bench.push import NO_LIMITS
from bench.seeding import District, make_fleet, seed
from mdm import jobs
from mdm.devices.models import Lane
from simulator.__main__ import read_pki, write_pki
from simulator.clouds.apns import ApnsCloud

TABLETS = 15_000
SCHOOLS = 40
WORKERS = 4
SECONDS = 25.0
PAYLOAD = 100_000
_LEFT_OUT_S = 5.0
"""The bursts, the normal lane's few tablets, and bulk's pause after them."""
_FLEET = (150.0, 300)


@dataclass(frozen=True, slots=True)
class Sent:
    """One push in the journal."""

    at: float
    school: int
    size: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """A limit and what went through it; `size` is what one push costs when it is not counted as one."""

    rate: float
    burst: float
    sent: Sequence[tuple[float, float]] = field(repr=False)


def measure(
    *, tablets: int = TABLETS, schools: int = SCHOOLS, workers: int = WORKERS, seconds: float = SECONDS
) -> dict[str, Any]:
    """Return both ratios and the churn, with what lies behind them."""
    district = make_fleet(tablets, schools=schools, certified=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        with _push_service(folder) as (settings, ask):
            house = House(folder, settings=settings | NO_LIMITS)
            house.workers = {f"worker-push-{number}": ("push",) for number in range(workers)}
            house.seed = lambda url: _seed(url, district, read_pki(folder).topic)
            with running(house):
                phases = _run(house, schools, seconds)
                used = {each: round(spent, 1) for each, spent in house.cpu_seconds().items() if spent >= 0.1}
            journal = _journal(ask(), district)
            refused = _refused(house)
    return _judged(phases, journal, schools) | {
        "throttle_refused_per_push": round(refused / len(journal), 3),
        "throttle_pushes": len(journal),
        "throttle_cpu_s": used,
    }


def worst(bucket: Bucket) -> float:
    """Return the most that a window held, as a share of what it may: rate * its length + burst.

    A share of r is reached when some window holds more than r times that; the search is over r, in one walk each.
    """
    low, high = 0.0, 100.0
    while high - low > 1e-4:
        share = (low + high) / 2
        low, high = (share, high) if _reached(bucket, share) else (low, share)
    return high


def _reached(bucket: Bucket, share: float) -> bool:
    total, best = 0.0, float("-inf")
    for at, cost in bucket.sent:
        paid = share * bucket.rate * at
        best = max(best, paid - total)  # a window may begin with this push
        total += cost
        if total - paid + best > share * bucket.burst:
            return True
    return False


def _judged(phases: Sequence["_Phase"], journal: Sequence[Sent], schools: int) -> dict[str, Any]:
    over: dict[str, float] = {}
    for phase in phases:
        for name, bucket in phase.buckets(journal, schools).items():
            over[f"{phase.name} {name}"] = worst(bucket)
    used = {phase.name: phase.utilisation(journal, schools) for phase in phases}
    most = max(over, key=lambda name: over[name])
    return {
        "throttle_max_over_limit": round(over[most], 3),
        "throttle_utilisation": round(min(used.values()), 3),
        "throttle_worst_bucket": most,
        **{f"throttle_utilisation_{name}": round(share, 3) for name, share in used.items()},
    }


@dataclass(frozen=True, slots=True)
class _Phase:
    """Limits that held from one moment to another, by the push service's clock."""

    name: str
    begin: float
    end: float
    fleet: tuple[float, int] | None
    schools: Mapping[int, tuple[float, int]]
    bytes: Mapping[int, tuple[float, int]]

    def buckets(self, journal: Sequence[Sent], schools: int) -> dict[str, Bucket]:
        """Return each limit with the pushes of this phase."""
        mine = [each for each in journal if self.begin <= each.at < self.end]
        found: dict[str, Bucket] = {}
        if self.fleet is not None:
            found["fleet"] = Bucket(*self.fleet, [(each.at, 1.0) for each in mine])
        for school in range(schools):
            here = [each for each in mine if each.school == school]
            if school in self.schools:
                found[f"school {school}"] = Bucket(*self.schools[school], [(each.at, 1.0) for each in here])
            if school in self.bytes:
                rate, burst = self.bytes[school]
                found[f"bytes {school}"] = Bucket(rate, max(burst, PAYLOAD), [(each.at, each.size) for each in here])
        return found

    def utilisation(self, journal: Sequence[Sent], schools: int) -> float:
        """Return the part that was used of what the binding limits allowed, the first bursts left aside."""
        buckets = self.buckets(journal, schools)
        if self.fleet is not None:
            binding = [buckets["fleet"]]
        else:
            binding = [buckets[f"bytes {one}" if one in self.bytes else f"school {one}"] for one in range(schools)]
        begin = self.begin + _LEFT_OUT_S
        shares = [
            sum(cost for at, cost in bucket.sent if at >= begin) / (bucket.rate * (self.end - begin))
            for bucket in binding
        ]
        return sum(shares) / len(shares)


def _run(house: House, schools: int, seconds: float) -> list[_Phase]:
    """Have both phases run; return them by the push service's clock, which is this machine's monotonic one."""
    client = house.client()
    slow = {0: (1.0, 3)}
    own = {school: (2.0 + school % 6, 6 + 2 * (school % 6)) for school in range(schools)}
    weights = dict.fromkeys(range(0, schools, 4), (PAYLOAD * 1.5, 4 * PAYLOAD))
    _set(client, "fleet", *_FLEET)
    _set(client, "provider.apple", _FLEET[0] * 2, _FLEET[1])
    _set(client, "school", *slow[0], school="B00")
    time.sleep(3)  # nothing is due yet: the limits must be there before the first push
    _make_due(house)
    first = time.monotonic()
    time.sleep(seconds)
    middle = time.monotonic()
    for school, (rate, burst) in own.items():
        _set(client, "school", rate, burst, school=f"B{school:02}")
    for school, (rate, burst) in weights.items():
        value = {"bands": {"else": rate}, "burst": burst}
        client.put("/api/v1/limits/school.bytes", {"value": value, "school": f"B{school:02}"})
    _set(client, "provider.apple", 0, 1)
    _set(client, "fleet", 0, 1)
    since = time.monotonic() + 2
    time.sleep(seconds + 2)
    end = time.monotonic()
    waiting = _waiting(house)
    if min(waiting.values()) == 0 or len(waiting) < schools:
        raise RuntimeError("a school had nothing left to push: the figures would mean nothing")
    return [
        _Phase("fleet", first, middle, _FLEET, slow, {}),
        _Phase("schools", since, end, None, own, weights),
    ]


def _set(client: Any, name: str, rate: float, burst: int, *, school: str | None = None) -> None:
    client.put(f"/api/v1/limits/{name}", {"value": {"per_s": rate, "burst": burst}, "school": school})


def _seed(url: str, district: District, topic: str) -> None:
    seed(url, district, topic=topic)


def _make_due(house: House) -> None:
    with psycopg.connect(house.database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO wakeup (device_id, lane, due_at, payload_bytes)"
            " SELECT id, CASE WHEN id %% 49 = 0 THEN 1 ELSE 2 END, now(), %s FROM device ORDER BY id",
            (PAYLOAD,),
        )
        connection.execute("ANALYZE wakeup")
    for lane in [int(Lane.NORMAL), int(Lane.BULK)] * len(house.workers):  # as whoever makes tablets due does
        jobs.publisher().send_task(jobs.Job.DISPATCH.value, kwargs={"lane": lane}, queue=jobs.QUEUES[jobs.Job.DISPATCH])


def _waiting(house: House) -> dict[int, int]:
    with psycopg.connect(house.database_url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT school_id, count(*) FILTER (WHERE attempts = 0) FROM wakeup GROUP BY 1"
        ).fetchall()
        return dict(rows)


def _refused(house: House) -> int:
    """Count the tablets that workers have leased and given back, from their logs."""
    refused = 0
    for name in house.workers:
        for line in house.log(name).read_text().splitlines():
            if '"drained"' in line:
                refused += json.loads(line).get("counts", {}).get("throttled", 0)
    return refused


def _journal(entries: Sequence[tuple[float, str]], district: District) -> list[Sent]:
    school = {tablet.token.hex(): tablet.school for tablet in district.tablets}
    return [Sent(at, school[token], PAYLOAD) for at, token in sorted(entries)]


@contextmanager
def _push_service(folder: Path) -> Iterator[tuple[dict[str, str], Any]]:
    """Run the simulated push service; yields settings that point at it and a function that returns its journal."""
    write_pki(folder)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, folder), daemon=True)
    process.start()
    theirs.close()  # else a service that fell over would be waited for
    settings = {
        "TABANE_APPLE__APNS_URL": cast("str", ours.recv()),
        "TABANE_APPLE__PUSH_CERTIFICATE": str(folder / "push-bundle.pem"),
        "TABANE_APPLE__APNS_CA_FILE": str(folder / "authority.pem"),
    }

    def journal() -> list[tuple[float, str]]:
        ours.send("journal")
        return cast("list[tuple[float, str]]", ours.recv())

    try:
        yield settings, journal
    finally:
        ours.send("stop")
        process.join(10)
        process.kill()


def _serve(pipe: Pipe, folder: Path) -> None:
    async def run() -> None:
        cloud = ApnsCloud(read_pki(folder))
        cloud.script.latency = lambda: random.uniform(0.005, 0.06)  # noqa: S311 - how long a far service takes
        await cloud.start()
        pipe.send(cloud.url)
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, pipe.recv) == "journal":
            pipe.send([(entry.monotonic, entry.token) for entry in cloud.journal if entry.delivered])
        await cloud.stop()

    uvloop.run(run())


if __name__ == "__main__":
    print(json.dumps(measure()))
