"""The two servers that are compared: Tabane's door, and an empty handler of the same server that reads the body."""

import multiprocessing
import os
import socket
from multiprocessing.process import BaseProcess
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.routing import Route
from starlette.types import Receive, Scope, Send


async def _empty(_scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


class _Endpoint:
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _empty(scope, receive, send)


def empty_app() -> FastAPI:
    """Build the app of the limit: FastAPI with one plain route."""
    return FastAPI(openapi_url=None, docs_url=None, redoc_url=None, routes=[Route("/mdm/apple", _Endpoint())])


def _serve(which: str, listener: socket.socket, url: str | None) -> None:
    app: Any
    if url is not None:
        os.environ["DATABASE_URL"] = url
    if which == "empty":
        app = empty_app()
    else:
        from mdm.app import device_app  # noqa: PLC0415 - the limit must not pay for our imports

        app = device_app()
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", access_log=False, log_level="warning", proxy_headers=False
    )
    uvicorn.Server(config).run(sockets=[listener])


def start(which: str, url: str | None = None) -> tuple[BaseProcess, int]:
    """Start `door` or `empty` as one worker process on a free port of the loopback; `url` names the door's database."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(which, listener, url), daemon=True)
    process.start()
    port: int = listener.getsockname()[1]
    listener.close()
    return process, port
