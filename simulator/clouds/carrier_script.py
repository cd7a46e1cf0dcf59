"""How a pretended carrier behaves and what it does wrong, and how often. Values only; change them while it runs."""

from dataclasses import dataclass, field
from enum import StrEnum


class Mishap(StrEnum):
    """What befalls a call instead of its answer."""

    BUSY = "busy"
    """429 with Retry-After; nothing is done."""
    UNAVAILABLE = "unavailable"
    """503 without Retry-After; nothing is done."""
    ERROR = "error"
    """500; nothing is done."""
    LOST = "lost"
    """The line is cut before anything is done."""
    CUT = "cut"
    """It is done, and the answer breaks off in the middle."""
    GARBAGE = "garbage"
    """200 with a page of some proxy instead of the answer; nothing is done."""
    EXPIRED = "expired"
    """The session is ended before its time: 401."""


@dataclass(slots=True)
class Fault:
    """A mishap for every `every`-th call, at most `times` times (None: always), only for paths with `on` in them."""

    mishap: Mishap
    every: int = 1
    times: int | None = None
    on: str = ""
    seen: int = 0


@dataclass(slots=True)
class Script:
    """The behaviour in force."""

    calls_per_s: float | None = None
    """More are answered with 429."""
    in_flight: int | None = None
    """More at a time are answered with 429."""
    retry_after_s: int = 1
    latency_s: float = 0
    token_s: float | None = None
    """Sessions end after this, whatever was agreed."""
    status_takes_s: float = 0
    """From an order until it is so."""
    export_takes_s: float = 0
    late: float = 0
    """Share of unsettled figures that are not there yet."""
    guessed: float = 0
    """Share of unsettled figures that are too low and will be corrected."""
    settles_after_s: float = 6 * 3600
    """A day's figures are final so long after its end."""
    doubled: float = 0
    """Share of figures that are named twice."""
    faults: list[Fault] = field(default_factory=list)

    def mishap_for(self, path: str) -> Mishap | None:
        """Return what befalls this call."""
        for fault in self.faults:
            if fault.on not in path or fault.times == 0:
                continue
            fault.seen += 1
            if fault.seen % fault.every == 0:
                if fault.times is not None:
                    fault.times -= 1
                return fault.mishap
        return None
