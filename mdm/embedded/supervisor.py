"""Keeps a set of processes running: starts them in order, starts fallen ones again, stops all. Knows no one of them."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mdm.embedded import host
from mdm.errors import Misconfigured

_LOOK_S = 0.1
_READY_S = 60.0
_STEADY_S = 60.0
_LONGEST_PAUSE_S = 30.0
_LONGEST_LOG_BYTES = 10_000_000


@dataclass(frozen=True)
class Part:
    """One process to keep running."""

    name: str
    launch: Callable[[], subprocess.Popen[bytes]]
    log: Path
    is_ready: Callable[[], bool] = lambda: True
    stop_signals: tuple[signal.Signals, ...] = (signal.SIGTERM,)
    patience_s: float = 12.0


def python_part(
    name: str,
    command: Sequence[str | Path],
    log: Path,
    *,
    is_ready: Callable[[], bool] = lambda: True,
    settings: Mapping[str, str] | None = None,
) -> Part:
    """Describe a process of our own, run as this user with this process's environment; an overlong log is put aside.

    `settings` are variables of its environment that differ.
    """

    def launch() -> subprocess.Popen[bytes]:
        if log.exists() and log.stat().st_size > _LONGEST_LOG_BYTES:
            log.replace(log.with_suffix(".old.log"))
        return host.spawn(
            command,
            owner=host.current(),
            log=log,
            folder=log.parent,
            on_parent_death=signal.SIGTERM,
            environment={**os.environ, **(settings or {})},
        )

    return Part(name, launch, log, is_ready)


@dataclass
class _Running:
    part: Part
    process: subprocess.Popen[bytes]
    storey: int
    since: float
    falls: int = 0
    again_at: float | None = None


@dataclass
class Supervisor:
    """Starts, watches and stops parts; `say` gets a line for people when a part falls over.

    All starting happens in the thread that calls `run` or `start`: the leash of a child is tied to that thread.
    """

    say: Callable[[str], None]
    stopping: threading.Event = field(default_factory=threading.Event)
    _running: list[_Running] = field(default_factory=list)
    _asked: list[Part] = field(default_factory=list)
    _storey: int = 0

    def start(self, *parts: Part) -> None:
        """Start a storey: these parts together, and wait until all are ready.

        `Misconfigured` names the first that falls, or is not ready in a minute, and why.
        """
        self._storey += 1
        fresh = [self._launch(part) for part in parts]
        deadline = time.monotonic() + _READY_S
        for running in fresh:
            while not self.stopping.is_set() and not running.part.is_ready():
                self._require_alive(running)
                if time.monotonic() > deadline:
                    raise Misconfigured(
                        f"{running.part.name} was not ready in {_READY_S:.0f} s (log: {running.part.log})"
                    )
                self.stopping.wait(_LOOK_S)
        for running in fresh:
            self._require_alive(running)

    def adopt(self, part: Part, process: subprocess.Popen[bytes]) -> None:
        """Take over a process that runs already, as a storey of its own."""
        self._storey += 1
        self._running.append(_Running(part, process, self._storey, time.monotonic()))

    def ask(self, part: Part) -> None:
        """Ask the watching thread to start one more part; callable from any thread."""
        self._asked.append(part)

    def run(self) -> None:
        """Watch until `stopping` is set: start what was asked for, and what fell over, after a pause that grows."""
        while not self.stopping.wait(_LOOK_S):
            while self._asked:
                self._launch(self._asked.pop(0))
            for running in self._running:
                self._look_after(running)

    def stop(self) -> None:
        """Stop storey by storey, the last started first, so that nothing loses what it stands on."""
        self.stopping.set()
        for storey in range(self._storey, 0, -1):
            here = [running for running in self._running if running.storey == storey]
            _stop_together([running for running in here if running.process.poll() is None])

    def _launch(self, part: Part) -> _Running:
        running = _Running(part, part.launch(), self._storey, time.monotonic())
        self._running.append(running)
        return running

    def _require_alive(self, running: _Running) -> None:
        status = running.process.poll()
        if status is not None and not self.stopping.is_set():
            part = running.part
            raise Misconfigured(f"{part.name} ended with status {status}: {host.last_line(part.log)} (log: {part.log})")

    def _look_after(self, running: _Running) -> None:
        now, part = time.monotonic(), running.part
        if running.again_at is not None:
            if now >= running.again_at:
                self._launch_again(running)
            return
        status = running.process.poll()
        if status is None:
            return
        running.falls = 0 if now - running.since > _STEADY_S else running.falls
        pause = min(2.0**running.falls, _LONGEST_PAUSE_S)
        running.falls += 1
        running.again_at = now + pause
        self.say(f"{part.name} ended with status {status} (log: {part.log}); starting it again in {pause:.0f} s")

    def _launch_again(self, running: _Running) -> None:
        running.again_at = None
        running.since = time.monotonic()
        try:
            running.process = running.part.launch()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again
            self.say(f"{running.part.name} does not start: {error}")


def _stop_together(group: list[_Running]) -> None:
    """Signal all at once and wait for each with its patience, then kill what is left."""
    for running in group:
        running.process.send_signal(running.part.stop_signals[0])
    deadline = time.monotonic() + max((running.part.patience_s for running in group), default=0)
    for running in group:
        try:
            running.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            host.stop(running.process, *running.part.stop_signals[1:], patience_s=3)
