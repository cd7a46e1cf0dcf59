"""`make faults`: every fault once for each seed, with the whole fleet; a line for each run, the last line sums up."""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _pytest.outcomes import Skipped

from tests.faults import schema_faults  # noqa: F401 - enters its faults into the list
from tests.faults.faults import FAULTS
from tests.faults.runs import Outcome, run
from tests.faults.scene import Scene

_BACK_S = 10.0


def main() -> int:
    """Run the suite; 0 when nothing was lost, doubled or violated and everybody was back in time."""
    parser = argparse.ArgumentParser(prog="tests.faults", description=__doc__)
    parser.add_argument("--tablets", type=int, default=15_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--per-s", type=float, default=600.0, help="the fleet's limit, which keeps work under way")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="faults whose names hold one of these words")
    asked = parser.parse_args()
    chosen = {name: act for name, act in FAULTS.items() if not asked.only or any(word in name for word in asked.only)}
    folder = Path(tempfile.mkdtemp(prefix="tabane-faults-"))
    folder.chmod(0o711)
    _say(f"{len(chosen)} faults, seeds {asked.seeds}, {asked.tablets} tablets")
    began = time.monotonic()
    scene = Scene(folder, asked.tablets, per_s=asked.per_s, burst=200, schools=40, hurries=False)
    try:
        scene.open()
        _say(f"the house stands after {time.monotonic() - began:.0f} s")
        outcomes = [_one(scene, name, act, seed) for seed in asked.seeds for name, act in chosen.items()]
    finally:
        scene.close()
        shutil.rmtree(folder, ignore_errors=True)
    return _sum_up([one for one in outcomes if one is not None], len(chosen) * len(asked.seeds), began)


def _one(scene: Scene, name: str, act: Callable[[Scene], float], seed: int) -> Outcome | None:
    try:
        outcome = run(scene, name, act, seed=seed, patience_s=180, watch_s=2)
    except Skipped as reason:
        _say(f"{name:<42} seed {seed:<4} skipped: {reason}")
        scene.house.heal()
        return None
    except Exception as error:  # noqa: BLE001 - the others shall have their turn
        _say(f"{name:<42} seed {seed:<4} FAILED: {type(error).__name__}: {str(error)[:4000]}")
        scene.house.heal()
        return Outcome(name, seed, len(scene.seen.devices), failed=True)
    _say("\n  ".join(map(str, [outcome, *outcome.violations[:10]])))
    return outcome


def _sum_up(outcomes: list[Outcome], planned: int, began: float) -> int:
    summary = {
        "fault_runs": len(outcomes),
        "skipped": planned - len(outcomes),
        "failed": sum(one.failed for one in outcomes),
        "tablets": max((one.tablets for one in outcomes), default=0),
        "lost": sum(one.lost for one in outcomes),
        "doubled": sum(one.doubled for one in outcomes),
        "violations": sum(len(one.violations) for one in outcomes),
        "back_after_s_worst": round(max((one.back_s for one in outcomes), default=0.0), 1),
        "back_within_10_s": sum(one.back_s <= _BACK_S and not one.failed for one in outcomes),
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
    _say(json.dumps(summary))
    broken = summary["failed"] or summary["violations"] or summary["back_within_10_s"] < len(outcomes)
    return 1 if broken or not outcomes else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
