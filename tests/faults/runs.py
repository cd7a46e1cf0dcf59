"""One run of a fault: what it showed, and the watch that checks all the time what must hold at every moment."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg

from tests.faults.invariants import Violation
from tests.faults.scene import Scene


@dataclass(slots=True)
class Outcome:
    """What one run showed. Times in seconds; `late` tablets needed the wake-up that comes after a long silence.

    `falls` counts processes that ended by themselves and were started again, as a supervisor does.
    """

    fault: str
    seed: int
    tablets: int
    back_s: float = 0.0
    wall_s: float = 0.0
    lost: int = 0
    doubled: int = 0
    late: int = 0
    falls: int = 0
    failed: bool = False
    answers: dict[int, int] = field(default_factory=dict)
    """What the door answered other than 200, by status; 0: nothing came."""
    violations: list[Violation] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.fault:<42} seed {self.seed:<4} {self.tablets:>6} tablets  lost {self.lost}  doubled {self.doubled}"
            f"  violations {len(self.violations)}  late {self.late}  falls {self.falls}  back {self.back_s:4.1f} s"
            f"  all {self.wall_s:5.1f} s  {self.answers}"
        )


class Watch(threading.Thread):
    """Checks all the time what must hold at every moment; `found` are the violations."""

    def __init__(self, scene: Scene, every_s: float) -> None:
        super().__init__(name="watch", daemon=True)
        self.found: list[Violation] = []
        self._scene = scene
        self._every_s = every_s
        self._ending = threading.Event()

    def run(self) -> None:
        """Check until told to end; the database may be away."""
        while not self._ending.wait(self._every_s):
            with suppress(psycopg.OperationalError), self._scene.house.sql() as connection:
                self.found += self._scene.check(connection, at_rest=False)

    def end(self) -> list[Violation]:
        """End, and return what was found."""
        self._ending.set()
        self.join(60)
        return self.found


Fault = Callable[[Scene], float]
"""Hurts a scene and mends it; returns the seconds from the mending until those who were hurt work again."""


def run(scene: Scene, name: str, fault: Fault, *, seed: int, patience_s: float, watch_s: float) -> Outcome:
    """Run one fault and return what it showed."""
    outcome = Outcome(name, seed, scene.begin(name, seed))
    began = time.monotonic()
    scene.house.falls = 0
    watch = Watch(scene, watch_s)
    watch.start()
    try:
        outcome.back_s = fault(scene)
        outcome.late = scene.come_to_rest(patience_s=patience_s)
    finally:
        outcome.violations = watch.end()
    outcome.wall_s = time.monotonic() - began
    outcome.falls = scene.house.falls
    outcome.answers = {status: count for status, count in scene.fleet.client.answers.items() if status != 200}
    with scene.house.sql() as connection:
        outcome.violations += scene.check(connection, at_rest=True)
    outcome.lost = sum(one.invariant == 4 and "never" in one.what for one in outcome.violations)
    outcome.doubled = sum(one.invariant == 4 and "times" in one.what for one in outcome.violations)
    return outcome
