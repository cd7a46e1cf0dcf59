"""The `tabane` command as a whole: help, wrong words, and errors in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mdm.cli import ROOMS

WORDS = sorted(word for room in ROOMS for word in (*room.words, *([room.name] if room.name else [])))


def tabane(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mdm.cli", *arguments]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def test_help_names_every_command() -> None:
    """`tabane --help` lists the commands of all rooms."""
    ran = tabane("--help", COLUMNS="200")
    assert ran.returncode == 0, ran.stderr
    assert [word for word in WORDS if f" {word} " not in ran.stdout] == []


@pytest.mark.parametrize("word", ["up", "ledger", "rollout"])
def test_a_room_alone_helps_itself(word: str) -> None:
    """A command's help is there when only its own room was loaded."""
    ran = tabane(word, "--help")
    assert ran.returncode == 0, ran.stderr
    assert f"tabane {word}" in ran.stdout


def test_wrong_words_are_usage_errors() -> None:
    """An unknown command, or an option that does not exist, ends with status 2 and no traceback."""
    for arguments in (("lugder",), ("up", "--tablet", "3"), ("up", "--tablets", "3")):
        ran = tabane(*arguments)
        assert ran.returncode == 2, ran
        assert "Traceback" not in ran.stderr


def test_wrong_settings_are_one_line(tmp_path: Path) -> None:
    """A missing or wrong setting is named in one line with status 1."""
    for environment in (
        {"DATABASE_URL": "mysql://x", "REDIS_URL": "redis://x", "TABANE_SECRET_KEY_FILE": str(tmp_path)},
        {"DATABASE_URL": "postgresql://127.0.0.1:1/x", "REDIS_URL": "redis://x", "TABANE_SECRET_KEY_FILE": "x"},
    ):
        ran = tabane("migrate", **environment)
        assert ran.returncode == 1
        assert ran.stderr.startswith("tabane: ")
        assert ran.stderr.count("\n") == 1
        assert "database" in ran.stderr.lower()
