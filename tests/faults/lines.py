"""Reads usage of two pretended carriers and a portal while the house is hurt, and compares the ledger to the byte.

`python -m tests.faults.lines [--sims 15000]`: 45 days; the last line is one JSON object. Exit code 1 for a difference.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.faults.lines_scene import LinesScene


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    sims: int
    differences: list[str]
    bytes: int
    """What all lines used in the days that were compared."""
    calls: int
    mishaps: int
    """Calls that were answered with a mishap, by the carriers' journals."""
    files: int
    corrected: int
    """Days whose figure was replaced."""
    minutes: float


def run(scene: LinesScene, *, patience_s: float) -> Outcome:
    """Have everything read while it is hurt, have it read again once it is settled, and compare."""
    began = time.monotonic()
    scene.asked(scene.soracom, "/exports/", 2, patience_s)
    scene.kill_worker()
    files = scene.bring_files()
    scene.asked(scene.control_center, "/usages", 2, patience_s)
    scene.kill_worker()
    scene.asked(scene.soracom, "/exports/", 4, patience_s)
    scene.restart_valkey()
    scene.rounds_end(scene.opened_at, patience_s)
    scene.settle()
    scene.rounds_end(scene.ask_again(), patience_s)
    calls = [call for cloud in (scene.soracom, scene.control_center) for call in cloud.journal]
    return Outcome(
        sims=sum(len(each.lines.all) for each in (scene.soracom, scene.control_center, scene.portal)),
        differences=scene.differences(),
        bytes=scene.read_bytes(),
        calls=len(calls),
        mishaps=Counter(bool(call.mishap) for call in calls)[True],
        files=files,
        corrected=scene.corrected(),
        minutes=round((time.monotonic() - began) / 60, 1),
    )


def main() -> int:
    """Run the long form."""
    parser = argparse.ArgumentParser(prog="tests.faults.lines", description=__doc__)
    parser.add_argument("--sims", type=int, default=15_000)
    parser.add_argument("--patience-s", type=float, default=3600.0)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tabane-lines-"))
    folder.chmod(0o711)
    scene = LinesScene(folder, asked.sims, hurries=False)
    try:
        scene.open()
        outcome = run(scene, patience_s=asked.patience_s)
    finally:
        scene.close()
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(json.dumps(asdict(outcome), ensure_ascii=False) + "\n")
    return 1 if outcome.differences else 0


if __name__ == "__main__":
    sys.exit(main())
