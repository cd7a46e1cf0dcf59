"""The short form of reading usage while the house is hurt: some hundred lines. `tests.faults.lines` is the long one."""

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.faults.lines import run
from tests.faults.lines_scene import LinesScene

SIMS = 300

pytestmark = pytest.mark.timeout(400)


def test_the_ledger_says_what_the_lines_used_to_the_byte():
    """After 429s, cuts, ended sessions, doubled, late and corrected figures, two kills and an empty Valkey."""
    folder = Path(tempfile.mkdtemp(prefix="tabane-lines-"))
    folder.chmod(0o711)
    scene = LinesScene(folder, SIMS, hurries=True)
    try:
        scene.open()
        outcome = run(scene, patience_s=120)
    finally:
        scene.close()
        shutil.rmtree(folder, ignore_errors=True)
    assert outcome.differences == []
    assert outcome.mishaps >= 20
    assert outcome.corrected > 0
