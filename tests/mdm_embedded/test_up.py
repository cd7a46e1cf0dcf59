"""`tabane up` as a user sees it: a real process, its output, its exit code, and what is left of it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psycopg
import pytest

from mdm.cli import main
from mdm.embedded import claim, start_postgres

UP = [sys.executable, "-m", "mdm.cli", "up", "--port", "0", "--door-port", "0"]


class House:
    """A running `tabane up`: its process and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []
        self._heard = threading.Condition()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._heard:
                self.lines.append(line.rstrip())
                self._heard.notify_all()
        with self._heard:
            self._heard.notify_all()

    def hang_up(self) -> None:
        """Close the pipe, once whoever else holds its other end has ended too."""
        self._listener.join(20)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def until(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        """Wait for a line."""

        def found() -> re.Match[str] | None:
            return next((match for line in self.lines if (match := re.search(pattern, line))), None)

        with self._heard:
            assert self._heard.wait_for(lambda: found() or self.process.poll() is not None, seconds), self.lines
            match = found()
        assert match is not None, (pattern, self.lines)
        return match

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Stop it as a user would, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(25)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of other tests, and a credentials file that is not the user's."""
    for name in [name for name in os.environ if name.startswith("TABANE_") or name in ("DATABASE_URL", "REDIS_URL")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TABANE_CREDENTIALS", str(tmp_path / "credentials.json"))


@pytest.fixture
def folder(engine_folder: Path, request: pytest.FixtureRequest) -> Path:
    path = engine_folder / f"{request.module.__name__.rsplit('.', 1)[-1]}-{request.node.name}"
    path.mkdir(mode=0o711)
    return path


@contextmanager
def up(folder: Path, *options: str) -> Iterator[House]:
    command = [*UP, "--data", str(folder), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    house = House(process)
    try:
        yield house
    finally:
        process.kill()
        process.wait()
        house.hang_up()


Refused = Callable[..., str]


@pytest.fixture
def refused(environment: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Refused:
    """Run, in this process, an `up` that must fail before it starts anything; return its one line."""

    def run(folder: Path, *options: str) -> str:
        monkeypatch.setattr(sys, "argv", ["tabane", *UP[3:], "--data", str(folder), *options])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 1
        line = capfd.readouterr().err
        assert line.startswith("tabane: ")
        assert line.count("\n") == 1
        return line

    return run


def refused_late(folder: Path, *options: str) -> str:
    """Run an `up` that must fail, in a process of its own, and return its one line."""
    ran = subprocess.run(
        [*UP, "--data", str(folder), *options], capture_output=True, text=True, timeout=100, check=False
    )
    assert ran.returncode == 1, ran
    assert "sign in" not in ran.stdout
    assert ran.stderr.startswith("tabane: ")
    assert ran.stderr.count("\n") == 1, ran.stderr
    return ran.stderr


def children(pid: int) -> set[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(child) for child in listed}


def until_gone(pids: set[int]) -> None:
    deadline = time.monotonic() + 25
    while alive := {pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists() and _command(pid)}:
        assert time.monotonic() < deadline, [_command(pid) for pid in alive]
        time.sleep(0.05)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()  # empty for one that is dead but not yet waited for
    except OSError:
        return ""


@pytest.mark.timeout(300)
def test_three_starts_on_one_folder(environment: None, folder: Path) -> None:
    """Data, account and all parts survive a stop, the death of parts, and the death of `up` itself."""
    # The first start shows its password once, and SIGTERM ends everything in time.
    with up(folder) as house:
        password = house.until(r"password \(shown this once\): (\S+)")[1]
        parts = children(house.process.pid)
        before = time.monotonic()
        assert house.end() == 0
        assert time.monotonic() - before < 15
        until_gone(parts)
    assert (folder / "admin-password").stat().st_mode & 0o777 == 0o600
    # The second knows the account, and brings back a killed door and database; a killed `up` leaves no part behind.
    with up(folder) as house:
        url = house.until(r"operators (\S+)")[1]
        door = house.until(r"tablets (\S+)")[1]
        house.until("sign in as admin")
        assert password not in "\n".join(house.lines)
        assert signs_in(url, password)
        beside(folder)
        kill_door_and_database(house)
        until(lambda: answers(f"{door}/readyz") and signs_in(url, password))
        parts = children(house.process.pid)
        assert len(parts) >= 8
        house.process.kill()
        house.process.wait()
        until_gone(parts)
    # The third recovers from that, and hears Ctrl-C.
    with up(folder) as house:
        house.until("sign in as admin")
        assert house.end(signal.SIGINT) == 0
    alone = subprocess.run([*UP[:3], "audit", "verify"], capture_output=True, text=True, timeout=60, check=False)
    assert (alone.returncode, alone.stderr.count("\n")) == (1, 1)
    assert "tabane up" in alone.stderr


def beside(folder: Path) -> None:
    """The commands of the host find the house without being told where it is."""
    (folder / "password").write_text("a long enough password\n")
    tell = ["operator", "add", "second", "--role", "support", "--all-schools", "--password-file", folder / "password"]
    for words in (tell, ["audit", "verify"]):
        ran = subprocess.run([*UP[:3], *words], capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, ran.stderr


def kill_door_and_database(house: House) -> None:
    found = {pid for pid in children(house.process.pid) if "\0door\0" in _command(pid) or "postgres" in _command(pid)}
    assert len(found) == 2
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    for name in ("door", "postgres"):
        house.until(rf"^{name} ended with status -9 .*again in 1 s")


def signs_in(url: str, password: str) -> bool:
    body = {"name": "admin", "password": password, "bearer": True}
    try:
        return httpx2.post(f"{url}/api/v1/session", json=body, timeout=5).is_success
    except httpx2.HTTPError:
        return False


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline, "waited 40 s in vain"
        time.sleep(0.1)


def answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=2).is_success
    except httpx2.HTTPError:
        return False


def test_given_database_and_broker_replace_the_embedded_ones(
    environment: None, database: str, valkey: str, folder: Path
) -> None:
    """With DATABASE_URL and REDIS_URL nothing is started in the folder but our own parts."""
    with up(folder) as house:
        house.until("sign in as admin")
        assert not (folder / "postgres").exists()
        assert not (folder / "valkey").exists()
        assert house.end() == 0
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT name FROM operator").fetchall() == [("admin",)]


def test_newer_schema_is_one_line(environment: None, folder: Path) -> None:
    """A database that a newer version has migrated is left alone."""
    server = start_postgres(folder / "postgres", durable=False)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        connection.execute("INSERT INTO alembic_version VALUES ('9999')")
    server.stop()
    assert "newer" in refused_late(folder)


def test_busy_port_is_one_line(refused: Refused, folder: Path) -> None:
    """A port that something listens on is named."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert port in refused(folder, "--port", port)
        assert port in refused(folder, "--door-port", port)


def test_unusable_folder_is_one_line(refused: Refused, tmp_path: Path) -> None:
    """A folder that cannot be made is named."""
    (tmp_path / "file").touch()
    assert str(tmp_path / "file") in refused(tmp_path / "file" / "data")


def test_folder_in_use_is_one_line(refused: Refused, folder: Path) -> None:
    """A second `up` on the same folder is refused at once."""
    with claim(folder):
        assert "in use" in refused(folder)


def test_demo_keeps_its_number_of_tablets(refused: Refused, folder: Path) -> None:
    """A demo folder made for some tablets is not started with another number of them."""
    (folder / "demo").mkdir(mode=0o711)
    (folder / "demo" / "tablets").write_text("3\n")
    assert "3 tablets" in refused(folder, "--demo", "--tablets", "4")


@pytest.mark.timeout(300)
def test_demo_does_the_main_job(environment: None, folder: Path) -> None:
    """Ledger, tickets, enrolment by SCEP, policy, push, installed on every tablet; then the address and exit code 0."""
    command = [*UP, "--data", str(folder), "--demo", "--tablets", "4", "--sims", "6", "--exit-when-done"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert ran.returncode == 0, ran
    assert "4/4 installed" in ran.stdout
    assert "whereabouts check: 4 of 4 tablets verified" in ran.stdout
    assert "lines: 6 SIMs of two carriers and a portal" in ran.stdout
    assert "operators http://127.0.0.1:" in ran.stdout.split("4/4 installed")[1]
    assert "sign in as admin" in ran.stdout.split("4/4 installed")[1]
    assert ran.stderr == ""


@pytest.mark.timeout(300)
def test_demo_shows_who_would_be_called(environment: None, folder: Path, tmp_path: Path) -> None:
    """Somebody presses the red button: the page arrives at the pretended pager, signed, and is shown."""
    with up(folder, "--demo", "--tablets", "1") as house:
        house.until("running until Ctrl-C", 200)
        kept = json.loads((tmp_path / "credentials.json").read_text())
        headers = {"Authorization": f"Bearer {kept['token']}"}
        httpx2.post(f"{kept['url']}/api/v1/safeguards/freeze", headers=headers).raise_for_status()
        house.until(r'page breaker\.open: Wipes are frozen.*"by hand"')
        assert house.end() == 0
