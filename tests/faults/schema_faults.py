"""Faults of deployment and of clocks: schemas and code of different ages, and processes whose clocks jump."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import create_engine

from mdm import db, roles
from tests.faults.faults import fault, strike
from tests.faults.house import WORKERS, until
from tests.faults.scene import Scene

ROOT = Path(__file__).resolve().parents[2]
_CLOCKS = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/lib64/faketime", "/usr/local/lib/faketime")


@fault("new code on the old schema, then migrated")
def new_code_old_schema(scene: Scene) -> float:
    """Started before the migration, the apps say that they are not ready; after it all work without a restart."""
    house = scene.house
    strike(scene)
    parts = ("door", "web", *WORKERS)
    _end(scene, parts)
    _migrate(scene, "-1")
    for part in parts:
        house.launch(part)
    until(lambda: house.readiness("door") == house.readiness("web") == 503, lambda: f"refusal\n{house.tails()}")
    time.sleep(2)
    assert all(house.processes[part].poll() is None for part in parts), house.tails()
    began = time.monotonic()
    _migrate(scene, "head")
    house.wait_ready("door", "web")
    return max(time.monotonic() - began, house.back())


@fault("former code on the new schema")
def former_code(scene: Scene) -> float:
    """The version from before the newest migration, taken from git, serves and sends on the schema of this one."""
    tree = _former_tree(scene.house.folder / "former")
    house = scene.house
    parts = ("door", *WORKERS)
    strike(scene)
    with _launched_with(scene, parts, {"PYTHONPATH": str(tree)}):
        back = house.back()
        scene.under_way(0.9)
        assert all(house.processes[part].poll() is None for part in parts), house.tails()
    return back


@fault("migration while all work")
def migrate_under_load(scene: Scene) -> float:
    """What a migration may do to the busiest tables is done while they are busy; nobody needs a restart."""
    house = scene.house
    strike(scene)
    busy = ("wakeup", "command", "enrollment", "device_profile")
    with house.sql() as connection:
        (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone() or ("",)
        connection.execute("SET lock_timeout = '3s'")
        for table in busy:
            connection.execute(f"ALTER TABLE {table} ADD COLUMN later integer NOT NULL DEFAULT 0")
            connection.execute(f"CREATE INDEX CONCURRENTLY {table}_later ON {table} (later)")
            time.sleep(0.3)
        connection.execute("UPDATE alembic_version SET version_num = 'a later one'")
        assert house.readiness("door") == house.readiness("web") == 200, "the former version is to serve on"
        back = house.back()
        connection.execute("UPDATE alembic_version SET version_num = %s", (version,))
        for table in busy:
            connection.execute(f"ALTER TABLE {table} DROP COLUMN later")
    return back


@fault("clocks of workers and door jump")
def jump_clocks(scene: Scene) -> float:
    """An hour ahead, then an hour back: leases and expiry live by the database's clock and do not notice."""
    library = next((path for each in _CLOCKS for path in Path("/").glob(f"{each[1:]}/libfaketimeMT.so.1")), None)
    if library is None:
        pytest.skip("libfaketime is not installed: no clock can jump here (Debian: apt-get install libfaketime)")
    clock = scene.house.folder / "clock"
    faked = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    clock.write_text("+1h\n")
    assert float(_python("import time; print(time.time())", **faked)) > time.time() + 3000
    clock.write_text("+0\n")
    with _launched_with(scene, (*WORKERS, "door"), faked):
        strike(scene)
        for jump in ("+1h\n", "-1h\n"):
            clock.write_text(jump)
            time.sleep(3)
        clock.write_text("+0\n")
        return scene.house.back()


@contextmanager
def _launched_with(scene: Scene, parts: Sequence[str], environment: dict[str, str]) -> Iterator[None]:
    """Let these parts run with more in their environment while the block runs."""
    house = scene.house
    try:
        _end(scene, parts)
        for part in parts:
            house.extra[part] = environment
            house.launch(part)
        until(lambda: house.readiness("door") != 0, lambda: f"door\n{house.tails()}")
        yield
    finally:
        _end(scene, parts)
        for part in parts:
            house.extra.pop(part, None)
            house.launch(part)
        house.wait_ready("door")


def _end(scene: Scene, parts: Sequence[str]) -> None:
    for part in parts:
        if scene.house.processes[part].poll() is None:
            scene.house.kill(part, signal.SIGTERM)


def _migrate(scene: Scene, to: str) -> None:
    engine = create_engine(db.dsn(scene.house.postgres.url))
    try:
        with engine.begin() as connection:
            config = db._alembic_config()
            config.attributes["connection"] = connection
            if to == "head":
                command.upgrade(config, to)
            else:
                command.downgrade(config, to)
    finally:
        engine.dispose()
    if to == "head":
        roles.apply(scene.house.postgres.url)


def _former_tree(folder: Path) -> Path:
    """Unpack the version from before the newest migration; skipped where its history is not at hand."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("there is no git history here: the former version cannot be had")
    newest = max(path.name for path in (ROOT / "alembic" / "versions").glob("[0-9]*.py"))
    found = _git("log", "-1", "--diff-filter=AR", "--format=%H^", "--", f"alembic/versions/{newest}").strip()
    if not found or _git("rev-parse", "--verify", "--quiet", found, check=False) == "":
        pytest.skip("the history here does not reach back to before the newest migration")
    folder.mkdir(exist_ok=True)
    archive = folder / "tree.tar"
    _git("archive", "--output", str(archive), found)
    shutil.unpack_archive(archive, folder, filter="data")
    assert _python("import mdm; print(mdm.__file__)", PYTHONPATH=str(folder)).startswith(str(folder))
    return folder


def _python(code: str, **environment: str) -> str:
    """Return what a Python prints that runs as our processes do."""
    asked = [sys.executable, "-c", code]
    return subprocess.run(
        asked, env={**os.environ, **environment}, cwd="/", capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()


def _git(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=check, timeout=60)
    return done.stdout
