"""`tabane worker carriers` as a process: killed, Valkey emptied, every fault there is, and exact in the end."""

import os
import signal
import time
from datetime import UTC, datetime

import pytest
import redis

from mdm import jobs
from simulator.clouds.carrier_script import Fault, Mishap
from tests.mdm_cellular.pretended import pretending, run
from tests.workers.running import until, worker
from workers import carriers

LINES = 220
MISHAPS = (Mishap.BUSY, Mishap.ERROR, Mishap.CUT, Mishap.GARBAGE, Mishap.EXPIRED, Mishap.LOST)


@pytest.fixture
def air(boss, valkey, tmp_path, monkeypatch):
    """A pretended SORACOM with three pages of lines, where everything goes wrong that can."""
    with pretending(boss, tmp_path, monkeypatch, lines=LINES) as pretended:
        pretended.script.doubled = 0.1
        pretended.script.faults = [Fault(mishap, every=5 + place, times=3) for place, mishap in enumerate(MISHAPS)]
        pretended.boss.patch("carriers/accounts/air", json={"limits": {"calls_per_s": 15}})
        yield pretended


def _ring(job):
    """Ring as beat does, and let this question's waits be short."""
    time.sleep(0.25)
    run(
        "UPDATE poll_cursor SET due_at = CASE WHEN job <> :job OR finished_at IS NOT NULL"
        " THEN now() + interval '1 hour' ELSE least(due_at, now() + interval '0.2 s') END",
        job=job,
    )
    jobs.publisher().send_task("carriers", queue="carriers", ignore_result=True)


def _is_over(job):
    _ring(job)
    return run("SELECT 1 FROM poll_cursor WHERE job = :job AND finished_at IS NOT NULL", job=job) == [(1,)]


def _sees(cloud, calls):
    """Return the condition that the carrier has been asked so often more."""
    enough = len(cloud.journal) + calls
    return lambda job: _ring(job) or len(cloud.journal) >= enough


def test_kills_and_an_empty_valkey_lose_and_double_nothing(air, valkey, tmp_path):
    """What the ledger has in the end is what was used, to the byte, and no line was lost or added twice."""
    carriers.prepare()
    for job in ("sims", "corrections"):
        asked = _sees(air.cloud, 3)
        with worker("carriers", log=tmp_path / "worker.log") as process:
            until(lambda job=job, asked=asked: asked(job), 60)
            os.killpg(process.pid, signal.SIGKILL)
        run("UPDATE poll_cursor SET lease_until = now() WHERE lease_until IS NOT NULL")
        with redis.Redis.from_url(valkey) as client:
            client.flushall()
        with worker("carriers", log=tmp_path / "worker.log"):
            until(lambda job=job: _is_over(job), 60)
    assert air.cloud.most_in_flight == 1
    assert run("SELECT count(*), count(DISTINCT iccid_core), count(missing_since) FROM sim") == [(LINES, LINES, 0)]
    [(first, last)] = run("SELECT min(usage_date), max(usage_date) FROM usage_daily")
    today = datetime.now(UTC).date()
    told = dict(
        run(
            "SELECT s.iccid_full, sum(u.bytes_total)::bigint FROM usage_daily u JOIN sim s ON s.id = u.sim_id"
            " WHERE usage_date < :today GROUP BY 1",
            today=today,
        )
    )
    truth = {
        iccid: sum(total for day, total in used.items() if day < today.isoformat())
        for iccid, used in air.cloud.lines.witness(first, last).items()
    }
    assert (told, (last - first).days) == (truth, 62)
