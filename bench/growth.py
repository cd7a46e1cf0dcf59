"""What a tablet costs in a fleet ten times as large: 150,000 rows against 15,000, in one run. Prints ratios.

For each size a house with a seeded district of its own. Time per tablet of
- targets: from the call that starts a rollout to the fleet until the last tablet is due a wake-up,
- dispatch: pushes by the push worker, from lease to settle, to the simulated push service; nobody answers them,
- settlement: conversations through the exchange, from the first check-in to the proof, for as many tablets in both
  sizes, spread over the whole fleet,
- advance: one look of the worker at how far the rollout is.
`growth_150k_vs_15k` is the worst of the four ratios, `growth_worker_memory` the worst ratio of the workers' peak RSS.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import uvloop

from bench.house import House, running
from bench.push import NO_LIMITS, POLICY, ROLLOUT, until
from bench.seeding import District, Tablet, make_fleet, seed
from bench.tablets import Line, Tablets
from mdm import db
from mdm.commands import exchange
from mdm.commands.exchange import Exchange
from mdm.commands.profile_work import ProfileHandout
from mdm.commands.reports import CommandHandout, Report, Said
from profiles import rollouts

SMALL = 15_000
LARGE = 150_000
SAMPLE = 5_000
_TALKING = 64
_TOLD = "SELECT count(*) FROM rollout_wave WHERE released_at IS NOT NULL"
_WORKERS = {"worker-push": ("push",), "worker-sweep": ("sweep", "sync")}


def measure(*, small: int = SMALL, large: int = LARGE, sample: int = SAMPLE) -> dict[str, Any]:
    """Return both ratios, and microseconds per tablet of each step in both sizes."""
    costs, peaks = zip(*(_costs(size, sample) for size in (small, large)), strict=True)
    ratios = {step: costs[1][step] / costs[0][step] for step in costs[0]}
    found: dict[str, Any] = {
        "growth_150k_vs_15k": round(max(ratios.values()), 2),
        "growth_worker_memory": round(max(peaks[1][name] / peaks[0][name] for name in _WORKERS), 2),
    }
    found |= {f"growth_{step}": round(ratio, 2) for step, ratio in ratios.items()}
    for size, cost, peak in zip((small, large), costs, peaks, strict=True):
        found[f"growth_us_per_tablet_{size}"] = {step: round(1e6 * seconds, 1) for step, seconds in cost.items()}
        found[f"growth_peak_mb_{size}"] = {name: round(kilobytes / 1024) for name, kilobytes in peak.items()}
    return found


def _costs(size: int, sample: int) -> tuple[dict[str, float], dict[str, int]]:
    """Return seconds per tablet of each step, and the peak RSS of each process in kilobytes."""
    print(f"  {size} tablets", file=sys.stderr)
    district = make_fleet(size, certified=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        cloud = Tablets(folder / "push", Line())
        try:
            house = House(folder, settings=cloud.settings() | NO_LIMITS, workers=dict(_WORKERS))
            house.seed = lambda url: seed(url, district, topic=cloud.topic)
            with running(house):
                costs = _steps(house, cloud, district, sample)
                return costs, {name: house.peak_kilobytes(name) for name in ("web", *_WORKERS)}
        finally:
            cloud.stop()


def _steps(house: House, cloud: Tablets, district: District, sample: int) -> dict[str, float]:
    size = len(district.tablets)
    house.kill("worker-push")
    targets = _start_rollout(house, size)
    house.launch("worker-push")
    until(cloud.pushes, size)
    pushed = [each.at for each in cloud.pushed()]
    step = size // sample
    settlement = uvloop.run(_converse(district.tablets[::step][:sample]))
    return {
        "targets": targets / size,
        "dispatch": (pushed[-1] - pushed[0]) / size,
        "settlement": settlement / sample,
        "advance": _advance() / size,
    }


def _start_rollout(house: House, size: int) -> float:
    client = house.client()
    client.post("/api/v1/policies", {"documents": [POLICY]})
    began = time.monotonic()
    client.post("/api/v1/rollouts", ROLLOUT)
    with psycopg.connect(house.database_url, autocommit=True) as connection:
        # Cheaper than to count, which would take longer the more there are.
        until(lambda: connection.execute(_TOLD).fetchall()[0][0], 1)
        took = time.monotonic() - began
        until(lambda: connection.execute("SELECT count(*) FROM wakeup").fetchall()[0][0], size)
    return took


async def _converse(tablets: Sequence[Tablet]) -> float:
    """Have these tablets talk until the server has nothing more for them; return seconds for all."""
    desk = exchange.build()
    await desk.open()
    waiting = iter(tablets)

    async def talk() -> None:
        for tablet in waiting:
            await _conversation(desk, tablet)

    try:
        began = time.monotonic()
        await asyncio.gather(*(talk() for _ in range(_TALKING)))
        return time.monotonic() - began
    finally:
        await desk.close()


async def _conversation(desk: Exchange, tablet: Tablet) -> None:
    report = Report(tablet.thumbprint, tablet.udid, Said.IDLE)
    while (handout := await desk.check_in(report)) is not None:
        assert isinstance(handout, CommandHandout | ProfileHandout)
        report = Report(tablet.thumbprint, tablet.udid, Said.DONE, handout.command_id)


def _advance() -> float:
    began = time.monotonic()
    with db.transaction() as session:
        rollouts.advance(session)
    return time.monotonic() - began


if __name__ == "__main__":
    print(json.dumps(measure()))
