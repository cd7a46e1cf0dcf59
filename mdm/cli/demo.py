"""`tabane up --demo`: the main job with invented tablets, done through the operator API like anybody would.

Ledger in, set-up tickets out, simulated iPads enrol over the real wire, the sample policy is rolled out, all have it.
It must not touch the database, nor any real push service.
"""

import json
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import typer

from mdm.cli.client import Client
from mdm.cli.demo_lines import DemoLines, Interrupted
from mdm.cli.demo_pager import DemoPager
from mdm.cli.progress import bar
from mdm.devices import sample
from mdm.devices.ledger_columns import Column
from mdm.embedded import free_port
from mdm.embedded.supervisor import Supervisor, python_part
from mdm.errors import MdmError, Misconfigured
from mdm.organization.hours import JST
from profiles import files

_DEFAULT_TABLETS = 50
_TICKET_HOURS = 12
_SCANNED_AT_ONCE = 500


class Demo:
    """One run of the demo: `settings` before the parts start, `begin` when they are ready, `status` at the end."""

    def __init__(self, folder: Path, *, tablets: int | None, sims: int | None, exit_when_done: bool) -> None:
        self.status = 0
        self._folder = folder
        self._tablets = _agreed_number(folder / "tablets", tablets, _DEFAULT_TABLETS)
        lines = _agreed_number(folder / "sims", sims and max(sims, self._tablets), self._tablets)
        self._lines = DemoLines(folder, spare=lines - self._tablets)
        self._exit_when_done = exit_when_done
        self._push_port = free_port()
        self._control_port = free_port()
        self._pki = folder / "push-pki"
        self._pager = DemoPager(folder)

    def settings(self) -> dict[str, str]:
        """Return the settings that point the house at the simulated push service and pager, and nowhere else."""
        if not (self._pki / "push-bundle.pem").exists():
            command = [sys.executable, "-m", "simulator", "pki", "--out", str(self._pki)]
            made = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
            if made.returncode != 0:
                raise Misconfigured(
                    f"the demo's certificates could not be made: {made.stderr.strip().splitlines()[-1:]}"
                )
        return (
            self._pager.settings()
            | self._lines.settings()
            | {
                "TABANE_APPLE__PUSH_CERTIFICATE": str(self._pki / "push-bundle.pem"),
                "TABANE_APPLE__APNS_URL": f"https://127.0.0.1:{self._push_port}",
                "TABANE_APPLE__APNS_CA_FILE": str(self._pki / "authority.pem"),
                "TABANE_ORGANIZATION": "Tabane demo district",
                "TABANE_SECOND_FACTOR": "optional",
            }
        )

    def begin(self, url: str, token: str, supervisor: Supervisor, greet: Callable[[], None]) -> None:
        """Do the main job in a thread of its own, while the supervisor watches the parts; `greet` when it is done."""
        supervisor.ask(self._pager.part())
        threading.Thread(target=self._run, args=(url, token, supervisor, greet), daemon=True).start()

    def _run(self, url: str, token: str, supervisor: Supervisor, greet: Callable[[], None]) -> None:
        try:
            installed = _MainJob(Client(url, token), supervisor, self._tablets).do(self._simulate, self._lines)
        except Interrupted:
            return
        except (MdmError, httpx2.HTTPError, typer.Exit) as error:
            self.status = 1
            if not isinstance(error, typer.Exit):  # that one has said its line already
                print(f"tabane: the demo failed: {error}", file=sys.stderr, flush=True)
            supervisor.stopping.set()
            return
        print(f"{installed}/{self._tablets} installed", flush=True)
        greet()
        if self._exit_when_done:
            supervisor.stopping.set()
        else:
            print("running until Ctrl-C; pages to whoever is on duty are shown here", flush=True)
            self._pager.show(supervisor.stopping)

    def _simulate(self, tablets: list[dict[str, str]], supervisor: Supervisor) -> Callable[[], dict[str, Any]]:
        """Have the simulator started with these tablets; return how to ask it what they are doing."""
        lines = self._folder / "tablets.jsonl"
        lines.write_text("".join(json.dumps(tablet) + "\n" for tablet in tablets))
        ports = ["--apns-port", str(self._push_port), "--control-port", str(self._control_port)]
        command = [sys.executable, "-m", "simulator", "run", "--pki", str(self._pki), "--tablets", str(lines), *ports]
        if len(tablets) > _DEFAULT_TABLETS:
            command += ["--shared-keys", "8"]  # making an RSA key takes longer than all the rest of an enrolment
        supervisor.ask(python_part("simulator", command, self._folder / "logs" / "simulator.log"))
        return lambda: dict(httpx2.get(f"http://127.0.0.1:{self._control_port}/status", timeout=10).json())


