"""A house that reads usage of two pretended carriers and a portal of files, while it is hurt; and what the ledger owes.

The witness is what the pretended lines used. Nobody uses anything once the scene begins, so that it stands still.
"""

import json
import threading
from contextlib import ExitStack, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx2

from mdm.embedded import host
from mdm.jobs import Job
from simulator.clouds.carrier import CarrierCloud
from simulator.clouds.carrier_script import Fault, Mishap, Script
from simulator.clouds.control_center import ControlCenterCloud
from simulator.clouds.lines import Lines, invented_numbers
from simulator.clouds.soracom import SoracomCloud
from simulator.clouds.usage_files import UsageFiles
from tests.faults.house import House, migrate, settings_of, until
from tests.faults.scene import PASSWORD, write_key
from tests.serving import serving

WORKER: Final = "worker-carriers"
DAYS: Final = 45
_UNSETTLED: Final = {"late": 0.1, "guessed": 0.1, "doubled": 0.1, "settles_after_s": 3 * 86400}
_MISHAPS: Final = (
    Mishap.BUSY,
    Mishap.CUT,
    Mishap.ERROR,
    Mishap.EXPIRED,
    Mishap.LOST,
    Mishap.UNAVAILABLE,
    Mishap.GARBAGE,
)
_PORTAL_LAGS: Final = 6
"""The portal's late files and corrections of older days are all out."""


