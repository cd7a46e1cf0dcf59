"""`tabane-sim`: pretended iPads and a push service against any door, its invented certificates, a pager, carriers."""

import argparse
import asyncio
import signal
import socket
import sys
from contextlib import ExitStack, suppress
from dataclasses import fields
from pathlib import Path
from typing import TextIO

import uvicorn
import uvloop

from simulator import carriers
from simulator.clouds.pager import Pager, line_of
from simulator.clouds.pki import PushPki, make_push_pki, topic_of
from simulator.control import control
from simulator.tablets.behaviour import Behaviour
from simulator.tablets.fleet import Fleet, Recruit, read_recruits
from simulator.tablets.keys import Keys

BUNDLE = "push-bundle.pem"
"""Push certificate and key in one file, as the server's setting wants it."""


def main() -> None:
    """Run the command line; exit code 2 for a wrong one, 1 with one line for what failed."""
    options = _parser().parse_args()
    try:
        options.act(options)
    except (OSError, ValueError) as error:
        sys.exit(f"tabane-sim: {error}")


def write_pki(folder: Path) -> PushPki:
    """Make the invented certificates in `folder`, with `push-bundle.pem` for the server's setting."""
    pki = make_push_pki(folder)
    bundle = folder / BUNDLE
    bundle.touch(mode=0o600)
    bundle.write_bytes(pki.push_certificate.read_bytes() + pki.push_key.read_bytes())
    return pki


def read_pki(folder: Path) -> PushPki:
    """Return the certificates that `write_pki` made in `folder`."""
    from cryptography import x509  # noqa: PLC0415 - only here
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    push = folder / "push.pem"
    topic = topic_of(x509.load_pem_x509_certificate(push.read_bytes()).public_bytes(Encoding.DER))
    return PushPki(
        authority=folder / "authority.pem",
        server_certificate=folder / "server.pem",
        server_key=folder / "server.key",
        push_certificate=push,
        push_key=folder / "push.key",
        topic=topic or "",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("tabane-sim", description=__doc__)
    parser.set_defaults(act=lambda _options: parser.error("name a command: run, pki, pager or carriers"))
    commands = parser.add_subparsers()
    pki = commands.add_parser("pki", help="make the invented push certificate and the push service's certificates")
    pki.add_argument("--out", type=Path, required=True)
    pki.set_defaults(act=_pki)
    pager = commands.add_parser("pager", help="take the house's pages and print a line for each")
    pager.add_argument("--port", type=int, required=True, help="loopback port; any path is taken")
    pager.add_argument("--secret-file", type=Path, required=True, help="what the house signs its pages with")
    pager.set_defaults(act=_pager)
    carriers.add_to(commands)
    run = commands.add_parser("run", help="run tablets and the push service until SIGTERM or Ctrl-C")
    run.add_argument("--pki", type=Path, required=True, help="folder that `tabane-sim pki` wrote")
    run.add_argument("--apns-port", type=int, default=0)
    run.add_argument("--control-port", type=int, default=0, help="loopback port of the JSON endpoint")
    run.add_argument("--door", default="", help="base address for `--profile-url-template` and `path`")
    run.add_argument("--tablets", help="JSON lines (`serial`, `profile`, model, imei, iccid …); - for stdin")
    run.add_argument("--profile-url-template", default="", help="where a line names no profile; {serial} is replaced")
    run.add_argument("--journal", type=Path, help="append every journal line here as JSON")
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--at-once", type=int, default=16, help="enrolments at a time")
    run.add_argument("--connections", type=int, default=64)
    run.add_argument("--shared-keys", type=int, default=0, help="share so many RSA keys; 0: each tablet its own")
    for knob in fields(Behaviour):
        if knob.type is bool:
            run.add_argument(f"--{knob.name.replace('_', '-')}", action="store_true")
        else:
            kind = str if knob.type is str else float
            run.add_argument(f"--{knob.name.replace('_', '-')}", type=kind, default=knob.default)
    run.set_defaults(act=_run)
    return parser


def _pki(options: argparse.Namespace) -> None:
    print(write_pki(options.out).topic)


def _pager(options: argparse.Namespace) -> None:
    receiver = Pager(options.secret_file.read_bytes().strip(), tell=lambda page: print(line_of(page), flush=True))
    uvicorn.run(receiver, host="127.0.0.1", port=options.port, log_level="warning", lifespan="off")


def _run(options: argparse.Namespace) -> None:
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        journal = stack.enter_context(options.journal.open("a", buffering=1)) if options.journal else None
        behaviour = Behaviour(**{knob.name: getattr(options, knob.name) for knob in fields(Behaviour)})
        recruits: list[Recruit] = []
        if options.tablets:
            source = sys.stdin if options.tablets == "-" else stack.enter_context(Path(options.tablets).open())
            recruits = list(read_recruits(source, template=options.profile_url_template, door=options.door))
        uvloop.run(_serve(options, recruits, behaviour, journal))


async def _serve(
    options: argparse.Namespace, recruits: list[Recruit], behaviour: Behaviour, journal: TextIO | None
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    fleet = Fleet(
        read_pki(options.pki),
        behaviour=behaviour,
        seed=options.seed,
        keys=Keys(shared=options.shared_keys) if options.shared_keys else None,
        connections=options.connections,
        journal=journal,
    )
    await fleet.start(port=options.apns_port)
    listener = socket.create_server(("127.0.0.1", options.control_port))
    port = listener.getsockname()[1]
    server = control(fleet)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    print(f"push service {fleet.cloud.url} · control http://127.0.0.1:{port} · {len(recruits)} tablets", flush=True)
    enrolling = asyncio.ensure_future(fleet.enroll(recruits, at_once=options.at_once))
    await _watch(fleet, stop)
    enrolling.cancel()
    server.should_exit = True
    await asyncio.gather(serving, enrolling, return_exceptions=True)
    await fleet.stop()


async def _watch(fleet: Fleet, stop: asyncio.Event) -> None:
    """Print a line whenever the numbers have changed, at most once a second."""
    last = ""
    while not stop.is_set():
        now = fleet.summary()
        line = " · ".join(f"{name} {now[name]}" for name in ("enrolled", "with_profiles", "pushes", "executed_twice"))
        if line != last:
            print(line, flush=True)
            last = line
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1)


if __name__ == "__main__":
    main()