class _MainJob:
    def __init__(self, client: Client, supervisor: Supervisor, tablets: int) -> None:
        self._client = client
        self._supervisor = supervisor
        self._tablets = tablets
        self._schools = max(sample.default_schools(tablets), min(5, tablets))
        self._patience_s = 120 + 0.3 * tablets

    def do(
        self, simulate: Callable[[list[dict[str, str]], Supervisor], Callable[[], dict[str, Any]]], lines: DemoLines
    ) -> int:
        """Do it all and return how many tablets have the policy."""
        client, rows = self._client, list(sample.rows(self._tablets, schools=self._schools))
        content = "".join(sample.lines(self._tablets, schools=self._schools)).encode()
        client.upload("/api/v1/ledger/imports", content, content_type="text/csv")
        print(
            f"ledger: {self._tablets} tablets in {len({row[Column.SCHOOL_CODE] for row in rows})} schools", flush=True
        )
        self._supervisor.ask(lines.part(rows))
        lines.set_up(client, self._supervisor.stopping)
        status = simulate(list(_with_tickets(client, rows)), self._supervisor)
        self._wait("enrolled", lambda: int(status()["enrolled"]))
        document = _sample_policy()
        client.post("/api/v1/policies", {"documents": [document]})
        now = {"waves": {"kind": "at_once"}, "schedule": {"obey_class_hours": False, "avoid_marks": False}}
        rollout = client.post("/api/v1/rollouts", {"policy": document["name"], "target": "fleet", **now})
        print(f"policy {document['name']}: rollout to the fleet begins", flush=True)
        installed = self._wait("installed", lambda: self._installed(rollout["id"]))
        self._check_whereabouts()
        lines.read(client, self._supervisor.stopping)
        return installed

    def _check_whereabouts(self) -> None:
        """Run a first whereabouts check: tablets in use by their check-ins, spares by a scan of what is on them."""
        client = self._client
        if client.get("/api/v1/checks")["items"]:
            return
        today = datetime.now(JST).date()
        days = {"first_day": str(today), "last_day": str(today + timedelta(days=28))}
        # A demo that began before midnight goes on after it.
        check = client.post("/api/v1/checks", {"name": "所在確認", "checkin_days": 1, "repeats": "yearly", **days})
        path = f"/api/v1/checks/{check['id']}"
        listed = client.post(f"{path}/start")["counts"]["listed"]
        spares = [task["control_number"] for task in client.each(f"{path}/tasks") if task["hand"] == "must_be_seen"]
        for begin in range(0, len(spares), _SCANNED_AT_ONCE):
            client.post(f"{path}/scans", {"control_numbers": spares[begin : begin + _SCANNED_AT_ONCE]})
        self._wait("whereabouts", lambda: int(client.get(path)["counts"]["verified"]), listed)
        print(f"whereabouts check: {listed} of {listed} tablets verified, {len(spares)} spares by a scan", flush=True)

    def _installed(self, rollout_id: str) -> int:
        return int(self._client.get(f"/api/v1/rollouts/{rollout_id}")["counts"].get("installed", 0))

    def _wait(self, what: str, count: Callable[[], int], total: int | None = None) -> int:
        deadline = time.monotonic() + self._patience_s
        wanted = self._tablets if total is None else total
        with bar(what, wanted) as advance:
            while True:
                try:
                    done = count()
                except (httpx2.ConnectError, httpx2.TimeoutException):  # the simulator is only just starting
                    done = 0
                advance(done)
                if done >= wanted:
                    return done
                if time.monotonic() > deadline:
                    raise Misconfigured(f"{done} of {wanted} tablets {what} after {self._patience_s:.0f} s")
                if self._supervisor.stopping.wait(0.5):
                    raise Interrupted


def _with_tickets(client: Client, rows: list[dict[Column, str]]) -> Iterator[dict[str, str]]:
    """Open one set-up ticket per school and yield what the simulator must know of each tablet."""
    schools: dict[str, list[dict[Column, str]]] = defaultdict(list)
    for row in rows:
        schools[row[Column.SCHOOL_CODE]].append(row)
    for school, tablets in schools.items():
        ticket = client.post("/api/v1/tickets", {"school": school, "uses": len(tablets), "hours": _TICKET_HOURS})
        for row in tablets:
            yield {
                "serial": row[Column.SERIAL],
                "imei": row[Column.IMEI],
                "iccid": row[Column.ICCID],
                "profile": ticket["url"],
            }


def _sample_policy() -> dict[str, Any]:
    """Return the fleet's document of the sample policy file."""
    here = Path(__file__).parents[1]
    candidates = (here.parent / "docs" / "policy" / "district.yaml", here / "_sample" / "district.yaml")
    text = next((file.read_text() for file in candidates if file.exists()), "")
    found = [document for document in files.parse(text)[0] if document["layer"] == "fleet"]
    if not found:
        raise Misconfigured("the sample policy is not installed beside the package")
    return dict(found[0])


def _agreed_number(file: Path, asked: int | None, usual: int) -> int:
    """Return how many tablets, or lines, this demo has: what its folder was made for."""
    kept = int(file.read_text()) if file.exists() else None
    if kept is not None and asked not in (None, kept):
        raise Misconfigured(
            f"the demo in {file.parent} has {kept} {file.name}: leave --{file.name} out, or delete that folder"
        )
    number = kept or asked or usual
    file.write_text(f"{number}\n")
    return number
