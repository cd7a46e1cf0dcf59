"""A house with a seeded fleet: orders go in through the operator API, tablets answer on the wire, faults come between.

One run: every tablet is asked something, a fault strikes while that is under way, everything comes to rest, and the
invariants are checked. What was checked is cleared away before the next run.
"""

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx2
import psycopg
import uvloop

from bench import seeding
from simulator.__main__ import BUNDLE, write_pki
from simulator.tablets.behaviour import Behaviour
from simulator.tablets.device import Device
from simulator.tablets.fleet import Fleet
from simulator.tablets.ipad import IPad
from simulator.tablets.journal import WITNESSED, Event
from simulator.tablets.keys import Keys
from simulator.web import Client, Response
from tests.faults import witness
from tests.faults.house import House, Late, migrate, settings_of, until
from tests.faults.invariants import Violation, check_all
from tests.faults.witness import Accepted, Limit, Witness
from tests.signer import Signer

T = TypeVar("T")
PASSWORD = "an invented password 7"
KINDS = ("inventory_device", "inventory_security", "inventory_apps", "restart")
WEATHER = Behaviour(
    lost_reply=0.01, duplicate=0.01, not_now=0.01, error=0.01, latency_s=0.2, clock_skew_s=30, returns_after_s=1.0
)
"""Fine, but not perfect."""
_BULK = 500
_NO_BUDGET = (
    "INSERT INTO safeguard_threshold (name, value, set_by, reason) SELECT name, 15000, 'host', 'a fault run'"
    " FROM unnest(ARRAY['b.operator.hour', 'b.fleet.hour']) AS name"
)
"""Faults are about what becomes of orders, of which there are far more here than anybody may give in an hour."""
_OPEN = "('queued', 'sent', 'delivered', 'not_now')"


