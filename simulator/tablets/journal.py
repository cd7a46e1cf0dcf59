"""What a tablet did, as only it can know: the witness of "executed twice". In memory, and as JSON lines if wished.

It must not hold tokens, push magic or challenges.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, TextIO


class Event(StrEnum):
    """What can stand in a journal."""

    ENROLLED = "enrolled"
    REFUSED = "refused"
    """The server did not let the tablet in; `detail.where` says at which step."""
    PUSHED = "pushed"
    STRANGE_PUSH = "strange_push"
    """A push whose magic is not the tablet's."""
    EXECUTED = "executed"
    """A command was carried out, or tried and ended in an error: `detail.status`."""
    NOT_NOW = "not_now"
    SENT = "sent"
    """A message went out; `detail.http` is the answer's status, 0 where none came."""
    RENEWED = "renewed"
    SILENCED = "silenced"
    """A profile cut the tablet off; nothing is heard of it any more."""
    REMOVED = "removed"
    """The enrolment is gone: wiped, removed by its user, or unenrolled by an answer of the server."""


WITNESSED = frozenset(Event) - {Event.SENT, Event.PUSHED}
"""What no other journal tells: for fleets of thousands, of which each line sent is of no interest."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. `epoch` counts the enrolments of this tablet."""

    at: float
    serial: str
    event: Event
    epoch: int
    command: str = ""
    """CommandUUID."""
    kind: str = ""
    """RequestType or MessageType."""
    detail: dict[str, Any] = field(default_factory=dict)


Tally = Counter[tuple[Event, str, str]]
"""How often what happened: event, kind, and the status of what was carried out."""


class Journal:
    """One tablet's journal; `out` gets each line as JSON too. Only events in `keeps` are kept, all if absent."""

    def __init__(
        self,
        serial: str,
        out: TextIO | None = None,
        *,
        keeps: frozenset[Event] | None = None,
        tally: Tally | None = None,
    ) -> None:
        self.serial = serial
        self.entries: list[Entry] = []
        self._keeps = keeps
        self._tally = tally
        self._out = out
        self._waiting: list[asyncio.Future[None]] = []

    def write(self, event: Event, epoch: int, *, command: str = "", kind: str = "", **detail: Any) -> None:
        """Add a line."""
        if self._tally is not None:
            self._tally[event, kind, detail.get("status", "")] += 1
        if self._keeps is not None and event not in self._keeps:
            return
        entry = Entry(time.time(), self.serial, event, epoch, command, kind, detail)
        self.entries.append(entry)
        if self._out is not None:
            self._out.write(json.dumps(asdict(entry)) + "\n")
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    async def until(self, happened: Callable[[], bool]) -> None:
        """Wait for a line after which `happened()` holds; bound it with a timeout."""
        while not happened():
            line = asyncio.get_running_loop().create_future()
            self._waiting.append(line)
            await line

    def of(self, event: Event, kind: str | None = None) -> list[Entry]:
        """Return the lines of one event, in order; of one RequestType or MessageType if given."""
        return [entry for entry in self.entries if entry.event is event and kind in (None, entry.kind)]

    def executed(self) -> list[str]:
        """Return the RequestTypes carried out without error, in order."""
        return [entry.kind for entry in self.of(Event.EXECUTED) if entry.detail["status"] == "Acknowledged"]


def executed_twice(journals: Iterable[Journal]) -> list[str]:
    """Return each CommandUUID that any tablets carried out more than once: there must be none."""
    counts = Counter(entry.command for journal in journals for entry in journal.of(Event.EXECUTED))
    return [command for command, count in counts.items() if count > 1]
