"""`tabane up`: the whole house on one machine, in one data folder. It starts and stops parts and knows no room's rules.

Parts: PostgreSQL and Valkey (unless DATABASE_URL and REDIS_URL name others), door, operators' app, workers, beat.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import httpx2
import typer

from mdm import db, roles
from mdm.cli import house, keep
from mdm.cli.demo import Demo
from mdm.embedded import claim, default_folder, free_port, host, start_postgres, start_valkey
from mdm.embedded.folder import make_folder
from mdm.embedded.supervisor import Part, Supervisor, python_part
from mdm.errors import Misconfigured

app = typer.Typer()

_WORKERS = {
    "worker-urgent": ("urgent",),
    "worker-push": ("push",),
    "worker-sweep": ("sweep", "sync"),
    "worker-carriers": ("carriers",),
}


@dataclass(frozen=True)
class Plan:
    """What was asked for on the command line."""

    folder: Path
    address: str
    port: int
    door_port: int

    @property
    def url(self) -> str:
        """Where operators reach this house from this machine."""
        return f"http://{_reachable(self.address)}:{self.port}"

    @property
    def door_url(self) -> str:
        """Where tablets reach this house from this machine."""
        return f"http://{_reachable(self.address)}:{self.door_port}"


@app.command()
def up(
    *,
    data: Annotated[Path | None, typer.Option(help="Data folder; the user's data folder if absent.")] = None,
    host_address: Annotated[str, typer.Option("--host", help="Address both doors listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Operators' port; 0 takes a free one.")] = 8001,
    door_port: Annotated[int, typer.Option(min=0, max=65535, help="Tablets' port; 0 takes a free one.")] = 8000,
    demo: Annotated[bool, typer.Option("--demo", help="Add simulated iPads and do the main job with them.")] = False,
    tablets: Annotated[int | None, typer.Option(min=1, max=15000, help="Simulated iPads [50].")] = None,
    sims: Annotated[int | None, typer.Option(min=1, max=15000, help="Simulated lines [as many as iPads].")] = None,
    exit_when_done: Annotated[bool, typer.Option("--exit-when-done", help="End when the demo has ended.")] = False,
) -> None:
    """Start everything on this machine and run until Ctrl-C; data stays in the folder for the next start."""
    if not demo and (tablets is not None or sims is not None or exit_when_done):
        raise typer.BadParameter("--tablets, --sims and --exit-when-done go with --demo")
    folder = (data or default_folder()).resolve()
    if demo:
        folder /= "demo"  # invented tablets never come into a folder of real ones
    plan = Plan(folder, host_address, port or free_port(), door_port or free_port())
    with claim(folder):
        host.require_free(plan.port, address=plan.address)
        host.require_free(plan.door_port, address=plan.address)
        print(f"starting in {folder}; Ctrl-C stops", flush=True)
        supervisor = Supervisor(partial(print, flush=True))
        with _stopped_by_signals(supervisor):
            pretended = Demo(folder, tablets=tablets, sims=sims, exit_when_done=exit_when_done) if demo else None
            status = _run(plan, supervisor, pretended)
    raise typer.Exit(status)


def _run(plan: Plan, supervisor: Supervisor, demo: Demo | None) -> int:
    try:
        _start(plan, supervisor, demo)
        if supervisor.stopping.is_set():
            return 0
        with house.announced():
            sign_in = keep.first_administrator(plan.folder)
            greet = partial(_greet, plan, sign_in)
            if sign_in is not None:
                keep.sign_in_here(plan.url, sign_in.token)
            if demo is None:
                greet()
            elif sign_in is None:
                raise Misconfigured("the demo signs in as its own administrator, and this database has other accounts")
            else:
                demo.begin(plan.url, sign_in.token, supervisor, greet)
            supervisor.run()
        return demo.status if demo is not None else 0
    finally:
        supervisor.stop()


def _greet(plan: Plan, sign_in: keep.SignIn | None) -> None:
    print(f"operators {plan.url} · tablets {plan.door_url} · logs {plan.folder / 'logs'}")
    if sign_in is not None:
        print(f"sign in as {sign_in.name}, password in {sign_in.password_file}")
        if sign_in.password is not None:
            print(f"password (shown this once): {sign_in.password}")
    sys.stdout.flush()


def _start(plan: Plan, supervisor: Supervisor, demo: Demo | None) -> None:
    make_folder(plan.folder / "logs", mode=0o700)
    os.environ.update(_settings(plan, demo))
    ours = "DATABASE_URL" not in os.environ
    if ours:
        os.environ["DATABASE_URL"] = _start_postgres(plan.folder / "postgres", supervisor)
    if "REDIS_URL" not in os.environ:
        os.environ["REDIS_URL"] = _start_valkey(plan.folder / "valkey", supervisor)
    db.migrate(os.environ["DATABASE_URL"])
    # Another one's database has an owner of its own, who makes the roles: docs/roles.md.
    own = partial(_own, plan, roles.house(os.environ["DATABASE_URL"]) if ours else {})
    served = ("--host", plan.address, "--port")
    supervisor.start(
        own("door", (*served, str(plan.door_port)), is_ready=partial(_answers, plan.door_url)),
        own("web", (*served, str(plan.port)), is_ready=partial(_answers, plan.url)),
        *(own(name, queues, command="worker") for name, queues in _WORKERS.items()),
        own("sender"),
        own("beat"),
    )


def _settings(plan: Plan, demo: Demo | None) -> dict[str, str]:
    """Return the settings of all parts; what the caller's environment says already wins, but not in a demo."""
    own = {
        "TABANE_SECRET_KEY_FILE": str(keep.secret_key(plan.folder)),
        "TABANE_PUBLIC_URL": plan.door_url,
        "TABANE_OPERATOR_URL": plan.url,
        **keep.audit_files(plan.folder),
    }
    if demo is not None:
        return own | demo.settings()
    return {name: value for name, value in own.items() if name not in os.environ}


