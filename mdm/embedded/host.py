"""What the servers need of this machine: an unprivileged user, free ports, and child processes on a leash."""

import importlib.util
import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mdm.errors import Conflict, Misconfigured

_LEASH = Path(__file__).with_name("leash.py")
_ENVIRONMENT = ("PATH", "HOME", "TMPDIR", "TZ", "LD_LIBRARY_PATH")


@dataclass(frozen=True)
class Owner:
    """The user as whom a server runs and to whom its files belong."""

    uid: int
    gid: int
    name: str

    def may_traverse(self, status: os.stat_result) -> bool:
        """Say whether this user may pass through a folder with this status."""
        if self.uid == 0:
            return True
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid == self.gid else 0
        return bool(status.st_mode >> shift & 1)


def current() -> Owner:
    """Return the user of this process."""
    return Owner(os.geteuid(), os.getegid(), str(os.geteuid()))


def unprivileged() -> Owner:
    """Return the current user, or `nobody` when that is root: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return current()
    for name in ("nobody", "daemon"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Owner(entry.pw_uid, entry.pw_gid, name)
    raise Misconfigured(
        "PostgreSQL does not run as root and there is no user `nobody` to run it as: start as another user"
    )


def closed_parent(path: Path, owner: Owner) -> Path | None:
    """Return the nearest folder above `path` that `owner` cannot pass, or nothing when the way is open."""
    for parent in path.resolve().parents:
        if not owner.may_traverse(parent.stat()):
            return parent
    return None


def wheel_folder(package: str) -> Path:
    """Return where a wheel's files lie, without importing it: its own code starts and locks things by itself."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise Misconfigured(f"the wheel `{package}` is not installed: set DATABASE_URL and REDIS_URL, or install it")
    return Path(spec.submodule_search_locations[0])


def free_port() -> int:
    """Return a loopback port that was free a moment ago; whoever binds it must be ready to lose the race."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def require_free(port: int, *, address: str = "127.0.0.1") -> None:
    """Raise `Conflict` with one clear line when something listens on the port, or it may not be bound."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise Conflict(f"port {port} on {address} cannot be used: {error.strerror}") from None


def spawn(
    command: Sequence[str | Path],
    *,
    owner: Owner,
    log: Path,
    folder: Path,
    on_parent_death: signal.Signals,
    environment: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
) -> subprocess.Popen[bytes]:
    """Start a server on a leash: the kernel sends `on_parent_death` even when this process is killed with -9.

    The kernel ties the leash to the calling *thread*: call from one that lives as long as the server shall.
    """
    inherited = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    leash = [on_parent_death.value, os.getpid(), owner.uid, owner.gid]
    with open(log, "ab", opener=_private) as output:
        process = subprocess.Popen(  # noqa: S603 - our own servers, no shell
            [sys.executable, "-I", "-S", _LEASH, *(str(number) for number in leash), *command],
            cwd=folder,
            env=inherited if environment is None else environment,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the supervisor only, which stops the servers in order
        )
    if stdin is not None and process.stdin is not None:
        with process.stdin as pipe:
            pipe.write(stdin)
    return process


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def stop(process: subprocess.Popen[bytes], *signals: signal.Signals, patience_s: float = 10) -> None:
    """Send each signal in turn until the process has ended, then SIGKILL; return at once if it has ended."""
    for number in (*signals, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            continue


def last_line(log: Path, *containing: str) -> str:
    """Return the last line of a log for a one-line error, or the last that contains the first word found in any."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return "no log was written"
    for word in containing:
        if hits := [line for line in lines if word in line]:
            return hits[-1]
    return lines[-1] if lines else "its log is empty"


def lost_the_port(log: Path) -> bool:
    """Say whether a server's log blames another process that was faster to take the port."""
    return "Address already in use" in last_line(log, "Address already in use")
