"""Real Celery workers in processes of their own: killed, starved of their broker, told twice. The journal witnesses."""

import os
import signal
import time
from urllib.parse import urlsplit

import pytest
import redis

from mdm import db
from mdm.devices.models import Lane
from mdm.embedded import start_valkey
from mdm.jobs import QUEUES, URGENT_QUEUE, Job, publisher
from tests.workers.running import until, worker
from workers import sender
from workers.app import app
from workers.schedule import SCHEDULE


def hint(lane=Lane.NORMAL):
    queue = URGENT_QUEUE if lane is Lane.URGENT else QUEUES[Job.DISPATCH]
    publisher().send_task(Job.DISPATCH.value, kwargs={"lane": int(lane)}, queue=queue)


@pytest.fixture
def broker_of_its_own(engine_folder, configure, monkeypatch):
    server = start_valkey(engine_folder / "own-valkey")
    monkeypatch.setenv("REDIS_URL", server.url)
    configure()
    yield server
    server.stop()


def test_every_job_has_a_task_and_every_queue_a_worker_could_take(database):
    """What can be hinted is held by the app under the same name, and beat rings for each."""
    assert {job.value for job in Job} <= set(app.tasks) | set(sender.app.tasks)
    assert {name for name in sender.app.tasks if not name.startswith("celery.")} == {Job.LET_GO.value}
    assert Job.LET_GO.value not in app.tasks
    assert {entry["task"] for entry in SCHEDULE.values()} == {job.value for job in Job}
    assert {entry["options"]["queue"] for entry in SCHEDULE.values()} == {*QUEUES.values(), URGENT_QUEUE}


def test_a_killed_worker_loses_and_doubles_nothing(configure, fleet, due, cloud, log):
    """Kill -9 under load: every tablet is woken, and only what was in flight may be woken once more."""
    configure(fleet_per_s=100, fleet_burst=20)
    cloud.script.latency = 0.02
    tablets = fleet(120, schools=4)
    due(tablets.ids)
    with worker("push", log=log) as process:
        hint()
        until(lambda: len(cloud.journal) >= 30)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    in_flight = let_leases_run_out()
    with worker("push", log=log):
        hint()
        until(lambda: set(cloud.deliveries()) == set(tablets.tokens.values()))
    counts = cloud.deliveries()
    assert max(counts.values()) <= 2
    assert sum(count - 1 for count in counts.values()) <= in_flight


def let_leases_run_out():
    """Do what a minute does; returns how many leases were open."""
    free = "WITH freed AS (UPDATE wakeup SET lease_until = now() WHERE lease_token IS NOT NULL RETURNING 1)"
    with db.transaction() as own:
        return own.connection().exec_driver_sql(f"{free} SELECT count(*) FROM freed").scalar_one()


def test_flushing_the_broker_costs_seconds(fleet, due, cloud, log, valkey):
    """FLUSHALL takes hints and buckets; the worker's own watch finds what is due and nothing is doubled."""
    tablets = fleet(40)
    with worker("push", log=log):
        hint()
        due(tablets.ids[:20])
        hint()
        until(lambda: len(cloud.deliveries()) == 20)
        due(tablets.ids[20:])
        hint()
        with redis.Redis.from_url(valkey) as client:
            client.flushall()
        started = time.monotonic()
        until(lambda: len(cloud.deliveries()) == 40)
        assert time.monotonic() - started < 17
    assert set(cloud.deliveries().values()) == {1}


def test_urgent_goes_through_while_valkey_is_gone(broker_of_its_own, fleet, due, cloud, log):
    """No broker, no buckets: a lost tablet is woken all the same, bulk waits until Valkey is back."""
    tablets = fleet(8)
    with worker("urgent", "push", log=log):
        due(tablets.ids[:1])
        until(lambda: len(cloud.deliveries()) == 1)
        broker_of_its_own.stop()
        due(tablets.ids[1:4], Lane.URGENT)
        due(tablets.ids[4:], Lane.BULK)
        until(lambda: len(cloud.deliveries()) == 4)
        assert {tablets.tokens[one] for one in tablets.ids[:4]} == set(cloud.deliveries())


def test_a_worker_started_without_valkey_sends_what_is_urgent_and_takes_hints_when_it_is_there(
    broker_of_its_own, fleet, due, cloud, log, engine_folder
):
    """Started while Valkey is away it works all the same, and soon after Valkey is there it hears its hints."""
    tablets = fleet(4)
    broker_of_its_own.stop()
    address = urlsplit(broker_of_its_own.url)
    with worker("urgent", "sweep", log=log):
        due(tablets.ids[:1], Lane.URGENT)
        until(lambda: len(cloud.deliveries()) == 1)
        again = start_valkey(engine_folder / "own-valkey", port=address.port, password=address.password)
        try:
            due(tablets.ids[1:], Lane.URGENT)
            publisher().send_task(Job.SWEEP.value, queue=QUEUES[Job.SWEEP])
            with redis.Redis.from_url(again.url) as client:
                until(lambda: not client.exists("tabane:sweep"))
            until(lambda: len(cloud.deliveries()) == 4)
        finally:
            again.stop()


def test_a_worker_outlives_a_broker_that_falls_while_jobs_are_at_work(
    broker_of_its_own, configure, fleet, due, cloud, log, engine_folder
):
    """Valkey is killed under load, twice: the process goes on and takes hints again; nothing is sent twice for it."""
    configure(fleet_per_s=40, fleet_burst=1)
    tablets = fleet(200)
    address = urlsplit(broker_of_its_own.url)
    server = broker_of_its_own
    due(tablets.ids)
    with worker("push", log=log) as process:
        for _ in range(2):
            for _ in range(8):
                hint()
            seen = len(cloud.journal)
            until(lambda seen=seen: len(cloud.journal) > seen)
            server.process.kill()
            server.process.wait()
            server = start_valkey(engine_folder / "own-valkey", port=address.port, password=address.password)
        with redis.Redis.from_url(server.url) as client:
            hint()
            until(lambda: not client.exists("tabane:push"))
        assert process.poll() is None, log.read_text()[-3000:]
    server.stop()
    assert set(cloud.deliveries().values()) == {1}


def test_a_worker_stops_promptly_and_cleanly(configure, log, fleet, due, cloud):
    """SIGTERM ends a worker that rests, and one at work, within seconds."""
    configure(fleet_per_s=20, fleet_burst=1)
    tablets = fleet(100)
    due(tablets.ids)
    with worker("push", log=log) as process:
        hint()
        until(lambda: len(cloud.journal) >= 5)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        assert time.monotonic() - started < 10
    assert max(cloud.deliveries().values()) == 1
