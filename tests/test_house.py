"""House rules that no linter sees."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def source(size: int) -> str:
    return "def long() -> None:\n" + "    pass\n" * (size - 1)


def test_alembic_folder_is_no_package() -> None:
    """An __init__.py in alembic/ would shadow the library of that name."""
    assert (ROOT / "alembic" / "env.py").exists()
    assert not list((ROOT / "alembic").rglob("__init__.py"))


def test_decisions_are_short() -> None:
    """A decision record has at most 40 lines, a number, and a title."""
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    for record in records:
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", record.name), record.name
        lines = record.read_text().splitlines()
        assert lines[0].startswith("# "), record.name
        assert len(lines) <= 40, record.name
    numbers = [record.name[:4] for record in records]
    assert len(set(numbers)) == len(numbers)


def test_lock_names_no_registry() -> None:
    """The lock holds versions and hashes only, so that it works behind any mirror."""
    lock = (ROOT / "requirements.lock").read_text()
    assert "--hash=sha256:" in lock
    assert "://" not in lock
    assert "--index-url" not in lock


def test_lock_covers_every_dependency() -> None:
    """Each dependency in pyproject.toml, of the package and of development, is locked."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    names = {re.match(r"[A-Za-z0-9._-]+", line)[0].lower().replace("_", "-") for line in wanted}
    locked = {line.split("==")[0].split("[")[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert names - locked == set()


def test_every_job_has_a_task(tmp_path: Path) -> None:
    """A hint is a name: the worker must hold a task of each, or hints would be dropped as unknown."""
    from mdm.jobs import QUEUES, Job

    settings = {"DATABASE_URL": "postgresql://nowhere/x", "REDIS_URL": "redis://nowhere"}
    environment = os.environ | settings | {"TABANE_SECRET_KEY_FILE": str(tmp_path / "key")}
    code = "from workers import app, sender; print(*app.app.tasks, *sender.app.tasks)"
    listing = [sys.executable, "-c", code]
    tasks = subprocess.run(listing, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    assert {job.value for job in Job} <= set(tasks.stdout.split())
    assert set(QUEUES) == set(Job)


def test_no_unfinished_marks() -> None:
    """Nothing in the tree is marked as to be done later."""
    folders = ("mdm", "enrollment", "profiles", "workers", "simulator", "bench", "alembic")
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = [
        path.name for folder in folders for path in (ROOT / folder).rglob("*.py") if marks.search(path.read_text())
    ]
    assert found == []


def test_size_bars_catch_what_is_too_long(tmp_path: Path) -> None:
    """A file of 401 lines or a function of 61 ends the size check with status 1 and is named; one line less passes."""
    for lines, status in ((60, 0), (61, 1), (401, 1)):
        (tmp_path / "mdm").mkdir(exist_ok=True)
        fillers = "\n".join(f"def f{number}() -> None: ..." for number in range(10))
        (tmp_path / "mdm" / "a.py").write_text(fillers)
        (tmp_path / "mdm" / "b.py").write_text(source(lines))
        script = f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); import sizes; from pathlib import Path;"
        script += f"sys.exit(sizes.main(Path({str(tmp_path)!r})))"
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert ran.returncode == status, ran.stdout
        assert ("mdm/b.py" in ran.stdout) == bool(status)
