"""Pretended carriers in one process: SORACOM, Control Center, and a portal that puts its files into a folder.

Which lines each has stands in a file of JSON lines: `account` (soracom, control_center or files), `iccid` and `imei`.
The keys that are let in stand in a folder, in the files that the house reads: `soracom.json`, `control-center.json`.
"""

import argparse
import asyncio
import json
import signal
import socket
from collections import defaultdict
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import uvicorn
import uvloop

from simulator.clouds.carrier import CarrierCloud
from simulator.clouds.carrier_script import Script
from simulator.clouds.control_center import ControlCenterCloud
from simulator.clouds.lines import invented_numbers
from simulator.clouds.soracom import SoracomCloud
from simulator.clouds.usage_files import UsageFiles
from simulator.control import Control as Quiet

_LOOKS_S = 30.0
_ACCOUNTS = ("soracom", "control_center", "files")


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    carriers = commands.add_parser("carriers", help="pretend two carriers and a portal until SIGTERM or Ctrl-C")
    carriers.add_argument("--lines", type=Path, required=True, help="JSON lines: account, iccid, imei")
    carriers.add_argument("--secrets", type=Path, required=True, help="folder of soracom.json and control-center.json")
    carriers.add_argument("--files", type=Path, required=True, help="folder that the portal's files of usage go into")
    carriers.add_argument("--sims", type=Path, required=True, help="where its file of lines goes")
    carriers.add_argument("--soracom-port", type=int, default=0)
    carriers.add_argument("--control-center-port", type=int, default=0)
    carriers.add_argument("--days", type=int, default=45, help="days of history in the portal's files")
    carriers.add_argument("--status-takes-s", type=float, default=60, help="from an order until a line is so")
    carriers.add_argument("--spare", type=int, default=0, help="lines beside those, shared among the three")
    carriers.add_argument("--seed", type=int, default=0)
    carriers.set_defaults(act=lambda options: uvloop.run(_serve(options)))


def pretended(options: argparse.Namespace) -> tuple[SoracomCloud, ControlCenterCloud, UsageFiles]:
    """Return the three, each with its lines."""
    numbers: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for line in options.lines.read_text().splitlines():
        fields = json.loads(line)
        numbers[fields["account"]].append((fields["iccid"], fields["imei"]))
    for index, pair in enumerate(invented_numbers(options.spare, seed=500 + options.seed)):
        numbers[_ACCOUNTS[index % len(_ACCOUNTS)]].append((pair[0], ""))
    soracom, control_center = (
        json.loads((options.secrets / name).read_text()) for name in ("soracom.json", "control-center.json")
    )
    late = {"late": 0.02, "guessed": 0.03, "doubled": 0.01, "status_takes_s": options.status_takes_s}
    return (
        SoracomCloud(
            numbers["soracom"],
            key_id=soracom["authKeyId"],
            key=soracom["authKey"],
            seed=options.seed + 1,
            script=Script(export_takes_s=2, **late),
        ),
        ControlCenterCloud(
            numbers["control_center"],
            username=control_center["username"],
            api_key=control_center["api_key"],
            seed=options.seed + 2,
            script=Script(calls_per_s=5, in_flight=1, **late),
        ),
        UsageFiles(numbers["files"], seed=options.seed + 3),
    )


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    soracom, control_center, portal = pretended(options)
    options.files.mkdir(parents=True, exist_ok=True)
    options.sims.write_bytes(portal.sims())
    out: set[str] = set()
    ports = options.soracom_port, options.control_center_port
    running = [_listen(cloud, port) for cloud, port in zip((soracom, control_center), ports, strict=True)]
    addresses = " · ".join(address for _, _, address in running)
    await asyncio.to_thread(put_out, portal, options.files, out, days=options.days)
    print(f"carriers {addresses} · files in {options.files}", flush=True)
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _LOOKS_S)
        await asyncio.to_thread(put_out, portal, options.files, out, days=options.days)
    for server, _, _ in running:
        server.should_exit = True
    await asyncio.gather(*(task for _, task, _ in running), return_exceptions=True)


def put_out(portal: UsageFiles, folder: Path, out: set[str], *, days: int) -> None:
    """Put the portal's files that are `out` by now into the folder in their order, each whole and once."""
    today = portal.lines.today()
    for file in portal.deliveries(today - timedelta(days=days), today):
        if file.name not in out:
            part = folder / f".{file.name}.part"
            part.write_bytes(file.body)
            part.rename(folder / file.name)
            out.add(file.name)


def _listen(cloud: CarrierCloud, port: int) -> tuple[Quiet, "asyncio.Future[None]", str]:
    listener = socket.create_server(("127.0.0.1", port))
    server = Quiet(uvicorn.Config(cloud, log_level="critical", lifespan="off"))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    return server, asyncio.ensure_future(server.serve(sockets=[listener])), address
