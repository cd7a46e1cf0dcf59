"""A house of processes that can be hurt one by one, with a proxy on each way between two of them.

Everything is durable as in production. Each process of ours has an environment of its own, so that its ways lead over
proxies of its own; the suite itself talks to the servers directly.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx2
import psycopg
import redis
from celery import Celery

from mdm import db, roles
from mdm.embedded import Postgres, Valkey, host, start_postgres, start_valkey, valkey
from mdm.jobs import QUEUES, URGENT_QUEUE, Job
from tests.conftest import forget_settings
from tests.faults.proxy import Links, Proxy

WORKERS: Mapping[str, tuple[str, ...]] = {
    "worker-urgent": ("urgent",),
    "worker-push-1": ("push",),
    "worker-push-2": ("push",),
    "worker-sweep": ("sweep", "sync"),
}
READY_S = 60.0


class Late(AssertionError):
    """Something did not come about in time."""


def until(happened: Callable[[], bool], what: str | Callable[[], str], seconds: float = READY_S) -> None:
    """Wait for something that other processes bring about."""
    end = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > end:
            raise Late(f"{what if isinstance(what, str) else what()}: not within {seconds:.0f} s")
        time.sleep(0.05)


class House:
    """The servers. Start it from the thread that lives longest: the kernel ties the children to it."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str],
        apns_port: int,
        *,
        workers: Mapping[str, tuple[str, ...]] = WORKERS,
    ) -> None:
        self.folder = folder
        self.workers = workers
        """Which workers there are, and the queues of each."""
        self.links = Links()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.down: set[str] = set()
        """Parts that a fault has ended and will start again."""
        self.falls = 0
        """How many of our own ended by themselves and were started again."""
        self.addresses: dict[str, str] = {}
        """Of the database, by kind of process: each has a role of its own; commands of the host are the owner."""
        self.extra: dict[str, dict[str, str]] = {}
        """Environment of a part beside what all have; takes effect when it is launched next."""
        (folder / "logs").mkdir(parents=True)
        self.postgres: Postgres = start_postgres(folder / "postgres")
        self.valkey: Valkey = start_valkey(folder / "valkey")
        self._ports = {"door": host.free_port(), "web": host.free_port()}
        self.door_url, self.web_url = (f"http://127.0.0.1:{port}" for port in self._ports.values())
        self.ways: dict[str, Proxy] = {
            "door-postgres": self.links.to(_port(self.postgres.url)),
            "worker-postgres": self.links.to(_port(self.postgres.url)),
            "worker-valkey": self.links.to(_port(self.valkey.url)),
            "web-valkey": self.links.to(_port(self.valkey.url)),
            "worker-apns": self.links.to(apns_port),
            "tablet-door": self.links.to(self._ports["door"]),
        }
        key = folder / "secret.key"
        self.settings = {
            **settings,
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.valkey.url,
            "TABANE_SECRET_KEY_FILE": str(key),
            "TABANE_PUBLIC_URL": self.door_url,
            "TABANE_OPERATOR_URL": self.web_url,
            "PYTHONWARNINGS": "ignore",
        }

    # Our own processes.

    def launch(self, part: str) -> None:
        """Start one of our own processes (again)."""
        self.down.discard(part)
        process = self.processes.get(part)
        assert process is None or process.poll() is not None, f"{part} is still running"
        command = {"door": ["door", "--port"], "web": ["web", "--port"]}.get(part, [part.partition("-")[0]])
        if part in self._ports:
            command = [*command, str(self._ports[part])]
        self.processes[part] = self.spawn(part, *command, *self.workers.get(part, ()))

    def spawn(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Run a `tabane` command as its process's role, over the ways of its kind of process."""
        address = self.addresses.get(command[0], self.settings["DATABASE_URL"])
        return host.spawn(
            [sys.executable, "-m", "mdm.cli", *command],
            owner=host.current(),
            log=self.log(name),
            folder=self.folder,
            on_parent_death=signal.SIGKILL,
            environment={
                **os.environ,
                **self.settings,
                "DATABASE_URL": address,
                **self._over_proxies(name, address),
                **self.extra.get(name, {}),
            },
        )

    def _over_proxies(self, name: str, address: str) -> dict[str, str]:
        kind = name.partition("-")[0]
        changed = {"DATABASE_URL": f"{kind}-postgres", "REDIS_URL": f"{kind}-valkey", _APNS: f"{kind}-apns"}
        if kind in ("beat", "sender"):
            changed["REDIS_URL"] = "worker-valkey"
        if kind == "sender":
            changed["DATABASE_URL"] = "worker-postgres"
        return {
            setting: _through((self.settings | {"DATABASE_URL": address})[setting], self.ways[way].port)
            for setting, way in changed.items()
            if way in self.ways and setting in self.settings
        }

    def start(self) -> None:
        """Start all of our own and wait until both apps answer."""
        for part in ("door", "web", *self.workers, "sender", "beat"):
            self.launch(part)
        self.wait_ready("door", "web")

    def wait_ready(self, *parts: str) -> None:
        """Wait until these apps are ready to serve."""
        for part in parts:
            until(partial(self._is_ready, part), lambda: f"apps ready\n{self.tails()}")

    def _is_ready(self, part: str) -> bool:
        self.tend()
        return self.readiness(part) == 200

    def tend(self) -> None:
        """Start again what has ended by itself, as a supervisor does."""
        for part, process in self.processes.items():
            if process.poll() is not None and part not in self.down:
                self.falls += 1
                self.launch(part)

    def readiness(self, part: str) -> int:
        """Return the status of an app's readiness; 0 when nothing answers."""
        with suppress(httpx2.HTTPError):
            return httpx2.get(f"http://127.0.0.1:{self._ports[part]}/readyz", timeout=5).status_code
        return 0

    def kill(self, part: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to one of our own and wait for its end."""
        self.down.add(part)
        process = self.processes[part]
        process.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        if process.poll() is None:
            process.kill()
            process.wait()
            raise Late(f"{part} did not end within 30 s of {number.name}")

    def signal(self, part: str, number: signal.Signals) -> None:
        """Send a signal to one of our own."""
        self.processes[part].send_signal(number)

    def log(self, part: str) -> Path:
        """Where a part writes."""
        return self.folder / "logs" / f"{part}.log"

    def tails(self) -> str:
        """Return the end of each log."""
        logs = sorted((self.folder / "logs").glob("*.log"))
        return "\n".join(f"--- {log.stem}\n{log.read_text(errors='replace')[-1500:]}" for log in logs)

    # The servers that ours stand on.

    def stop_postgres(self) -> None:
        """Stop PostgreSQL at once, as a crash does: it must recover from its log."""
        host.stop(self.postgres.process, signal.SIGQUIT)

    def start_postgres(self) -> None:
        """Start it again under its old address; returns when it answers."""
        self.postgres = start_postgres(self.folder / "postgres", port=_port(self.postgres.url))

    def kill_valkey(self) -> None:
        """Kill Valkey without a warning."""
        self.valkey.process.kill()
        self.valkey.process.wait()

    def start_valkey(self, *, keeps: bool = False) -> None:
        """Start Valkey again under its old address: empty, or from the log that it `keeps` from now on."""
        parts = urlsplit(self.valkey.url)
        assert parts.port is not None
        if keeps:
            self.valkey = _keeping_valkey(self.folder / "valkey", parts.port, parts.password or "")
        else:
            self.valkey = start_valkey(self.folder / "valkey", port=parts.port, password=parts.password)

    def broker(self) -> redis.Redis:
        """Return a client of Valkey."""
        return redis.Redis.from_url(self.valkey.url, socket_timeout=5)

    def hint(self, *jobs: tuple[Job, str, dict[str, int]]) -> None:
        """Ring jobs as beat would; Valkey may be away."""
        with (
            suppress(Exception),
            Celery("faults", broker=self.valkey.url, set_as_current=False) as publisher,
        ):
            publisher.conf.broker_transport_options = {"global_keyprefix": "tabane:", "socket_timeout": 2}
            for job, queue, arguments in jobs:
                publisher.send_task(job.value, kwargs=arguments, queue=queue, ignore_result=True, expires=5)

    @contextmanager
    def sql(self) -> Iterator[psycopg.Connection]:
        """Open a connection of the suite's own."""
        with psycopg.connect(self.postgres.url, autocommit=True, application_name="faults") as connection:
            yield connection

    def heal(self) -> None:
        """Mend everything that a fault may have left hurt, so that the next run begins with a whole house."""
        for way in self.ways.values():
            way.heal(reset=True)
        for process in (*self.processes.values(), self.valkey.process):
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
        if self.postgres.process.poll() is not None:
            self.start_postgres()
        if self.valkey.process.poll() is not None:
            self.start_valkey()
        for part in self.processes:
            if self.processes[part].poll() is None:
                self.kill(part)
            self.launch(part)
        self.wait_ready("door", "web")

    # Being back.

    def back(self, *parts: str, seconds: float = 30.0) -> float:
        """Return the seconds until each of these workers has worked in the database, counted from now.

        Hints are rung for all of them meanwhile, as an operator's next orders would.
        """
        began = time.monotonic()
        with self.sql() as connection:
            (moment,) = connection.execute("SELECT clock_timestamp()").fetchone() or (None,)
            missing = set(parts or self.workers)
            rung = 0.0
            while missing:
                self.tend()
                if time.monotonic() - rung > 0.5:
                    self.hint(*_EVERY_QUEUE)
                    rung = time.monotonic()
                rows = connection.execute(
                    "SELECT DISTINCT application_name FROM pg_stat_activity WHERE query_start > %s", (moment,)
                )
                names = {name for (name,) in rows}
                missing = {part for part in missing if f"tabane:{self.processes[part].pid}" not in names}
                if time.monotonic() - began > seconds:
                    raise Late(f"{', '.join(sorted(missing))} did not come back within {seconds:.0f} s\n{self.tails()}")
                time.sleep(0.05)
        return time.monotonic() - began

    def close(self) -> None:
        """Stop everything."""
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
        for process in self.processes.values():
            process.wait()
        self.links.close()
        self.valkey.process.send_signal(signal.SIGCONT)
        self.valkey.stop()
        host.stop(self.postgres.process, signal.SIGQUIT)


_APNS = "TABANE_APPLE__APNS_URL"
_EVERY_QUEUE = (
    (Job.DISPATCH, URGENT_QUEUE, {"lane": 0}),
    (Job.DISPATCH, QUEUES[Job.DISPATCH], {"lane": 1}),
    (Job.DISPATCH, QUEUES[Job.DISPATCH], {"lane": 2}),
    (Job.SWEEP, QUEUES[Job.SWEEP], {}),
)


@contextmanager
def settings_of(house: House) -> Iterator[None]:
    """Let this process's own settings be those of the house, for what is done without a door."""
    before = os.environ.copy()
    os.environ.update(house.settings)
    forget_settings()
    try:
        yield
    finally:
        forget_settings()
        os.environ.clear()
        os.environ.update(before)


def migrate(house: House) -> None:
    """Make the tables, and the roles."""
    db.migrate(house.postgres.url)
    house.addresses = roles.house(house.postgres.url)


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def _through(url: str, port: int) -> str:
    """Return the same address with another port."""
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{credentials}{at}127.0.0.1:{port}"))


def _keeping_valkey(folder: Path, port: int, password: str) -> Valkey:
    """Start a Valkey that writes what it holds to an append-only file each second and reads it at start."""
    owner = host.current()
    text = valkey._configuration(port, password).replace("appendonly no", "appendonly yes\nappendfsync everysec")
    process = host.spawn(
        [valkey._binary(folder, owner), "-"],
        owner=owner,
        log=folder / "valkey.log",
        folder=folder,
        on_parent_death=signal.SIGTERM,
        stdin=text.encode(),
    )
    server = Valkey(f"redis://:{password}@127.0.0.1:{port}/0", process)
    until(lambda: valkey._ready(server, folder / "valkey.log"), "Valkey with an append-only file")
    return server
