"""What the pretended push service is told to do wrong, and how often. Pure bookkeeping: no sockets here."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum


@dataclass(frozen=True, slots=True)
class Answer:
    """A status with the vendor's reason; `timestamp` is milliseconds since the epoch (410 only)."""

    status: int = 200
    reason: str = ""
    retry_after: int | None = None
    timestamp: int | None = None


class Mishap(Enum):
    """What befalls a request or its connection instead of an answer."""

    RESET = "reset"  # RST_STREAM after the push was taken
    REFUSE = "refused"  # RST_STREAM with REFUSED_STREAM: not taken
    GOAWAY = "goaway"  # graceful: this stream is the last one answered
    GOAWAY_ABRUPT = "goaway-abrupt"  # this stream is the last one taken; nothing in flight is answered
    CUT = "cut"  # taken, then the connection is torn down


@dataclass(slots=True)
class Fault:
    """A mishap for every `every`-th request of a connection, at most `times` times in all (None: always)."""

    mishap: Mishap
    every: int
    times: int | None = 1


@dataclass(slots=True)
class Script:
    """The behaviour in force. Change it while the service runs; each request reads it afresh."""

    everyone: Answer = field(default_factory=Answer)
    latency: float | Callable[[], float] = 0.0
    max_concurrent_streams: int = 1000
    faults: list[Fault] = field(default_factory=list)
    mute: bool = False
    """Take requests and never answer: a half-open line."""
    _tokens: dict[str, deque[Answer]] = field(default_factory=dict)
    _for_good: dict[str, Answer] = field(default_factory=dict)

    def answer(self, token: bytes, answer: Answer, *, times: int | None = None) -> None:
        """Give `token` this answer for its next `times` pushes, or for good."""
        if times is None:
            self._for_good[token.hex()] = answer
        else:
            self._tokens.setdefault(token.hex(), deque()).extend([answer] * times)

    def clear(self) -> None:
        """Back to a service in good health; answers tied to tokens go too."""
        self.everyone = Answer()
        self.latency = 0.0
        self.faults = []
        self.mute = False
        self._tokens.clear()
        self._for_good.clear()

    def answer_for(self, token: str) -> Answer:
        """The answer for this push of `token` (hex): next of its own, else its lasting one, else everyone's."""
        own = self._tokens.get(token)
        if own:
            return own.popleft()
        return self._for_good.get(token, self.everyone)

    def delay(self) -> float:
        """Seconds to wait before answering."""
        return self.latency() if callable(self.latency) else self.latency

    def mishap_for(self, request_number: int) -> Mishap | None:
        """What befalls the `request_number`-th (from 1) request of a connection."""
        for fault in self.faults:
            if request_number % fault.every == 0 and fault.times != 0:
                if fault.times is not None:
                    fault.times -= 1
                return fault.mishap
        return None
