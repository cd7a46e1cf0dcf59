"""The faults, a function each: hurt the scene while orders are under way, mend it, say how long until it works."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from simulator.clouds.apns_script import Answer, Fault, Mishap
from tests.faults.house import WORKERS, until
from tests.faults.scene import Scene

FAULTS: Final[dict[str, Callable[[Scene], float]]] = {}
SHORT: Final[list[str]] = []
"""Names of those that the short form does too: each kind once."""
_OUTAGE_S: Final = 2.0


def fault(name: str, *, short: bool = False):
    """Enter a fault into the list."""

    def enter(act: Callable[[Scene], float]) -> Callable[[Scene], float]:
        FAULTS[name] = act
        if short:
            SHORT.append(name)
        return act

    return enter


def strike(scene: Scene) -> None:
    """Wait for the moment of the fault, which the seed chooses: some tablets have done it, the others are waiting."""
    scene.under_way(scene.chance.uniform(0.08, 0.3))


def ready_again(scene: Scene, part: str) -> float:
    """Return the seconds until an app serves again."""
    began = time.monotonic()
    scene.house.wait_ready(part)
    return time.monotonic() - began


# Processes.


@fault("kill -9 of all workers", short=True)
def kill_workers(scene: Scene) -> float:
    strike(scene)
    for part in WORKERS:
        scene.house.kill(part)
    for part in WORKERS:
        scene.house.launch(part)
    scene.bury()
    return scene.house.back()


@fault("kill -9 of one worker of a group")
def kill_one_worker(scene: Scene) -> float:
    strike(scene)
    scene.house.kill("worker-push-1")
    scene.house.launch("worker-push-1")
    scene.bury()
    return scene.house.back("worker-push-1")


@fault("kill -9 of the urgent worker")
def kill_urgent(scene: Scene) -> float:
    scene.house.kill("worker-urgent")
    strike(scene)
    scene.house.launch("worker-urgent")
    return scene.house.back("worker-urgent")


@fault("kill -9 of the door", short=True)
def kill_door(scene: Scene) -> float:
    strike(scene)
    scene.house.kill("door")
    scene.house.launch("door")
    return ready_again(scene, "door")


@fault("kill -9 of the operator app")
def kill_web(scene: Scene) -> float:
    """While orders come in, and while a wipe is approved by a second person."""
    back = 0.0
    for _ in range(2):
        time.sleep(scene.chance.uniform(0.05, 0.5))
        back = max(back, _web_dies(scene))
    strike(scene)
    wiping = scene.wipe_one()
    time.sleep(scene.chance.uniform(0.0, 0.2))
    back = max(back, _web_dies(scene))
    tablet = wiping.result(60)
    until(lambda: tablet.device.wipes == 1, "the wipe")
    return back


def _web_dies(scene: Scene) -> float:
    scene.house.kill("web")
    scene.house.launch("web")
    return ready_again(scene, "web")


@fault("kill -9 between commit and hint", short=True)
def kill_between_commit_and_hint(scene: Scene) -> float:
    """The broker does not answer, so the app hangs after its commit; it is killed there and nobody rings."""
    house = scene.house
    assert scene.ordering is not None
    scene.ordering.result(60)
    with house.ways["web-valkey"].trouble("half-open"):
        serials = [tablet.device.serial for tablet in scene.tablets()[:50]]
        before = scene.open_commands()
        scene.ordering = scene._pool.submit(scene.order, "inventory_profiles", serials)
        with house.sql() as connection:
            count = "SELECT count(*) FROM command WHERE kind = 'inventory_profiles'"
            until(lambda: connection.execute(count).fetchone() == (50,), f"commands in the database, {before} before")
        assert not scene.ordering.done(), "the hint went out before the app was killed"
        house.kill("web")
    house.launch("web")
    return ready_again(scene, "web")


@fault("SIGTERM, one after the other")
def rolling_restart(scene: Scene) -> float:
    strike(scene)
    backs = []
    for part in WORKERS:
        scene.house.kill(part, signal.SIGTERM)
        scene.house.launch(part)
        backs.append(scene.house.back(part))
    for part in ("door", "web"):
        scene.house.kill(part, signal.SIGTERM)
        scene.house.launch(part)
        backs.append(ready_again(scene, part))
    scene.house.kill("beat", signal.SIGTERM)
    scene.house.launch("beat")
    return max(backs)


@fault("worker stopped until its leases ran out", short=True)
def outlive_leases(scene: Scene) -> float:
    """What it settles when it goes on is stale: others have long taken over."""
    strike(scene)
    with scene.house.sql() as connection:
        held = "SELECT count(*) FROM wakeup WHERE lease_token IS NOT NULL"
        until(lambda: connection.execute(held).fetchone() > (0,), "leases")
        scene.house.signal("worker-push-1", signal.SIGSTOP)
    scene.let_leases_run_out()
    time.sleep(_OUTAGE_S)
    scene.house.signal("worker-push-1", signal.SIGCONT)
    return scene.house.back("worker-push-1")


@fault("two beats")
def two_beats(scene: Scene) -> float:
    second = scene.house.spawn("beat-2", "beat")
    try:
        strike(scene)
        time.sleep(3 * _OUTAGE_S)
    finally:
        second.kill()
        second.wait()
    return scene.house.back()


# Valkey.


@fault("Valkey killed, nothing kept", short=True)
def kill_valkey(scene: Scene) -> float:
    strike(scene)
    scene.house.kill_valkey()
    time.sleep(_OUTAGE_S)
    scene.forgotten += 1
    scene.house.start_valkey()
    return scene.house.back()


@fault("Valkey killed, append-only file")
def kill_keeping_valkey(scene: Scene) -> float:
    for _ in range(2):  # the first time to begin with the file
        scene.under_way(0.05)
        scene.house.kill_valkey()
        time.sleep(_OUTAGE_S)
        scene.forgotten += 1  # up to a second of what it held
        scene.house.start_valkey(keeps=True)
        back = scene.house.back()
    return back


@fault("FLUSHALL, three times", short=True)
def flush(scene: Scene) -> float:
    strike(scene)
    for _ in range(3):
        scene.forgotten += 1
        with scene.house.broker() as client:
            client.flushall()
        time.sleep(scene.chance.uniform(0.1, 1.0))
    return scene.house.back()


@fault("Valkey full")
def fill_valkey(scene: Scene) -> float:
    strike(scene)
    with scene.house.broker() as client:
        client.config_set("maxmemory", "1")
        time.sleep(2 * _OUTAGE_S)
        client.config_set("maxmemory", "0")
    return scene.house.back()


@fault("Valkey stopped (SIGSTOP)")
def stop_valkey(scene: Scene) -> float:
    strike(scene)
    scene.house.valkey.process.send_signal(signal.SIGSTOP)
    time.sleep(6 * _OUTAGE_S)
    scene.house.valkey.process.send_signal(signal.SIGCONT)
    return scene.house.back()


# PostgreSQL.


@fault("PostgreSQL stopped at once", short=True)
def crash_postgres(scene: Scene) -> float:
    strike(scene)
    scene.house.stop_postgres()
    time.sleep(_OUTAGE_S)
    scene.house.start_postgres()
    return scene.house.back()


@fault("random pg_terminate_backend")
def terminate_backends(scene: Scene) -> float:
    strike(scene)
    with scene.house.sql() as connection:
        for _ in range(60):
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tabane%%'"
                " AND datname = current_database() ORDER BY md5(pid::text || %s) LIMIT 1",
                (str(scene.chance.random()),),
            )
            time.sleep(0.05)
    return scene.house.back()


@fault("storm of table locks")
def lock_tables(scene: Scene) -> float:
    strike(scene)
    with scene.house.sql() as connection:
        for table in ("wakeup", "command", "enrollment"):
            with connection.transaction():
                connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
                time.sleep(3 * _OUTAGE_S)
    return scene.house.back()


# Lines.


def _line(way: str, how: str) -> Callable[[Scene], float]:
    def hurt(scene: Scene) -> float:
        strike(scene)
        scene.slack_s += 8.0 if way == "worker-apns" else 0.0
        with scene.house.ways[way].trouble(how):
            time.sleep(2 * _OUTAGE_S)
        return scene.house.back() if way.startswith("worker") else ready_again(scene, "door")

    return hurt


for _way in ("door-postgres", "worker-postgres", "worker-valkey", "worker-apns"):
    for _how in ("cut", "half-open", "slow"):
        _name = f"{_way} {_how}"
        fault(_name, short=_name in ("worker-postgres half-open", "worker-valkey cut"))(_line(_way, _how))


def _tablets_line(how: str) -> Callable[[Scene], float]:
    def hurt(scene: Scene) -> float:
        way = scene.house.ways["tablet-door"]
        scene.move_door(f"http://127.0.0.1:{way.port}")
        try:
            strike(scene)
            with way.trouble(how):
                time.sleep(2 * _OUTAGE_S)
            return ready_again(scene, "door")
        finally:
            scene.move_door(scene.house.door_url)

    return hurt


for _how in ("cut", "half-open", "slow"):
    fault(f"tablet-door {_how}")(_tablets_line(_how))


# The push service.


@fault("push service answers 429 and 503", short=True)
def busy_push_service(scene: Scene) -> float:
    strike(scene)
    for status, reason in ((429, "TooManyRequests"), (503, "ServiceUnavailable")):
        scene.fleet.cloud.script.everyone = Answer(status, reason, retry_after=1)
        time.sleep(_OUTAGE_S)
    scene.fleet.cloud.script.everyone = Answer()
    return scene.house.back()


@fault("push service: GOAWAY, RST, cut")
def rude_push_service(scene: Scene) -> float:
    strike(scene)
    every = max(3, len(scene.seen.devices) // 40)
    scene.fleet.cloud.script.faults = [Fault(mishap, every + 7 * place, times=4) for place, mishap in enumerate(Mishap)]
    time.sleep(3 * _OUTAGE_S)
    scene.fleet.cloud.script.faults = []
    scene.slack_s += 2.0
    return scene.house.back()


@fault("push service: 410 for one in fifty")
def dead_tokens(scene: Scene) -> float:
    dead = scene.chance.sample(scene.tablets(), max(1, len(scene.seen.devices) // 50))
    gone = Answer(410, "Unregistered", timestamp=int(time.time() * 1000) + 60_000)
    for tablet in dead:
        assert tablet.enrollment is not None
        scene.fleet.cloud.script.answer(tablet.enrollment.token, gone)
    strike(scene)
    time.sleep(_OUTAGE_S)
    for tablet in dead:
        with suppress(Exception):
            scene.do(tablet.refresh_token())
    return scene.house.back()
