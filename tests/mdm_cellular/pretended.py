"""A pretended carrier behind an account, and a worker's rounds by hand: for tests of polling and of acts on lines."""

import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text
from starlette.testclient import TestClient

from mdm import db
from mdm import settings as mdm_settings
from mdm.cellular.models import CarrierKind
from simulator.clouds.carrier import CarrierCloud
from simulator.clouds.carrier_script import Script
from simulator.clouds.lines import invented_numbers
from tests.contract.carriers import KINDS
from tests.serving import serving
from workers import carrier_pace, carriers


class Clock:
    """The pretended carrier's clock: ours, and what is let pass by hand."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        """Return its time."""
        return datetime.now(UTC) + self.ahead


@dataclass
class Pretended:
    """A pretended carrier, the account `air`, and the folder of its secret."""

    cloud: CarrierCloud
    boss: TestClient
    secret: Any
    clock: "Clock"

    @property
    def script(self) -> Script:
        """How the carrier behaves."""
        return self.cloud.script

    def iccid(self, number: int) -> str:
        """Return the ICCID of one of its lines."""
        return self.cloud.lines.all[number].iccid

    def calls(self, path: str, *, status: int | None = None) -> int:
        """Count what was asked."""
        return sum(path in call.path and status in (None, call.status) for call in self.cloud.journal)

    def account(self) -> dict[str, Any]:
        """Return the account as it is shown."""
        answer = self.boss.get("carriers/accounts/air")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def question(self, job: str) -> dict[str, Any]:
        """Return how one regular question stands."""
        return next(each for each in self.account()["polling"] if each["job"] == job)

    def sims(self) -> dict[str, dict[str, Any]]:
        """Return the account's lines by ICCID."""
        found = self.boss.get("sims", params={"account": "air", "limit": 500}).json()["items"]
        return {each["iccid"]: each for each in found}

    def sim(self, number: int) -> dict[str, Any]:
        """Return one line as it is shown."""
        return self.sims()[self.iccid(number)]

    def rounds(self, *jobs: str) -> Counter[str]:
        """Let a worker ask what is due now; only these questions, if any are named."""
        carriers.prepare()
        run(
            "UPDATE poll_cursor SET due_at = now() WHERE cardinality(CAST(:jobs AS text[])) = 0"
            " OR job = ANY(CAST(:jobs AS text[]))",
            jobs=list(jobs),
        )
        if jobs:
            run(
                "UPDATE poll_cursor SET due_at = now() + interval '1 year' WHERE NOT job = ANY(CAST(:jobs AS text[]))",
                jobs=list(jobs),
            )
        return carriers.work()

    def acts(self) -> Counter[str]:
        """Let a worker look at every act now."""
        run("UPDATE sim_action SET due_at = now() WHERE state IN ('approved', 'sent', 'accepted')")
        return self.rounds("acts")


def run(statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows."""
    with db.engine().begin() as connection:
        found = connection.execute(text(statement), parameters)
        return [tuple(row) for row in found] if found.returns_rows else []


@contextmanager
def pretending(
    boss: TestClient, folder: Any, monkeypatch: Any, *, lines: int = 5, kind: CarrierKind = CarrierKind.SORACOM
) -> Any:
    """Serve a pretended carrier and add the account `air`."""
    how, time_there = KINDS[kind], Clock()
    cloud = how.cloud(invented_numbers(lines, seed=7), seed=7, script=Script(), clock=time_there)
    secret = folder / "air.json"
    secret.write_text(json.dumps(how.secret))
    monkeypatch.setenv("TABANE_CARRIERS__SECRETS_FOLDER", str(folder))
    _forget()
    with serving(cloud) as url:
        fields = {"name": "air", "kind": kind, "base_url": url + how.path, "secret_name": "air.json"}
        fields |= {"usage_tz": how.usage_tz, "limits": {"calls_per_s": 500}}
        answer = boss.post("carriers/accounts", json=fields)
        assert answer.status_code == 201, answer.text
        yield Pretended(cloud, boss, secret, time_there)
    _forget()


def _forget() -> None:
    mdm_settings.get_settings.cache_clear()
    carrier_pace.forget()
    if carriers.valkey.cache_info().currsize:
        carriers.valkey().close()
    carriers.valkey.cache_clear()
