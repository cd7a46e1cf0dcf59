"""A pretended pager that listens on a port of its own, for a `with` block."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from simulator.clouds.pager import Pager


class _Listening(uvicorn.Server):
    """A server that says when it listens."""

    def __init__(self, app: Pager) -> None:
        super().__init__(uvicorn.Config(app, port=0, log_level="error", ws="none", lifespan="off"))
        self.listening = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        """Begin, and say so."""
        await super().startup(sockets)
        self.listening.set()


@contextmanager
def listening(pager: Pager) -> Iterator[tuple[Pager, str]]:
    """Yield the pager with its address."""
    server = _Listening(pager)
    thread = threading.Thread(target=server.run, name="pager", daemon=True)
    thread.start()
    assert server.listening.wait(30)
    try:
        yield pager, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/page"
    finally:
        server.should_exit = True
        thread.join(30)
