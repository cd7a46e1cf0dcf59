"""What tests of dispatch share: a worker process, waiting for conditions, and the judgement of a journal."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

from workers import dispatch


def until(condition, seconds=30.0):
    """Wait for a condition; generous, because two cores are shared with everybody."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not come about in time"
        time.sleep(0.02)


@contextmanager
def worker(*queues, log):
    """Run `tabane worker QUEUES` as the command line does; killed at the end if it still runs."""
    with _running("worker", *queues, log=log) as process:
        yield process


@contextmanager
def sending(*, log):
    """Run `tabane sender`."""
    with _running("sender", log=log) as process:
        yield process


@contextmanager
def _running(*command, log):
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "mdm.cli", *command], stdout=sink, stderr=sink, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def drained_in_the_end(lane, seconds=15):
    """Drain until something was done: time has to pass first."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if tally := dispatch.drain(lane):
            return tally
        time.sleep(0.1)
    return {}


def most_over(stamps, rate, burst):
    """The most that any window held, as a share of rate * window + burst."""
    return max(
        (last - first + 1) / (rate * (stamps[last] - begin) + burst)
        for first, begin in enumerate(stamps)
        for last in range(first, len(stamps))
    )
