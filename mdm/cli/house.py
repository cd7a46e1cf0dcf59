"""Where this machine's `tabane up` keeps its house, for commands that work on the host. Starts nothing."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mdm.cli.client import credentials_file
from mdm.errors import Misconfigured

_KEPT = ("DATABASE_URL", "REDIS_URL", "TABANE_SECRET_KEY_FILE")
_AUDIT = "TABANE_AUDIT__"


def _file() -> Path:
    """Beside the kept session: only this user may read either."""
    return credentials_file().with_name("house.json")


@contextmanager
def announced() -> Iterator[None]:
    """Let the host's other commands find what runs here, as the environment tells it, until it ends."""
    file = _file()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = file.with_suffix(f".{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        names = (*_KEPT, *(name for name in os.environ if name.startswith(_AUDIT)))
        json.dump({"pid": os.getpid(), **{name: os.environ[name] for name in names}}, stream)
    fresh.replace(file)
    try:
        yield
    finally:
        with suppress(OSError, ValueError, AttributeError):
            if json.loads(file.read_text()).get("pid") == os.getpid():
                file.unlink()


def move_in() -> None:
    """Take the settings of the running `tabane up` unless DATABASE_URL is set; else `Misconfigured`."""
    if "DATABASE_URL" in os.environ:
        return
    try:
        kept = json.loads(_file().read_text())
        os.kill(int(kept["pid"]), 0)
        names = {*_KEPT, *(name for name in kept if name.startswith(_AUDIT))}
        os.environ.update({name: str(kept[name]) for name in names if name not in os.environ})
    except (OSError, ValueError, KeyError, TypeError):
        raise Misconfigured("set DATABASE_URL, or run this beside `tabane up` on the same machine") from None
