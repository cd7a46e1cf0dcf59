"""The demo's lines: two pretended carriers and a portal of files, with their accounts set up by the operator API.

Tablets' lines are shared among the three; further ones are in no tablet. It asks nobody real.
"""

import json
import os
import secrets
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, Final

from mdm.cli.client import Client
from mdm.devices.ledger_columns import Column
from mdm.embedded import free_port
from mdm.embedded.folder import make_folder
from mdm.embedded.supervisor import Part, python_part
from mdm.errors import Misconfigured

ACCOUNTS: Final = {"soracom": "demo-soracom", "control_center": "demo-control-center", "files": "demo-portal"}
"""What the simulator calls them, and the house."""
_PATH: Final = "/api/v1/carriers/accounts"
_DAYS: Final = 45
_PATIENCE_S: Final = 60.0
_READING_S: Final = 900.0


class Interrupted(Exception):
    """The house is being stopped: not an error."""


class DemoLines:
    """One set of them: `settings` before the house starts, `part` to run, `set_up` once the ledger is in."""

    def __init__(self, folder: Path, *, spare: int) -> None:
        self._folder = folder
        self._spare = spare
        self._ports = {"soracom": free_port(), "control_center": free_port()}
        self._secrets = folder / "carrier-secrets"
        self._sims = folder / "portal-sims.csv"
        self._drop = folder / "usage-files"
        self._lines: dict[str, list[dict[str, str]]] = {account: [] for account in ACCOUNTS}

    def settings(self) -> dict[str, str]:
        """Return the settings by which the house finds the accounts' invented keys."""
        make_folder(self._secrets, mode=0o700)
        self._keep("soracom.json", ("authKeyId", "authKey"))
        self._keep("control-center.json", ("username", "api_key"))
        make_folder(self._drop, mode=0o700)
        make_folder(self._drop / ACCOUNTS["files"], mode=0o700)
        return {
            "TABANE_CARRIERS__SECRETS_FOLDER": str(self._secrets),
            "TABANE_USAGE__DROP_FOLDER": str(self._drop),
            "TABANE_USAGE__DROP_STILL_S": "0",  # the pretended portal writes files aside and renames them
        }

    def part(self, tablets: list[dict[Column, str]]) -> Part:
        """Describe the process, with the SIMs of these tablets."""
        for index, row in enumerate(tablets):
            account = list(ACCOUNTS)[index % len(ACCOUNTS)]
            self._lines[account].append({"account": account, "iccid": row[Column.ICCID], "imei": row[Column.IMEI]})
        file = self._folder / "lines.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for lines in self._lines.values() for line in lines))
        command = [sys.executable, "-m", "simulator", "carriers", "--lines", str(file), "--spare", str(self._spare)]
        command += ["--secrets", str(self._secrets), "--sims", str(self._sims)]
        command += ["--files", str(self._drop / ACCOUNTS["files"])]
        for name, port in self._ports.items():
            command += [f"--{name.replace('_', '-')}-port", str(port)]
        return python_part("carriers", command, self._folder / "logs" / "carriers.log")

    def set_up(self, client: Client, stopping: Event) -> None:
        """Make the accounts, or point those of a former start to where the carriers are now; bring the SIM files."""
        addresses = {"soracom": "/v1", "control_center": "/rws/api/v1"}
        known = {account["name"] for account in client.get(_PATH)}
        for account, name in ACCOUNTS.items():
            fields: dict[str, Any] = {}
            if account in addresses:
                fields["base_url"] = f"http://127.0.0.1:{self._ports[account]}{addresses[account]}"
                fields["secret_name"] = f"{account.replace('_', '-')}.json"
            if account == "soracom":
                fields["usage_tz"] = "UTC"
            if name not in known:
                kind = account if account in addresses else "csv"
                client.post(_PATH, {"name": name, "kind": kind, **fields})
            elif fields:
                client.patch(f"{_PATH}/{name}", fields)
            client.upload(
                "/api/v1/sims/imports", self._sims_of(account, stopping), content_type="text/csv", account=name
            )

    def read(self, client: Client, stopping: Event) -> None:
        """Wait until both carriers have told their lines and what those used, and the portal's files went in."""
        for account in ("soracom", "control_center"):
            name = ACCOUNTS[account]
            wait_for(partial(_is_read, client, name), f"what {name} has to tell", stopping, seconds=_READING_S)
        folder = self._drop / ACCOUNTS["files"]
        wait_for(lambda: not any(folder.glob("*.csv")), "the end of the portal's files", stopping, seconds=_READING_S)
        sims = sum(account["sims"] for account in client.get(_PATH))
        print(f"lines: {sims} SIMs of two carriers and a portal, with what they used in {_DAYS} days", flush=True)

    def _sims_of(self, account: str, stopping: Event) -> bytes:
        """Return an account's SIM file: the portal has one; the carriers' own lists name the spares later."""
        if account != "files":
            return "".join(["iccid\n", *(f"{line['iccid']}\n" for line in self._lines[account])]).encode()
        wait_for(self._sims.exists, "the pretended portal's file of lines", stopping)
        return self._sims.read_bytes()

    def _keep(self, name: str, parts: tuple[str, str]) -> None:
        """Make an invented key, once; a part that the carriers' process and the house both read."""
        file = self._secrets / name
        if not file.exists():
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "w") as stream:
                json.dump({part: f"{part}-{secrets.token_hex(16)}" for part in parts}, stream)


def _is_read(client: Client, name: str) -> bool:
    """Say whether an account's first rounds have come to their ends."""
    asked = client.get(f"{_PATH}/{name}")["polling"]
    wanted = {"sims", "usage", "corrections"}
    return {each["job"] for each in asked if each["finished_at"] is not None} >= wanted


def wait_for(happened: Callable[[], bool], what: str, stopping: Event, seconds: float = _PATIENCE_S) -> None:
    """Wait for what other processes bring about, at most so long and not beyond the house's end."""
    for _ in range(int(seconds / 0.2)):
        if happened():
            return
        if stopping.wait(0.2):
            raise Interrupted
    raise Misconfigured(f"{what} did not come within {seconds:.0f} s")
