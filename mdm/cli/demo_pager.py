"""The demo's pretended pager: it takes the house's pages, and shows them on the terminal. It calls nobody real."""

import os
import secrets
import sys
from pathlib import Path
from threading import Event

from mdm.embedded import free_port
from mdm.embedded.supervisor import Part, python_part

_LOOK_S = 0.5


class DemoPager:
    """One receiver: `settings` before the house starts, `part` to run, `show` what it takes until the house stops."""

    def __init__(self, folder: Path) -> None:
        self._port = free_port()
        self._secret = folder / "pager.secret"
        self._log = folder / "logs" / "pager.log"
        self._told = 0

    def settings(self) -> dict[str, str]:
        """Return the settings that send the house's pages to this receiver, and nowhere else."""
        if not self._secret.exists():
            descriptor = os.open(self._secret, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(32) + "\n")
        return {
            "TABANE_NOTICES__WEBHOOK_URL": f"http://127.0.0.1:{self._port}/page",
            "TABANE_NOTICES__WEBHOOK_SECRET_FILE": str(self._secret),
            "TABANE_NOTICES__SMTP_HOST": "",
        }

    def part(self) -> Part:
        """Describe the process; its log has a line for each page."""
        self._told = self._log.stat().st_size if self._log.exists() else 0
        secret = ["--secret-file", str(self._secret)]
        command = [sys.executable, "-m", "simulator", "pager", "--port", str(self._port), *secret]
        return python_part("pager", command, self._log)

    def show(self, stopping: Event) -> None:
        """Print each page that came since `part`, until the house stops."""
        while not stopping.wait(_LOOK_S):
            if not self._log.exists():
                continue
            with self._log.open(encoding="utf-8", errors="replace") as log:
                log.seek(self._told)
                for line in iter(log.readline, ""):
                    if not line.endswith("\n"):
                        break  # it is being written
                    self._told = log.tell()
                    print(line.rstrip(), flush=True)
