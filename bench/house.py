"""A whole house as processes of its own: PostgreSQL, Valkey, door, operators' app, workers, beat, as `tabane up` has.

For benchmarks and fault runs: parts can be found, killed and started again by name. Everything is durable as in
production, listens on free ports of the loopback, and is stopped at the end, also by the kernel when this process dies.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from mdm import db, jobs, roles
from mdm.cli import keep
from mdm.cli.client import Client
from mdm.embedded import Postgres, Valkey, free_port, host, start_postgres, start_valkey
from mdm.embedded.folder import make_folder
from mdm.settings import get_settings

WORKERS: Mapping[str, tuple[str, ...]] = {
    "worker-urgent": ("urgent",),
    "worker-push": ("push",),
    "worker-sweep": ("sweep", "sync"),
}
"""As `tabane up` has them."""
_READY_S = 60.0
_PATIENCE_S = 15.0


@dataclass
class House:
    """One house; `start` everything, `stop` everything. Call from the thread that lives longest (see `host.spawn`)."""

    folder: Path
    doors: int = 1
    """Processes that serve tablets."""
    settings: dict[str, str] = field(default_factory=dict)
    """What differs from the defaults, as environment variables."""
    workers: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: dict(WORKERS))
    """Names of worker processes with the queues that each serves."""
    seed: Callable[[str], None] | None = None
    """Called with the database's address when its tables stand, before anything of ours runs."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    door_url: str = ""
    url: str = ""
    """Of the operators' app."""
    token: str = ""
    """Of a session of its administrator."""
    addresses: dict[str, str] = field(default_factory=dict)
    """Of the database, for each kind of process: each has its own role."""
    _postgres: Postgres | None = None
    _valkey: Valkey | None = None

    @property
    def database_url(self) -> str:
        """The main database's address."""
        return os.environ["DATABASE_URL"]

    def start(self) -> None:
        """Start all parts and wait until both apps answer. What the settings say holds for this process too."""
        make_folder(self.folder / "logs")
        self.door_url, self.url = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._postgres, self._valkey = start_postgres(self.folder / "postgres"), start_valkey(self.folder / "valkey")
        own = {
            "DATABASE_URL": self._postgres.url,
            "REDIS_URL": self._valkey.url,
            "TABANE_SECRET_KEY_FILE": str(keep.secret_key(self.folder)),
            "TABANE_PUBLIC_URL": self.door_url,
            "TABANE_OPERATOR_URL": self.url,
        }
        os.environ.update(own | self.settings)
        forget_settings()
        db.migrate(self._postgres.url)
        if self.seed is not None:
            self.seed(self._postgres.url)
        self.addresses = roles.house(self._postgres.url)
        for name in self.parts():
            self.launch(name)
        self.wait_ready()
        made = keep.first_administrator(self.folder)
        assert made is not None
        self.token = made.token

    def parts(self) -> list[str]:
        """Names of our own processes, in the order in which they are started."""
        return ["door", "web", *self.workers, "sender", "beat"]

    def launch(self, name: str) -> None:
        """Start one of our own processes (again)."""
        served = {"door": self.door_url, "web": self.url}
        options: list[str] = []
        if name in served:
            options = ["--host", "127.0.0.1", "--port", str(urlsplit(served[name]).port)]
        if name == "door" and self.doors > 1:
            options += ["--workers", str(self.doors)]
        command = ["worker", *self.workers[name]] if name in self.workers else [name, *options]
        self.processes[name] = host.spawn(
            [sys.executable, "-m", "mdm.cli", *command],
            owner=host.current(),
            log=self.log(name),
            folder=self.folder / "logs",
            on_parent_death=signal.SIGTERM,
            environment={**os.environ, "DATABASE_URL": self.addresses[name.partition("-")[0]]},
        )

    def log(self, name: str) -> Path:
        """Where a part writes its log."""
        return self.folder / "logs" / f"{name}.log"

    def wait_ready(self) -> None:
        """Wait until door and operators' app answer; RuntimeError with the log's last line where one has ended."""
        for name, url in (("door", self.door_url), ("web", self.url)):
            deadline = time.monotonic() + _READY_S
            while not _answers(url):
                if self.processes[name].poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{name} did not start: {host.last_line(self.log(name))}")
                time.sleep(0.05)

    def kill(self, name: str) -> None:
        """Kill one of our processes without a warning (its children end with it, by their leash or their pipe)."""
        self.processes[name].kill()
        self.processes[name].wait(_PATIENCE_S)

    def stop(self) -> None:
        """Stop everything: ours together, then the servers that they stand on."""
        try:
            for process in self.processes.values():
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
            for process in self.processes.values():
                host.stop(process, signal.SIGTERM, patience_s=_PATIENCE_S)
        finally:
            forget_settings()
            if self._valkey is not None:
                self._valkey.stop()
            if self._postgres is not None:
                self._postgres.stop()

    def client(self) -> Client:
        """Return a connection to the operator API, signed in as the administrator."""
        return Client(self.url, self.token)

    def pids(self, name: str) -> list[int]:
        """Return the process of a part and its children."""
        pid = self.processes[name].pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        return [pid, *(int(each) for each in children.read_text().split())] if children.exists() else [pid]

    def peak_kilobytes(self, name: str) -> int:
        """Return the largest resident size that a part (with its children, added up) has had."""
        lines = "".join(Path(f"/proc/{pid}/status").read_text() for pid in self.pids(name)).splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

    def cpu_seconds(self) -> dict[str, float]:
        """Return the processor time that each part has used so far; of PostgreSQL with all its backends."""
        tick = os.sysconf("SC_CLK_TCK")
        used = {name: sum(map(_ticks, self.pids(name))) / tick for name in self.processes}
        if self._postgres is not None:
            used["postgres"] = _with_ended_children(self._postgres.process.pid) / tick
        if self._valkey is not None:
            used["valkey"] = _ticks(self._valkey.process.pid) / tick
        return used


def forget_settings() -> None:
    """Drop what this process has read from the environment or opened because of it; it is read again when needed."""
    if db.engine.cache_info().currsize:
        db.engine().dispose()
    if jobs.publisher.cache_info().currsize:
        jobs.publisher().close()
    for cached in (db.engine, jobs.publisher, get_settings):
        cached.cache_clear()


@contextmanager
def running(house: House) -> Iterator[House]:
    """Have a house run for a `with` block; this process's environment is as before when it ends."""
    before = os.environ.copy()
    try:
        house.start()
        yield house
    finally:
        try:
            house.stop()
        finally:
            os.environ.clear()
            os.environ.update(before)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", timeout=2).is_success
    except httpx2.HTTPError:
        return False


def _ticks(pid: int) -> int:
    """User and system time of one process in clock ticks; 0 for one that has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def _with_ended_children(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(map(int, fields[11:15])) + sum(map(_ticks, map(int, children)))