def _start_postgres(folder: Path, supervisor: Supervisor) -> str:
    server = start_postgres(folder)
    again = partial(start_postgres, folder, port=urlsplit(server.url).port)
    signals = (signal.SIGINT, signal.SIGQUIT)
    part = Part("postgres", lambda: again().process, folder / "postgres.log", stop_signals=signals, patience_s=10)
    supervisor.adopt(part, server.process)
    return server.url


def _start_valkey(folder: Path, supervisor: Supervisor) -> str:
    server = start_valkey(folder)
    address = urlsplit(server.url)
    again = partial(start_valkey, folder, port=address.port, password=address.password)
    supervisor.adopt(Part("valkey", lambda: again().process, folder / "valkey.log", patience_s=5), server.process)
    return server.url


def _own(
    plan: Plan,
    addresses: Mapping[str, str],
    name: str,
    options: Sequence[str] = (),
    *,
    command: str = "",
    is_ready: Callable[[], bool] | None = None,
) -> Part:
    """Describe one of our own processes: a sub-command of this very program, with its role's way to the database."""
    log = plan.folder / "logs" / f"{name}.log"
    command_line = [sys.executable, "-m", "mdm.cli", command or name, *options]
    address = addresses.get(command or name)
    settings = {"DATABASE_URL": address} if address else {}
    return python_part(name, command_line, log, is_ready=is_ready or (lambda: True), settings=settings)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", timeout=2).status_code == HTTPStatus.OK
    except httpx2.HTTPError:
        return False


def _reachable(address: str) -> str:
    return "127.0.0.1" if address in ("0.0.0.0", "::", "") else address


@contextmanager
def _stopped_by_signals(supervisor: Supervisor) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and a closed terminal stop the house in order instead of cutting it off."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    former = {number: signal.signal(number, lambda *_: supervisor.stopping.set()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
