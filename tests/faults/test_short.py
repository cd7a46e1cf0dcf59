"""The short form of the fault suite: each kind of fault once, some hundred tablets. `make faults` is the long one."""

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.faults.faults import FAULTS, SHORT
from tests.faults.runs import run
from tests.faults.scene import Scene

TABLETS = 240
SEED = 1

pytestmark = pytest.mark.timeout(480)


@pytest.fixture(scope="module")
def scene():
    folder = Path(tempfile.mkdtemp(prefix="tabane-faults-"))
    folder.chmod(0o711)
    scene = Scene(folder, TABLETS, per_s=80, burst=40)
    try:
        scene.open()
        yield scene
    finally:
        scene.close()
        shutil.rmtree(folder, ignore_errors=True)


def test_nothing_is_lost_and_nothing_is_doubled(scene):
    """Whatever is hurt while orders are under way: each is carried out once, and every invariant holds.

    One test for all, because they share a house: it would be built once in each process that takes a part of them.
    """
    outcomes = [run(scene, name, FAULTS[name], seed=SEED, patience_s=60, watch_s=0.5) for name in SHORT]
    wrong = [f"{one.fault}: {violation}" for one in outcomes for violation in one.violations[:5]]
    assert wrong == []
    assert sum(one.lost + one.doubled for one in outcomes) == 0
    assert all(one.tablets >= TABLETS - len(outcomes) for one in outcomes)
