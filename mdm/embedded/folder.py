"""The data folder: where it is by default, and the lock that keeps a second server off it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_data_path

from mdm.errors import Conflict, Misconfigured


def default_folder() -> Path:
    """Return the user's data folder; /var/lib/tabane for root, whose home is closed to other users."""
    if os.geteuid() == 0:
        return Path("/var/lib/tabane")
    return user_data_path("tabane")


def make_folder(folder: Path, *, mode: int = 0o711) -> None:
    """Make a folder and its parents; `Misconfigured` in one line when that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_uid == os.geteuid():
            folder.chmod(mode)
    except OSError as error:
        raise Misconfigured(f"data folder {folder}: {error.strerror}") from None


@contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Hold a data folder while the block runs; `Conflict` when another process holds it.

    The kernel drops the lock with the process, however it ends: there is no stale lock to clean up.
    """
    make_folder(folder)
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Misconfigured(f"data folder {folder}: {error.strerror}") from None
    try:
        _lock(descriptor, folder)
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
        raise Conflict(f"data folder {folder} is in use by another tabane (process {holder})") from None
    except OSError as error:
        raise Misconfigured(f"data folder {folder} cannot be locked: {error.strerror}") from None
