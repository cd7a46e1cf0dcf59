"""The `tabane` command as a whole: help, wrong words, and errors in one line."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mdm.cli import ROOMS, main

WORDS = sorted(word for room in ROOMS for word in (*room.words, *([room.name] if room.name else [])))


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def tabane(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run `tabane` in this process; return its exit code, standard output and standard error."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tabane", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_help_names_every_command(tabane: Run) -> None:
    """`tabane --help` lists the commands of all rooms."""
    status, said, _ = tabane("--help")
    assert status == 0
    assert [word for word in WORDS if f" {word} " not in said] == []


@pytest.mark.parametrize("word", ["up", "ledger", "rollout"])
def test_a_room_alone_helps_itself(tabane: Run, word: str) -> None:
    """A command's help is there when only its own room was loaded."""
    status, said, _ = tabane(word, "--help")
    assert status == 0
    assert f"tabane {word}" in said


@pytest.mark.parametrize("arguments", [("lugder",), ("up", "--tablet", "3"), ("up", "--tablets", "3")])
def test_wrong_words_are_usage_errors(tabane: Run, arguments: tuple[str, ...]) -> None:
    """An unknown command, or an option that does not exist or does not belong, ends with status 2."""
    status, _, complaint = tabane(*arguments)
    assert status == 2
    assert arguments[-1] in complaint or "--demo" in complaint or "--tablet" in complaint


def test_wrong_settings_are_one_line(tmp_path: Path) -> None:
    """A missing or wrong setting is named in one line with status 1."""
    for environment in (
        {"DATABASE_URL": "mysql://x", "REDIS_URL": "redis://x", "TABANE_SECRET_KEY_FILE": str(tmp_path)},
        {"DATABASE_URL": "postgresql://127.0.0.1:1/x", "REDIS_URL": "redis://x", "TABANE_SECRET_KEY_FILE": "x"},
    ):
        command = [sys.executable, "-m", "mdm.cli", "migrate"]
        ran = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 1
        assert ran.stderr.startswith("tabane: ")
        assert ran.stderr.count("\n") == 1
        assert "database" in ran.stderr.lower()