class LinesScene:
    """The house, its carriers and its portal, a third of the lines each."""

    def __init__(self, folder: Path, sims: int, *, hurries: bool) -> None:
        self.hurries = hurries
        """Whether waits for the leases of the dead and for failures are made short."""
        third, now = sims // 3, datetime.now(UTC)
        self.soracom = SoracomCloud(
            invented_numbers(third, seed=11),
            key_id="keyId-invented",
            key="secret-invented",
            seed=11,
            script=Script(export_takes_s=1, faults=_faults(), **_UNSETTLED),
        )
        self.control_center = ControlCenterCloud(
            invented_numbers(third, seed=12),
            username="invented",
            api_key="key-invented",
            seed=12,
            script=Script(calls_per_s=None if hurries else 5, in_flight=1, faults=_faults(), **_UNSETTLED),
        )
        self.portal = UsageFiles(invented_numbers(sims - 2 * third, seed=13), seed=13, script=Script(**_UNSETTLED))
        for lines in (self.soracom.lines, self.control_center.lines, self.portal.lines):
            lines.used_until = now
        secrets = folder / "carrier-secrets"
        secrets.mkdir(mode=0o700, parents=True)
        (secrets / "soracom.json").write_text(json.dumps({"authKeyId": "keyId-invented", "authKey": "secret-invented"}))
        (secrets / "control-center.json").write_text(json.dumps({"username": "invented", "api_key": "key-invented"}))
        settings = {"TABANE_SECOND_FACTOR": "optional", "TABANE_CARRIERS__SECRETS_FOLDER": str(secrets)}
        self.house = House(folder / "house", settings, host.free_port(), workers={WORKER: ("carriers",)})
        self._stack = ExitStack()
        self._over = threading.Event()

    def open(self) -> None:
        """Start the house and the carriers, and set the accounts up."""
        house = self.house
        with settings_of(house):
            write_key(house)
            migrate(house)
        secret = house.folder / "password"
        secret.write_text(PASSWORD)
        options = ("--all-schools", "--password-file", str(secret), "--role", "administrator")
        adding = house.spawn("first", "operator", "add", "first", *options)
        house.launch("web")
        house.launch(WORKER)
        house.wait_ready("web")
        assert adding.wait(60) == 0, house.tails()
        self.client = self._stack.enter_context(httpx2.Client(base_url=f"{house.web_url}/api/v1", timeout=600))
        answer = self.client.post("/session", json={"name": "first", "password": PASSWORD, "bearer": True})
        answer.raise_for_status()
        self.client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        self.opened_at = datetime.now(UTC)
        pace = {"limits": {"calls_per_s": 50}} if self.hurries else {}
        addresses = {"soracom": (self.soracom, "/v1"), "control_center": (self.control_center, "/rws/api/v1")}
        for kind, (cloud, path) in addresses.items():
            url = self._stack.enter_context(serving(cloud)) + path
            zone = {"usage_tz": "UTC"} if kind == "soracom" else {}
            secret_name = f"{kind.replace('_', '-')}.json"
            body = {"name": secret_name[:-5], "kind": kind, "base_url": url, "secret_name": secret_name}
            self._ask("POST", "/carriers/accounts", json=body | pace | zone)
        self._ask("POST", "/carriers/accounts", json={"name": "portal", "kind": "csv"})
        self._upload("/sims/imports", self.portal.sims())
        threading.Thread(target=self._hint, daemon=True).start()

    def close(self) -> None:
        """Stop everything."""
        self._over.set()
        self.house.close()
        self._stack.close()

    # What happens.

    def bring_files(self, *, twice: int = 4) -> int:
        """Bring all files of the portal in the order in which they came out, every so many a second time."""
        today = self.portal.lines.today()
        files = self.portal.deliveries(today - timedelta(days=DAYS), today - timedelta(days=_PORTAL_LAGS))
        for number, file in enumerate(files):
            self._upload("/usage/imports", file.body)
            if number % twice == 0:
                self._upload("/usage/imports", files[number // 2].body)  # one of those before, once more
        return len(files)

    def kill_worker(self) -> None:
        """Kill the worker in the middle of what it does, and start another."""
        self.house.kill(WORKER)
        if self.hurries:
            with self.house.sql() as connection:
                connection.execute("UPDATE poll_cursor SET lease_until = now() WHERE lease_until > now()")
        self.house.launch(WORKER)

    def restart_valkey(self) -> None:
        """Kill Valkey, let the house go on without for a moment, and start it again empty."""
        self.house.kill_valkey()
        self._over.wait(2)
        self.house.start_valkey()

    def settle(self) -> None:
        """Let the carriers' figures be settled from now on, today's too."""
        for cloud in (self.soracom, self.control_center):
            cloud.script.settles_after_s = -86400

    def asked(self, cloud: CarrierCloud, path: str, count: int, seconds: float) -> None:
        """Wait until a carrier has answered so many calls of a kind."""
        until(
            lambda: sum(path in call.path and call.status == 200 for call in list(cloud.journal)) >= count,
            lambda: f"{count} calls of {path}\n{self.house.tails()}",
            seconds,
        )

    def ask_again(self) -> datetime:
        """Let hours pass: every regular question is due. Return when."""
        with self.house.sql() as connection:
            connection.execute("UPDATE poll_cursor SET due_at = now() WHERE job <> 'acts' AND cursor = '{}'")
            (moment,) = connection.execute("SELECT clock_timestamp()").fetchone() or (None,)
        assert moment is not None
        return moment

    def rounds_end(self, since: datetime, seconds: float) -> None:
        """Wait until every question has been answered to its end since then."""
        until(lambda: self._ended(since), lambda: f"rounds to end: {self._standing()}\n{self.house.tails()}", seconds)

    def _ended(self, since: datetime) -> bool:
        self.house.tend()
        with self.house.sql() as connection:
            rows = connection.execute(
                "SELECT job, finished_at > %s FROM poll_cursor WHERE job IN ('sims', 'usage', 'corrections')", (since,)
            ).fetchall()
        return len(rows) == 6 and all(done for _, done in rows)

    def _standing(self) -> list[Any]:
        with self.house.sql() as connection:
            return connection.execute(
                "SELECT account_id, job, finished_at, failures, error FROM poll_cursor"
            ).fetchall()

    def _hint(self) -> None:
        """Ring the worker as beat would, more often; and make waits short where this scene hurries."""
        while not self._over.wait(0.25):
            self.house.hint((Job.CARRIERS, "carriers", {}))
            if self.hurries:
                with suppress(Exception), self.house.sql() as connection:
                    connection.execute(_HURRY)

    # What came of it.

    def differences(self) -> list[str]:
        """Return how the ledger differs from the witnesses: nothing, if all is well."""
        today = self.soracom.lines.today()
        first = today - timedelta(days=DAYS - 1)
        found = _compared("soracom", self._days("soracom", first, today), _days_of(self.soracom.lines, first, today))
        last = self.portal.lines.today() - timedelta(days=_PORTAL_LAGS)
        first = self.portal.lines.today() - timedelta(days=DAYS)
        found += _compared("portal", self._days("portal", first, last), _days_of(self.portal.lines, first, last))
        this = self.control_center.lines.today().replace(day=1)
        before = (this - timedelta(days=1)).replace(day=1)
        witness = _months_of(self.control_center.lines, before, self.control_center.lines.today())
        found += _compared("control-center", self._cycles("control-center", before), witness)
        return found + _compared("control-center by days", self._cycles_by_days("control-center", before), witness)

    def read_bytes(self) -> int:
        """Return what all lines together used by the ledger, all days that are kept."""
        return self._number("SELECT coalesce(sum(bytes_total), 0)::bigint FROM usage_shown")

    def corrected(self) -> int:
        """Return how many days' figures were replaced."""
        return self._number("SELECT count(*) FROM usage_revision")

    def _number(self, statement: str) -> int:
        with self.house.sql() as connection:
            (found,) = connection.execute(statement).fetchone() or (0,)
        return int(found)

    def _days(self, account: str, first: date, last: date) -> dict[tuple[str, str], int]:
        return self._keyed(
            "SELECT s.iccid_full, u.usage_date, u.bytes_total FROM usage_shown u JOIN sim s ON s.id = u.sim_id"
            " JOIN carrier_account a ON a.id = s.account_id WHERE a.name = %s AND u.usage_date BETWEEN %s AND %s"
            " AND u.bytes_total > 0",
            (account, first, last),
        )

    def _cycles(self, account: str, first: date) -> dict[tuple[str, str], int]:
        return self._keyed(
            "SELECT s.iccid_full, k.cycle_start, k.bytes_total FROM usage_cycle k JOIN sim s ON s.id = k.sim_id"
            " JOIN carrier_account a ON a.id = s.account_id WHERE a.name = %s AND k.cycle_start >= %s",
            (account, first),
        )

    def _cycles_by_days(self, account: str, first: date) -> dict[tuple[str, str], int]:
        return self._keyed(
            "SELECT s.iccid_full, date_trunc('month', u.usage_date)::date, sum(u.bytes_total)::bigint"
            " FROM usage_shown u JOIN sim s ON s.id = u.sim_id JOIN carrier_account a ON a.id = s.account_id"
            " WHERE a.name = %s AND u.usage_date >= %s GROUP BY 1, 2",
            (account, first),
        )

    def _keyed(self, statement: str, parameters: tuple[Any, ...]) -> dict[tuple[str, str], int]:
        with self.house.sql() as connection:
            rows = connection.execute(statement, parameters).fetchall()
        return {(iccid, str(day)): total for iccid, day, total in rows}

    def _upload(self, path: str, body: bytes) -> None:
        self._ask("POST", path, params={"account": "portal"}, content=body, headers={"Content-Type": "text/csv"})

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        answer = self.client.request(method, path, **more)
        assert answer.is_success, (path, answer.status_code, answer.text[:2000])
        return answer.json()


_HURRY: Final = (
    "UPDATE poll_cursor SET due_at = now() WHERE due_at > now()"
    " AND (cursor <> '{}' OR finished_at IS NULL OR failures > 0)"
)


def _faults() -> list[Fault]:
    """Return some trouble of each kind: about every fifth call until each has happened three times."""
    return [Fault(mishap, every=9 + 4 * at, times=3) for at, mishap in enumerate(_MISHAPS)]


def _days_of(lines: Lines, first: date, last: date) -> dict[tuple[str, str], int]:
    return {(iccid, day): used for iccid, days in lines.witness(first, last).items() for day, used in days.items()}


def _months_of(lines: Lines, first: date, last: date) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for (iccid, day), used in _days_of(lines, first, last).items():
        found[iccid, f"{day[:7]}-01"] = found.get((iccid, f"{day[:7]}-01"), 0) + used
    return found


def _compared(what: str, ledger: dict[tuple[str, str], int], witness: dict[tuple[str, str], int]) -> list[str]:
    missing, added = witness.keys() - ledger.keys(), ledger.keys() - witness.keys()
    other = [key for key in witness.keys() & ledger.keys() if witness[key] != ledger[key]]
    if not missing and not added and not other:
        return []
    owed, told = sum(witness.values()), sum(ledger.values())
    return [f"{what}: {len(missing)} missing, {len(added)} too many, {len(other)} other; {told} bytes for {owed}"]
