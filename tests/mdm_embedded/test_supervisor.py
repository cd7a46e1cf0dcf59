"""The supervisor: parts come up in order, come back when they fall, and go in order."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mdm.embedded import host
from mdm.embedded.supervisor import Part, Supervisor
from mdm.errors import Misconfigured

SLEEPER = "import time; time.sleep(60)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    made = Supervisor(print)
    yield made
    made.stop()


def part(folder: Path, name: str, script: str, **options: object) -> Part:
    log = folder / f"{name}.log"

    def launch() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", script]
        return host.spawn(command, owner=host.current(), log=log, folder=folder, on_parent_death=signal.SIGTERM)

    return Part(name, launch, log, **options)  # type: ignore[arg-type]


def test_start_waits_until_ready(supervisor: Supervisor, tmp_path: Path) -> None:
    """A start returns when the part says that it is ready, not when it merely runs."""
    flag = tmp_path / "ready"
    script = f"import time; time.sleep(0.3); open({str(flag)!r}, 'w'); time.sleep(60)"
    supervisor.start(part(tmp_path, "slow", script, is_ready=flag.exists))
    assert flag.exists()


def test_fall_during_start_names_the_part_and_its_last_words(supervisor: Supervisor, tmp_path: Path) -> None:
    """A part that ends before it is ready stops the start in one line."""
    with pytest.raises(Misconfigured) as refusal:
        supervisor.start(part(tmp_path, "brief", "raise SystemExit('no luck')", is_ready=lambda: False))
    assert "brief ended with status 1: no luck" in refusal.value.detail
    assert "\n" not in refusal.value.detail


def test_fallen_part_is_started_again_with_growing_pauses(tmp_path: Path) -> None:
    """Each fall is said in a line and followed by a start, after a pause that doubles."""
    starts = tmp_path / "starts"
    said: list[str] = []
    supervisor = Supervisor(lambda line: (said.append(line), len(said) == 3 and supervisor.stopping.set()))
    supervisor.ask(part(tmp_path, "fragile", f"open({str(starts)!r}, 'a').write('x'); raise SystemExit(3)"))
    supervisor.run()
    supervisor.stop()
    assert starts.read_text() == "xxx"
    assert [line.split("again in ")[1] for line in said] == ["1 s", "2 s", "4 s"]
    assert all("fragile ended with status 3" in line for line in said)


def test_stop_goes_storey_by_storey(supervisor: Supervisor, tmp_path: Path) -> None:
    """What was started last ends first, and what does not hear SIGTERM is killed after its patience."""
    ends = tmp_path / "ends"
    farewell = (
        "import signal, sys, time\n"
        f"def bye(*_): open({str(ends)!r}, 'a').write(NAME); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, bye); print('up', flush=True); time.sleep(60)"
    )
    for name in ("a", "b"):
        log = tmp_path / f"{name}.log"
        script = f"NAME = {name!r}\n{farewell}"
        supervisor.start(part(tmp_path, name, script, is_ready=lambda log=log: "up" in log.read_text()))
    log = tmp_path / "deaf.log"
    deaf = part(tmp_path, "deaf", STUBBORN, is_ready=lambda: "deaf" in log.read_text(), patience_s=0.2)
    supervisor.start(deaf)
    before = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - before < 10
    assert ends.read_text() == "ba"


def test_a_signal_during_start_ends_the_waiting(supervisor: Supervisor, tmp_path: Path) -> None:
    """Ctrl-C while a part is not ready yet does not wait for it."""
    threading.Timer(0.3, supervisor.stopping.set).start()
    supervisor.start(part(tmp_path, "never", SLEEPER, is_ready=lambda: False))
    assert supervisor.stopping.is_set()
