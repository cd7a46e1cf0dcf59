"""A small JSON endpoint on the loopback, so that other processes can watch pretended tablets and trouble them.

GET /status · GET /tablets/{serial} · POST /tablets/{serial}/{act} · PATCH /behaviour · PATCH /push-service

A change of behaviour is for all tablets, or for those whose serial numbers are listed in `serials`.
"""

import dataclasses
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from simulator.clouds.apns_script import Answer
from simulator.tablets.enrolling import Refused
from simulator.tablets.fleet import Fleet
from simulator.tablets.ipad import IPad
from simulator.tablets.profile import BadProfile
from simulator.web import Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator


class Control(uvicorn.Server):
    """The endpoint's server; signals belong to the process, not to it."""

    @contextmanager
    def capture_signals(self) -> "Iterator[None]":
        """Leave signals alone."""
        yield


def control(fleet: Fleet) -> Control:
    """Return a server to be run with `serve(sockets=…)`, on the loopback only: it asks nobody who they are."""
    return Control(uvicorn.Config(_application(fleet), log_level="warning", lifespan="off"))


def _application(fleet: Fleet) -> Starlette:
    async def status(_request: Request) -> JSONResponse:
        return JSONResponse(fleet.summary())

    async def tablet(request: Request) -> JSONResponse:
        found = fleet.tablets.get(request.path_params["serial"])
        return _missing() if found is None else JSONResponse(_described(found))

    async def act(request: Request) -> JSONResponse:
        found = fleet.tablets.get(request.path_params["serial"])
        body: dict[str, Any] = await request.json() if await request.body() else {}
        try:
            done = found is not None and await _act(fleet, found, request.path_params["act"], body)
        except (Refused, BadProfile, Unreachable, OSError, KeyError) as error:
            return JSONResponse({"error": str(error)}, 409)
        return _missing() if found is None or not done else JSONResponse(_described(found))

    async def behaviour(request: Request) -> JSONResponse:
        try:
            fleet.behave(**await request.json())
        except KeyError as error:
            return JSONResponse({"error": f"no such tablet: {error}"}, 404)
        except TypeError as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({})

    async def push_service(request: Request) -> JSONResponse:
        body = await request.json()
        try:
            fleet.cloud.script.everyone = Answer(**body.get("everyone", {}))
            fleet.cloud.script.latency = float(body.get("latency", 0))
            fleet.cloud.script.mute = bool(body.get("mute", False))
        except (TypeError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse({})

    return Starlette(
        routes=[
            Route("/status", status),
            Route("/tablets/{serial}", tablet),
            Route("/tablets/{serial}/{act}", act, methods=["POST"]),
            Route("/behaviour", behaviour, methods=["PATCH"]),
            Route("/push-service", push_service, methods=["PATCH"]),
        ]
    )


def _missing() -> JSONResponse:
    return JSONResponse({"error": "no such tablet or act"}, 404)


def _described(tablet: IPad) -> dict[str, Any]:
    return {
        "status": tablet.status.value,
        "silent": tablet.silent,
        "epoch": tablet.epoch,
        "device": dataclasses.asdict(tablet.device),
        "journal": [dataclasses.asdict(entry) for entry in tablet.journal.entries],
    }


async def _act(fleet: Fleet, tablet: IPad, name: str, body: dict[str, Any]) -> bool:
    """Have a tablet do something that its user could do; False when there is no such thing."""
    match name:
        case "offline":
            tablet.go_offline()
        case "online":
            tablet.come_online()
        case "check-in":
            await tablet.check_in()
        case "check-out":
            await tablet.check_out()
        case "sim":
            tablet.device.iccid = str(body["iccid"])
        case "drift":
            _drift(tablet, loses=list(body.get("loses", ())), ignores=list(body.get("ignores", ())))
        case "enroll":
            await tablet.enroll(await fleet.fetch(str(body["profile"])))
        case _:
            return False
    return True


def _drift(tablet: IPad, *, loses: list[str], ignores: list[str]) -> None:
    """Have a tablet lose these profiles, now and at each installation, and ignore these restrictions, silently."""
    tablet.device.loses, tablet.device.ignores = loses, ignores
    for identifier in loses:
        tablet.device.profiles.pop(identifier, None)
