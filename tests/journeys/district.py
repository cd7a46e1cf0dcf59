"""A small district on real parts for end-to-end tests: servers as processes, tablets and push service on a thread.

Everything is done as people and tablets do it: through the operator API and the tablets' wire.
"""

import asyncio
import base64
import csv
import io
import itertools
import os
import plistlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx2
import psycopg
import uvloop
from celery import Celery

from mdm import roles
from mdm.jobs import QUEUES, Job
from simulator.__main__ import BUNDLE, write_pki
from simulator.tablets.behaviour import Behaviour
from simulator.tablets.cms import sign
from simulator.tablets.device import Device
from simulator.tablets.fleet import Fleet
from simulator.tablets.ipad import IPad
from simulator.tablets.journal import Journal
from simulator.tablets.keys import Keys
from tests.budgets import NO_BUDGETS
from tests.signer import Signer

T = TypeVar("T")
PASSWORD = "an invented password 7"
_COLUMNS = (
    *("control_number", "serial", "platform", "model", "imei", "iccid", "school_code", "school_name", "state"),
    *("user_id", "name"),
)


class Late(AssertionError):
    """Something did not come about in time."""


class Town:
    """The event loop on which tablets and push service live, beside the test's own thread."""

    def __init__(self, pki_folder: Path) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tablets", daemon=True)
        self._thread.start()
        self.pki = write_pki(pki_folder)
        self.fleet = self.do(self._open())

    async def _open(self) -> Fleet:
        fleet = Fleet(self.pki, keys=Keys(shared=6))
        await fleet.start()
        return fleet

    def do(self, act: Coroutine[Any, Any, T], seconds: float = 60) -> T:
        """Run a coroutine among the tablets and return its result."""
        return asyncio.run_coroutine_threadsafe(act, self._loop).result(seconds)

    def close(self) -> None:
        self.do(self.fleet.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class Api:
    """The operator API, as one signed-in person uses it."""

    def __init__(self, url: str, name: str, log: Callable[[], str]) -> None:
        self.log = log
        self._http = httpx2.Client(base_url=url, timeout=30)
        answer = self._http.post("/api/v1/session", json={"name": name, "password": PASSWORD, "bearer": True})
        answer.raise_for_status()
        self.bearer = str(answer.json()["token"])
        self._http.headers["Authorization"] = f"Bearer {self.bearer}"

    def ask(self, method: str, path: str, *, expect: int | None = None, **options: Any) -> Any:
        """Send a request under /api/v1; anything but success (or `expect`) fails with the problem's text."""
        headers = {"Idempotency-Key": uuid4().hex} if method == "POST" else {}
        answer = self._http.request(method, f"/api/v1{path}", headers=headers | options.pop("headers", {}), **options)
        right = answer.is_success if expect is None else answer.status_code == expect
        assert right, f"{method} {path}: {answer.status_code} {answer.text} {options.get('json', '')}\n{self.log()}"
        return answer.json() if answer.content else None

    def close(self) -> None:
        self._http.close()


class District:
    """The servers of a district, its two administrators and its tablets."""

    def __init__(self, folder: Path, *, database_url: str, redis_url: str, secret_key_file: Path) -> None:
        self.folder = folder
        self.database_url = database_url
        self._addresses = roles.house(database_url)
        """Each process has a role of its own in the database."""
        self.town = Town(folder / "pki")
        self._schools = itertools.count(1)
        self._numbers = itertools.count(1)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        door, web = _free_port(), _free_port()
        self.door_url, self.web_url = f"http://127.0.0.1:{door}", f"http://127.0.0.1:{web}"
        self._environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "TABANE_SECRET_KEY_FILE": str(secret_key_file),
            "TABANE_PUBLIC_URL": self.door_url,
            "TABANE_OPERATOR_URL": self.web_url,
            "TABANE_SECOND_FACTOR": "optional",
            "TABANE_APPLE__PUSH_CERTIFICATE": str(folder / "pki" / BUNDLE),
            "TABANE_APPLE__APNS_URL": self.town.fleet.cloud.url,
            "TABANE_APPLE__APNS_CA_FILE": str(self.town.pki.authority),
            # These journeys are about right order, not about pace.
            "TABANE_THROTTLE__DEVICE_PER_S": "0",
            "TABANE_THROTTLE__SCHOOL_PER_S": "0",
            "TABANE_THROTTLE__FLEET_PER_S": "0",
            "PYTHONWARNINGS": "ignore",
        }
        self._ports = {"door": door, "web": web}
        self._apis: list[Api] = []

    def open(self) -> None:
        """Start everything and sign the administrators in."""
        for part, port in self._ports.items():
            self._start(part, part, "--port", str(port))
        self._start("worker", "worker", "urgent", "push", "sync", "sweep")
        self._start("sender", "sender")
        self._start("beat", "beat")
        for name in ("first", "second"):
            self._add_operator(name)
        for url in (self.door_url, self.web_url):
            self.until(lambda url=url: _ready(url), f"{url} ready", seconds=60)
        for name in ("first", "second"):
            assert self._processes.pop(f"operator-{name}").wait(60) == 0, self.logs()
        self.first = Api(self.web_url, "first", self.logs)
        self.second = Api(self.web_url, "second", self.logs)
        self._apis = [self.first, self.second]
        with psycopg.connect(self.database_url) as connection:
            connection.execute(NO_BUDGETS)  # many journeys share a house within an hour
        self.signer = Signer("second").pinned(self.database_url)

    # The ledger and its tablets.

    def school(self, tablets: int = 1, *, state: str = "issued", **device: Any) -> list[Device]:
        """Put a school of its own with some tablets into the ledger, by importing a file."""
        code = f"J{next(self._schools):03d}"
        devices = []
        for _ in range(tablets):
            number = next(self._numbers)
            imei, iccid = luhn(f"35000000{number:06d}"), luhn(f"8981100{number:011d}")
            devices.append(Device(f"JRNY{number:08d}", imei=imei, iccid=iccid, **device))
        self.import_ledger(code, devices, state=state)
        return devices

    def import_ledger(
        self, code: str, devices: list[Device], *, state: str = "issued", holder: str = ""
    ) -> dict[str, Any]:
        """Import the ledger lines of these tablets; `holder` is the user id of whoever has them."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(_COLUMNS)
        for each in devices:
            fixed = (f"T-{each.serial}", each.serial, "apple", "iPad", each.imei, each.iccid)
            person = (holder, "架空 太郎") if holder else ("", "")
            writer.writerow((*fixed, code, f"Invented school {code}", state, *person))
        headers = {"Content-Type": "text/csv"}
        report = self.first.ask("POST", "/ledger/imports", content=text.getvalue().encode(), headers=headers)
        assert report["errors"] == 0, report
        return dict(report)

    def device(self, serial: str) -> dict[str, Any]:
        """Return what the operator API shows of a tablet."""
        (found,) = self.first.ask("GET", "/devices", params={"serial": serial})["items"]
        return dict(found)

    def school_of(self, device: Device) -> str:
        """Return the code of a tablet's school."""
        return str(self.device(device.serial)["school_code"])

    def profile(self, serial: str) -> bytes:
        """Open a ticket for one tablet and return the enrolment profile, fetched at the tablets' door."""
        return self.fetch(self.first.ask("POST", "/tickets", json={"serial": serial})["url"])

    def staging(self, school: str, uses: int) -> bytes:
        """Open a ticket for the set-up bench of a school and return its profile."""
        opened = self.first.ask("POST", "/tickets", json={"school": school, "uses": uses, "hours": 1})
        return base64.b64decode(opened["profile"])

    def fetch(self, url: str) -> bytes:
        """Download an enrolment profile as a tablet does."""
        return self.town.do(self.town.fleet.fetch(url))

    def tablet(self, device: Device, behaviour: Behaviour | None = None) -> IPad:
        """Unpack a tablet; it is not yet enrolled."""

        async def unpack() -> IPad:
            return self.town.fleet.add(device, behaviour=behaviour or Behaviour(returns_after_s=0.3))

        return self.town.do(unpack())

    def enroll(self, device: Device, behaviour: Behaviour | None = None) -> IPad:
        """Enrol a tablet with a ticket of its own and wait until the server has pushed it and knows what it is."""
        tablet = self.tablet(device, behaviour)
        self.town.do(tablet.enroll(self.profile(device.serial)))
        self.until(lambda: self._known(device), lambda: f"{device.serial} known: {self.device(device.serial)}")
        return tablet

    def _known(self, device: Device) -> bool:
        enrollment = self.device(device.serial)["enrollment"]
        return enrollment["status"] == "active" and enrollment["supervised"] is not None

    # Commands and policies.

    def order(self, tablet: IPad, kind: str, **arguments: Any) -> str:
        """Ask one thing of one tablet and return the command's id."""
        device_id = self.device(tablet.device.serial)["id"]
        body = {"kind": kind, "arguments": arguments, "reason": "a journey"}
        answer = self.first.ask("POST", f"/devices/{device_id}/commands", json=body)
        return str(answer["command"]["id"])

    def approve(self, command: str) -> None:
        """Approve a command as the second administrator, without the waiting time."""
        approval = self.second.ask("GET", f"/commands/{command}")["approval_id"]
        request = self.second.ask("GET", f"/approvals/{approval}")
        self.second.ask("POST", f"/approvals/{approval}/approve", json=self.signer.consent(request))

    def state(self, command: str) -> str:
        """Return the state of a command as the operator API shows it."""
        return str(self.first.ask("GET", f"/commands/{command}")["state"])

    def until_state(self, command: str, *states: str, seconds: float = 30) -> None:
        """Wait until a command is in one of these states."""
        self.until(lambda: self.state(command) in states, lambda: f"{command} is {self.state(command)}", seconds)

    def give(self, school: str, **sections: Any) -> str:
        """Store the policy of a school and roll it out there; return the rollout's id."""
        name = f"school-{school.lower()}"
        document = {"version": 1, "name": name, "layer": {"school": school}, **sections}
        planned = self.first.ask("POST", "/policies/plan", json={"documents": [document]})
        agreed = {"plan": planned["hash"], "allow_delete": planned["deletes"]}
        self.first.ask("POST", "/policies", json={"documents": [document], **agreed})
        answer = self.first.ask("POST", "/rollouts", json={"policy": name, "target": f"school={school}"})
        return str(answer["id"])

    # Waiting and witnesses.

    def hint(self, job: Job) -> None:
        """Ring a job that beat would ring later."""
        with Celery("journeys", broker=self._environment["REDIS_URL"], set_as_current=False) as publisher:
            publisher.conf.broker_transport_options = {"global_keyprefix": "tabane:"}
            publisher.send_task(job.value, queue=QUEUES[job], ignore_result=True)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement on the district's database: to turn the clock, or to see what no door shows."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def turn_the_clock(self, school: str) -> None:
        """Let the time come for which the wake-ups of a school's tablets were put off; makes no wake-up."""
        self.sql(
            "UPDATE wakeup w SET due_at = least(due_at, now()) FROM device d JOIN school s ON s.id = d.school_id"
            " WHERE d.id = w.device_id AND s.code = %s AND w.due_at > now() + interval '5 seconds'",
            school,
        )

    def profiles_of(self, school: str) -> list[tuple[Any, ...]]:
        """Return how each profile of each tablet of a school stands, for the message of a failure."""
        return self.sql(
            "SELECT d.serial, p.identifier, p.status, p.command_id, e.last_seen_at, w.due_at, w.lane, now()"
            " FROM device d JOIN school s ON s.id = d.school_id JOIN enrollment e ON e.device_id = d.id"
            " LEFT JOIN device_profile p ON p.device_id = d.id LEFT JOIN wakeup w ON w.device_id = d.id"
            " WHERE s.code = %s ORDER BY 1, 2",
            school,
        )

    def reported(self, serial: str, kind: str) -> Any:
        """Return the latest answer of a tablet to an inventory question, as it is kept."""
        return self.sql(
            "SELECT body FROM device_report r JOIN device d ON d.id = r.device_id WHERE d.serial = %s AND r.kind = %s",
            serial,
            kind,
        )[0][0]

    def pushes(self, token: bytes, outcome: str) -> int:
        """Count the pushes to a token that ended so, by the push service's own journal."""
        journal = list(self.town.fleet.cloud.journal)
        return sum(entry.token == token.hex() and outcome in entry.outcome for entry in journal)

    def signature(self, tablet: IPad, message: dict[str, Any]) -> str:
        """Return the Mdm-Signature header of a message of this tablet."""
        assert tablet.enrollment is not None
        signed = sign(plistlib.dumps(message), tablet.enrollment.signer, attached=False)
        return base64.b64encode(signed).decode()

    def until(self, happened: Callable[[], bool], what: str | Callable[[], str], seconds: float = 30) -> None:
        """Wait for something that other processes bring about; `Late` with their logs if it does not come."""
        end = time.monotonic() + seconds
        while not happened():
            for name, process in self._processes.items():
                if process.poll() not in (None, 0):
                    raise Late(f"the {name} process ended with {process.returncode}\n{self.logs()}")
            if time.monotonic() > end:
                raise Late(f"{what if isinstance(what, str) else what()}: not after {seconds} s\n{self.logs()}")
            time.sleep(0.05)

    def journals(self) -> list[Journal]:
        """Return the journal of every tablet so far."""
        return [tablet.journal for tablet in self.town.fleet.tablets.values()]

    def audited(self, action: str) -> list[dict[str, Any]]:
        """Return the newest lines of one action in the audit trail."""
        lines = self.first.ask("GET", "/audit", params={"limit": 200})["items"]
        return [line for line in lines if line["action"] == action]

    def logs(self) -> str:
        """Return the end of each process's log."""
        tails = {name: (self.folder / f"{name}.log").read_text(errors="replace")[-2500:] for name in self._processes}
        return "\n".join(f"--- {name}\n{tail}" for name, tail in tails.items())

    def close(self) -> None:
        """Stop everything."""
        for api in self._apis:
            api.close()
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()
            process.wait()
        self.town.close()

    def _start(self, name: str, *arguments: str) -> None:
        environment = {**self._environment, "DATABASE_URL": self._addresses.get(arguments[0], self.database_url)}
        with (self.folder / f"{name}.log").open("ab") as log:
            command = [sys.executable, "-m", "mdm.cli", *arguments]
            self._processes[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def _add_operator(self, name: str) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        options = ("--role", "administrator", "--all-schools", "--password-file", str(secret))
        self._start(f"operator-{name}", "operator", "add", name, *options)


def luhn(digits: str) -> str:
    """Return the digits with their check digit."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 - place % 2)
        total += doubled // 10 + doubled % 10
    return digits + str(-total % 10)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz").is_success
    except httpx2.TransportError:
        return False