class Scene:
    """The house, its fleet, and the one run that is under way."""

    def __init__(
        self,
        folder: Path,
        tablets: int,
        *,
        per_s: float,
        burst: int,
        schools: int = 10,
        hurries: bool = True,
        more: Mapping[str, str] | None = None,
        desk: Sequence[str] = (),
        bounded: bool = False,
    ) -> None:
        self.desk = desk
        """Support operators beside the two administrators."""
        self.bounded = bounded
        """Whether budgets are those of real life."""
        self.per_s, self.burst = per_s, burst
        self.hurries = hurries
        """Whether a minute's wait for the leases of the dead is made short."""
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tablets", daemon=True)
        self._thread.start()
        pki = write_pki(folder / "pki")
        self.fleet = self.do(_open_fleet(pki))
        cloud = self.fleet.cloud.url
        free = {f"TABANE_THROTTLE__{name}_PER_S": "0" for name in ("PROVIDER", "SCHOOL", "DEVICE", "URGENT")}
        settings = {
            **free,
            "TABANE_THROTTLE__FLEET_PER_S": str(per_s),
            "TABANE_THROTTLE__FLEET_BURST": str(burst),
            "TABANE_APPLE__PUSH_CERTIFICATE": str(folder / "pki" / BUNDLE),
            "TABANE_APPLE__APNS_URL": cloud,
            "TABANE_APPLE__APNS_CA_FILE": str(pki.authority),
            "TABANE_APPLE__CLIENT_CERT_PROXIES": '["127.0.0.1/32"]',
            "TABANE_SECOND_FACTOR": "optional",
            **(more or {}),
        }
        self.house = House(folder, settings, int(cloud.rpartition(":")[2]))
        self.district = seeding.make_fleet(tablets, schools=schools)
        self.chance = random.Random(0)
        self.seen = Witness()
        self.slack_s = 0.0
        self.forgotten = 0
        """How often Valkey has forgotten its buckets in this run."""
        self.ordering: Future[None] | None = None
        self.clients: list[httpx2.Client] = []
        """The two administrators."""
        self._pool = ThreadPoolExecutor(1)
        self._topic = pki.topic

    def open(self) -> None:
        """Make the tables, the fleet and two administrators, and start everything."""
        house = self.house
        with settings_of(house):
            write_key(house)
            migrate(house)
            seeding.seed(house.postgres.url, self.district, topic=self._topic)
        with house.sql() as connection:
            witness.watch_leases(connection)
            self.seen.devices = dict(connection.execute("SELECT serial, id FROM device").fetchall())
        url = f"{house.door_url}/mdm/apple"
        for tablet in self.district.tablets:
            given = seeding.papers(self.district, tablet, url=url, topic=self._topic, signs=False)
            self.fleet.enlist(Device(tablet.serial), given, behaviour=WEATHER)
        secret = house.folder / "password"
        secret.write_text(PASSWORD)
        options = ("--all-schools", "--password-file", str(secret), "--role")
        people = {"first": "administrator", "second": "administrator", **dict.fromkeys(self.desk, "support")}
        adding = [house.spawn(name, "operator", "add", name, *options, role) for name, role in people.items()]
        house.start()
        assert [one.wait(60) for one in adding] == [0] * len(people), house.tails()
        if not self.bounded:
            with house.sql() as connection:
                connection.execute(_NO_BUDGET)
        self.clients = [self.signed_in(name) for name in ("first", "second")]
        self.signer = Signer("second").pinned(house.postgres.url)

    def signed_in(self, name: str) -> httpx2.Client:
        """Return a client with a session of this operator's."""
        http = httpx2.Client(base_url=f"{self.house.web_url}/api/v1", timeout=30)
        answer = http.post("/session", json={"name": name, "password": PASSWORD, "bearer": True})
        answer.raise_for_status()
        http.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        return http

    def close(self) -> None:
        """Stop everything."""
        self._pool.shutdown(cancel_futures=True)
        for client in self.clients:
            client.close()
        self.house.close()
        self.do(self.fleet.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def do(self, act: Coroutine[Any, Any, T], seconds: float = 120) -> T:
        """Run a coroutine among the tablets and return its result."""
        return asyncio.run_coroutine_threadsafe(act, self._loop).result(seconds)

    # Orders.

    def order(self, kind: str, serials: list[str], **arguments: str) -> None:
        """Ask tablets one thing, as often as it takes until the server has said yes to each request."""
        for at in range(0, len(serials), _BULK):
            body = {"kind": kind, "serials": serials[at : at + _BULK], "arguments": arguments}
            self.seen.accepted.append(self._accepted(uuid4().hex, body))

    def _accepted(self, key: str, body: dict[str, Any]) -> Accepted:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with suppress(httpx2.HTTPError):
                answer = self.clients[0].post("/commands", json=body, headers={"Idempotency-Key": key})
                if answer.is_success:
                    assert not answer.json()["refused"], answer.json()["refused"][:3]
                    return witness.accepted(key, answer.json())
                assert answer.status_code in (409, 503), answer.text
            time.sleep(0.1)
        raise Late(f"an order was not accepted\n{self.house.tails()}")

    def wipe_one(self) -> Future[IPad]:
        """Have a tablet that is through with its work erased: one asks, another approves, as often as it takes."""
        done = [one for one in self.tablets() if one.journal.entries]
        tablet = self.chance.choice(done)
        self.do(tablet.settled())
        tablet.behaviour = Behaviour()  # an erased tablet says so once, or never
        body = {"kind": "wipe", "serials": [tablet.device.serial], "reason": "a fault run"}
        return ThreadPoolExecutor(1).submit(self._wipe, tablet, body)

    def _wipe(self, tablet: IPad, body: dict[str, Any]) -> IPad:
        self.seen.accepted.append(self._accepted(uuid4().hex, body))
        until(self._approved, "the approval")
        return tablet

    def _approved(self) -> bool:
        """Approve what is pending, as the second administrator; says whether nothing is."""
        with suppress(httpx2.HTTPError):
            pending = self.clients[1].get("/approvals", params={"state": "pending"})
            if pending.is_success:
                for each in pending.json()["items"]:
                    self.clients[1].post(f"/approvals/{each['id']}/approve", json=self.signer.consent(each))
                return not pending.json()["items"]
        return False

    # Tablets.

    def tablets(self) -> list[IPad]:
        """Return every tablet that is still enrolled."""
        return [tablet for tablet in self.fleet.tablets.values() if tablet.enrollment is not None]

    def executed(self) -> int:
        """Count what tablets have carried out in this run."""
        return sum(
            entry.event is Event.EXECUTED for one in self.fleet.tablets.values() for entry in one.journal.entries
        )

    def move_door(self, url: str) -> None:
        """Let the tablets reach the door at another address, over a proxy say."""
        for tablet in self.tablets():
            assert tablet.enrollment is not None
            address = f"{url}/mdm/apple"
            changed = replace(tablet.enrollment.profile, server_url=address, check_in_url=address)
            tablet.enrollment.profile = changed

    # A run.

    def begin(self, fault: str, seed: int) -> int:
        """Clear away what was checked, and ask every tablet something; return how many there are."""
        self.chance = random.Random(f"{fault}:{seed}")
        self._forget()
        serials = [tablet.device.serial for tablet in self.tablets()]
        self.chance.shuffle(serials)
        lost, others = serials[: max(1, len(serials) // 100)], serials[max(1, len(serials) // 100) :]
        self._limited(others)
        kind = self.chance.choice(KINDS)

        def orders() -> None:
            half = len(others) // 2
            self.order(kind, others[:half])
            self.order("lock_screen", lost, message="m")
            self.order(kind, others[half:])

        self.ordering = self._pool.submit(orders)
        return len(serials)

    def _limited(self, serials: list[str]) -> None:
        """Note which tablets the fleet's bucket counts; urgent work has none here."""
        by_serial = {tablet.serial: tablet.token.hex() for tablet in self.district.tablets}
        self._tokens = frozenset(by_serial[serial] for serial in serials)

    def _forget(self) -> None:
        until(self._cleared, "clearing away")
        with self.house.sql() as connection:
            head = witness.audit_head(connection)
        for tablet in self.fleet.tablets.values():
            tablet.journal.entries.clear()
        self.fleet.cloud.journal.clear()
        self.fleet.client.answers.clear()
        self.fleet.cloud.script.clear()
        journals = [tablet.journal for tablet in self.fleet.tablets.values()]
        devices = {serial: self.seen.devices[serial] for serial in (one.device.serial for one in self.tablets())}
        self.seen = Witness(journals, devices, pushes=self.fleet.cloud.journal, audit_head=head)
        self.slack_s, self.forgotten = 0.5, 0

    def _cleared(self) -> bool:
        """Clear the tables, unless somebody is just at work there."""
        with suppress(psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable), self.house.sql() as connection:
            connection.execute("SET lock_timeout = '1s'")
            with connection.transaction():
                connection.execute("TRUNCATE wakeup, command_event, command, command_past, idempotency_record")
                connection.execute("TRUNCATE lease_witness")
            return True
        return False

    def under_way(self, share: float) -> None:
        """Wait until this share of the tablets has done what it was asked."""

        def enough() -> bool:
            if self.ordering is not None and self.ordering.done():
                self.ordering.result()
            self.house.tend()
            return self.executed() >= share * len(self.seen.devices)

        until(enough, lambda: f"{share:.0%} of the tablets done, now {self.executed()}\n{self.house.tails()}", 90)

    def check(self, connection: psycopg.Connection, *, at_rest: bool) -> list[Violation]:
        """Check the invariants now."""
        self.seen.limits = [
            Limit("fleet", self.per_s, self.burst, self._tokens, 1 + self.forgotten, slack_s=self.slack_s)
        ]
        found = check_all(connection, self.seen, at_rest=at_rest)
        self.seen.before = witness.states(connection)
        return found

    def come_to_rest(self, *, patience_s: float) -> int:
        """Wait until nothing is under way; return how many tablets had to be woken after a long silence."""
        assert self.ordering is not None
        self.ordering.result(180)
        late = 0
        try:
            until(self._at_rest, "rest", patience_s)
        except Late:
            late = self.turn_the_clock()
            until(self._at_rest, lambda: f"rest, {self.open_commands()} open\n{self.house.tails()}", patience_s)
        return late

    def open_commands(self) -> int:
        """Count the commands that are not over."""
        with self.house.sql() as connection:
            row = connection.execute(f"SELECT count(*) FROM command WHERE state IN {_OPEN}").fetchone()
        return int(row[0]) if row else 0

    def _at_rest(self) -> bool:
        time.sleep(0.15)
        self.house.tend()
        return self.open_commands() == 0 and self.do(self._quiet())

    async def _quiet(self) -> bool:
        return all(one._conversation is None or one._conversation.done() for one in self.fleet.tablets.values())

    def turn_the_clock(self) -> int:
        """Let the time come at which silent tablets are woken again; returns how many there were."""
        with self.house.sql() as connection:
            return connection.execute(
                "UPDATE wakeup SET due_at = now(), lease_until = least(lease_until, now()) WHERE due_at > now()"
                f" AND EXISTS (SELECT FROM command c WHERE c.device_id = wakeup.device_id AND c.state IN {_OPEN})"
            ).rowcount

    def bury(self) -> None:
        """After a worker died: its leases run out within a minute, or now if this scene hurries."""
        if self.hurries:
            self.let_leases_run_out()

    def let_leases_run_out(self) -> int:
        """Do what a minute does to leases; returns how many there were."""
        with self.house.sql() as connection:
            return connection.execute("UPDATE wakeup SET lease_until = now() WHERE lease_token IS NOT NULL").rowcount


class Counting(Client):
    """Counts the door's answers by status; 0 stands for none."""

    def __init__(self) -> None:
        super().__init__(connections=64, timeout=20)
        self.answers: Counter[int] = Counter()

    async def request(self, *arguments: Any, **options: Any) -> Response:
        """Send one request and note the answer."""
        status = 0
        try:
            response = await super().request(*arguments, **options)
            status = response.status
        finally:
            self.answers[status] += 1
        return response


async def _open_fleet(pki: Any) -> Fleet:
    fleet = Fleet(pki, keys=Keys(shared=2), keeps=WITNESSED, proxied=True, client=Counting())
    await fleet.start()
    return fleet


def write_key(house: House) -> None:
    from mdm import vault

    file = Path(house.settings["TABANE_SECRET_KEY_FILE"])
    file.write_text(vault.new_key_line())
    file.chmod(0o600)
