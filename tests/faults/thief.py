"""A thief with an administrator's session and API token, who wants tablets erased.

It tries over every route, the command line and the rows in Valkey, knows the code, guesses ids, and acts without a
pause. It holds nobody's private key, and is not in the database.
"""

import itertools
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx2
import redis
from celery import Celery

from mdm.jobs import QUEUES, URGENT_QUEUE, Job
from tests.faults import burglar
from tests.signer import Signer

_PARAMETER: Final = re.compile(r"\{([^}]+)\}")
_OWN: Final = re.compile(r"/api/v1/(session|tokens|operators/)")
"""A sweep leaves these alone, or the thief would shut itself out; what it wants with accounts it does on purpose."""


@dataclass
class Loot:
    """What was stolen."""

    web_url: str
    session: str = field(repr=False)
    token: str = field(repr=False)
    valkey_url: str = field(repr=False)
    spared: frozenset[str] = frozenset()
    """Whose passwords it leaves alone: the one it robbed, and its friends."""
    folder: Path = Path()
    """Where its own command line keeps things."""
    database_url: str = field(default="", repr=False)
    """Of the web process's own role; empty where it has not got that far."""
    friend: Signer | None = field(default=None, repr=False)
    """Signs whatever it is asked to, past the application too."""


@dataclass
class Thief:
    """The thief, with what it has found out and how it was answered."""

    loot: Loot
    chance: random.Random
    answers: Counter[int] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    """Of the database, by its code."""
    said: Counter[str] = field(default_factory=Counter)
    """Exit codes of the command line."""
    known: dict[str, list[str]] = field(default_factory=dict)
    """Values for parameters of paths, by name."""

    def __post_init__(self) -> None:
        """Open its connections."""
        self.http = httpx2.Client(base_url=self.loot.web_url, timeout=20)
        self.document = self.http.get("/api/v1/openapi.json").json()

    def send(self, method: str, path: str, body: Any = None, *, secret: str | None = None) -> httpx2.Response | None:
        """Send one request with the session, or another secret; the answer's status is counted."""
        headers = {"Authorization": f"Bearer {secret or self.loot.session}", "Idempotency-Key": uuid4().hex}
        try:
            answer = self.http.request(method, path, json=body, headers=headers)
        except httpx2.HTTPError:
            self.answers[0] += 1
            return None
        self.answers[answer.status_code] += 1
        return answer

    def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Return the first page of a list, or nothing."""
        answer = self.send("get", f"{path}?{'&'.join(f'{name}={value}' for name, value in query.items())}")
        if answer is None or not answer.is_success:
            return []
        found = answer.json()
        return list(found.get("items", [])) if isinstance(found, dict) else list(found)

    # Looking around.

    def look_around(self) -> None:
        """Learn ids and codes, as far as lists show them: the parameter of a path is a thing of the list above it."""
        for path in self.document["paths"]:
            head, brace, rest = path.partition("/{")
            name = rest.partition("}")[0]
            if brace and "{" not in head and "get" in self.document["paths"].get(head, {}):
                found = [_name_of(each, name) for each in self.items(head, limit="200")]
                self.known[name] = [each for each in found if each] or self.known.get(name, [])
        tablets = self.items("/api/v1/devices", limit="200")
        for name in ("serial", "control_number"):
            self.known[name] = [str(each[name]) for each in tablets]

    # Every route.

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield method, path and description of each operation, once, shuffled."""
        found = [
            (method, path, operation)
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
            if method == "get" or not _OWN.match(path)
        ]
        self.chance.shuffle(found)
        yield from found

    def try_every_route(self, *secrets: str) -> None:
        """Send the document's own examples to each route, with ids that exist; by session and token, or these."""
        for method, path, operation in self.operations():
            for secret in secrets or (self.loot.session, self.loot.token):
                self.send(method, self._filled(path), self._body(operation), secret=secret)

    def _filled(self, path: str) -> str:
        return _PARAMETER.sub(lambda found: self.chance.choice(self.known.get(found[1]) or ["1"]), path)

    def _body(self, operation: dict[str, Any]) -> Any:
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        name = content.get("$ref", "").rsplit("/", 1)[-1]
        schema = self.document["components"]["schemas"].get(name, {})
        examples = schema.get("examples") or [None]
        return self._aimed(self.chance.choice(examples))

    def _aimed(self, body: Any) -> Any:
        """Replace invented ids in an example by real ones."""
        match body:
            case dict():
                return {name: self._value(name, value) for name, value in body.items()}
            case list():
                return [self._aimed(each) for each in body]
            case _:
                return body

    def _value(self, name: str, value: Any) -> Any:
        one, many = self.known.get(name), self.known.get(name.removesuffix("s"))
        if isinstance(value, list) and many and name != many:
            taken = self.chance.sample(many, min(len(many), 50))
            return [int(each) for each in taken] if all(each.isdigit() for each in taken) else taken
        if one and isinstance(value, str | int) and not isinstance(value, bool):
            chosen = self.chance.choice(one)
            return int(chosen) if isinstance(value, int) and chosen.isdigit() else chosen
        return self._aimed(value)

    # Wipes, and a second person of its own making.

    def ask_for_wipes(self) -> None:
        """Ask for the wipe of tablets, one by one and in bulk, by session and token."""
        serials = self.chance.sample(self.known["serial"], min(20, len(self.known["serial"])))
        body = {"kind": "wipe", "arguments": {}, "reason": "maintenance"}
        for secret in (self.loot.session, self.loot.token):
            self.send("post", "/api/v1/commands", {**body, "serials": serials}, secret=secret)
            for serial in serials[:5]:
                self.send("post", "/api/v1/commands", {**body, "serials": [serial]}, secret=secret)

    def ask_quietly(self) -> None:
        """Ask for wipes one by one as a desk might: of one school, and no more than an hour allows."""
        tablets = self.items("/api/v1/devices", limit="200")
        school = self.chance.choice(sorted({each["school_code"] for each in tablets}))
        near = [str(each["serial"]) for each in tablets if each["school_code"] == school]
        for serial in self.chance.sample(near, min(3, len(near))):
            self.send("post", "/api/v1/commands", {"kind": "wipe", "serials": [serial], "reason": "not returned"})

    def approve_all(self, secret: str | None = None) -> None:
        """Approve whatever waits: without a signature, with invented ones, with one seen under another request."""
        seen = self._signatures()
        for approval in self.items("/api/v1/approvals", state="pending"):
            path = f"/api/v1/approvals/{approval['id']}/approve"
            invented = {"key": 1, "urgent": True, "signature": "A" * 86}
            for body in (None, {}, invented, *seen):
                self.send("post", path, body, secret=secret)

    def _signatures(self) -> list[dict[str, Any]]:
        shown = self.items("/api/v1/approvals", state="approved")
        return [each["signature"] for each in shown if isinstance(each.get("signature"), dict)][:2]

    def make_a_second_person(self) -> None:
        """Make an administrator, or take over the other one by a new password, sign in as that and approve."""
        password = f"an invented password {uuid4().hex}"
        name = f"t{uuid4().hex[:8]}"
        body = {"name": name, "password": password, "role": "administrator", "all_schools": True}
        self.send("post", "/api/v1/operators", body)
        victims = [each for each in self.items("/api/v1/operators") if each.get("name") not in self.loot.spared]
        for victim in victims:
            self.send("put", f"/api/v1/operators/{victim['id']}/password", {"password": password})
        for each in (name, *(str(victim.get("name")) for victim in victims)):
            answer = self.send("post", "/api/v1/session", {"name": each, "password": password, "bearer": True})
            if answer is not None and answer.is_success and answer.json().get("token"):
                secret = answer.json()["token"]
                self.bring_a_key(each, secret)
                self.approve_all(secret)
                self.try_every_route(secret)

    def bring_a_key(self, name: str, secret: str) -> None:
        """Register a key of its own under an account that it took, and sign with it whatever waits."""
        signer = Signer(name)
        answer = self.send("post", "/api/v1/keys", signer.registration("laptop"), secret=secret)
        if answer is None or not answer.is_success:
            return
        signer.id = answer.json()["id"]
        for approval in self.items("/api/v1/approvals", state="pending"):
            with suppress(KeyError, ValueError):
                self.send(
                    "post", f"/api/v1/approvals/{approval['id']}/approve", signer.consent(approval), secret=secret
                )

    # The command line.

    def use_the_command_line(self) -> None:
        """Do the same with `tabane`, by session and token."""
        serial = self.chance.choice(self.known["serial"])
        lines = [
            ["wipe", "--serial", serial, "--reason", "maintenance"],
            ["approval", "approve", self.chance.choice(self.known.get("approval_id") or [str(uuid4())])],
            ["command", "send", "wipe", "--serial", serial, "--reason", "maintenance"],
            ["safeguard", "set", "a.operator.hour", "500", "--reason", "maintenance"],
            ["safeguard", "thaw"],
            ["key", "pin", "SHA256:AAAA"],
        ]
        for line in lines:
            environment = {
                **os.environ,
                "TABANE_URL": self.loot.web_url,
                "TABANE_TOKEN": self.chance.choice([self.loot.session, self.loot.token]),
                "TABANE_CREDENTIALS": str(self.loot.folder / "credentials.json"),
                "DATABASE_URL": self.loot.database_url or "postgresql://nobody@127.0.0.1:1/tabane",
            }
            command = [sys.executable, "-m", "mdm.cli", *line]
            with suppress(subprocess.TimeoutExpired):
                done = subprocess.run(
                    command, env=environment, input=b"y\n", capture_output=True, timeout=60, check=False
                )
                self.said[done.returncode] += 1

    # Valkey.

    def forge_messages(self) -> None:
        """Ring every job on every queue with what it may take and with nonsense; sometimes make Valkey forget all."""
        queues = {*QUEUES.values(), URGENT_QUEUE, "destructive"}
        jobs = [*(job.value for job in Job), "wipe", "erase", "send"]
        devices = [int(each) for each in self.known.get("device_id") or ["1"]]
        given: list[dict[str, Any]] = [
            {},
            {"lane": 0},
            {"device_ids": devices},
            {"command_ids": self.known.get("command_id") or []},
            {"kind": "wipe", "device_ids": devices},
            {"approval_id": self.chance.choice(self.known.get("approval_id") or ["x"])},
        ]
        with (
            suppress(Exception),
            Celery("thief", broker=self.loot.valkey_url, set_as_current=False) as publisher,
        ):
            publisher.conf.broker_transport_options = {"global_keyprefix": "tabane:", "socket_timeout": 2}
            for job, queue in itertools.product(jobs, queues):
                publisher.send_task(job, kwargs=self.chance.choice(given), queue=queue, ignore_result=True)
        with suppress(redis.RedisError), redis.Redis.from_url(self.loot.valkey_url, socket_timeout=5) as valkey:
            for queue in queues:
                valkey.lpush(f"tabane:{queue}", json.dumps({"body": "e30=", "headers": {"task": "wipe"}}))
            if self.chance.random() < 0.2:
                valkey.flushall()

    # The web process's role.

    def use_the_database(self) -> None:
        """Try on the rows themselves what would make tablets erase themselves, if it has the way in."""
        if self.loot.database_url:
            self.refusals += burglar.burgle(self.loot.database_url, self.chance, self.loot.friend)


def _name_of(item: dict[str, Any], parameter: str) -> str:
    for name in (parameter, "id", "code", "key", "name", "serial"):
        if item.get(name) is not None:
            return str(item[name])
    return ""
