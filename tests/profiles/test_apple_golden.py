"""What each of the invented policies becomes on iPads, supervised or not, from iPadOS 15 to 26."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.profiles import apple_golden

POLICIES = apple_golden.policies()


@pytest.mark.parametrize("name", POLICIES)
def test_the_outcome_is_the_golden_one(name):
    """`python -m tests.profiles.apple_golden` writes them anew: a changed digest is an installation on each tablet."""
    written = (apple_golden.FOLDER / f"{name}.json").read_text(encoding="utf-8")
    assert apple_golden.golden(POLICIES[name]) == written


def test_there_is_a_golden_file_for_each_policy_and_no_other():
    """A file that nothing compares would look like a promise."""
    assert {path.stem for path in apple_golden.FOLDER.glob("*.json")} == set(POLICIES)
    assert len(POLICIES) >= 30


def test_another_process_writes_the_same_bytes():
    """Neither the order of a set nor the hash seed of a process shows in a profile."""
    code = "from tests.profiles import apple_golden as g; print(*(g.golden(p) for p in g.policies().values()))"
    root = Path(__file__).resolve().parents[2]
    seen = {
        subprocess.run(
            [sys.executable, "-c", code], cwd=root, env={"PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1
    assert seen == {(" ".join(apple_golden.golden(policy) for policy in POLICIES.values()) + "\n").encode()}
