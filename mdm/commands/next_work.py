"""What a tablet gets next: an open command, else a profile step, else nothing and its wake-up ends. Many at once."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final
from uuid import UUID

from psycopg import AsyncConnection

from mdm.commands import profile_work
from mdm.commands.exchange_sql import HAND, LOOK, REST, STAMPED
from mdm.commands.kinds import Kind
from mdm.commands.profile_work import Shelf
from mdm.commands.reports import CommandHandout, Handout, Report, Said
from mdm.devices.life import Stranger, Unwanted

_KNOWN: Final = frozenset(kind.value for kind in Kind)


class Held(Enum):
    """Nothing can be said yet: ask again in a moment."""

    ROW = "row"
    """Another transaction holds the tablet's row."""
    QUESTIONS = "questions"
    """Its profiles have just become complete; what is asked about them waits among the commands."""


Outcome = Handout | Stranger | Unwanted | Held


@dataclass(slots=True)
class _Found:
    """What one look found, sorted by what has to be written for it; keys are numbers of reports."""

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    commands: dict[int, tuple[int, CommandHandout]] = field(default_factory=dict)
    profiles: dict[int, int] = field(default_factory=dict)
    resting: list[tuple[int, int, bool]] = field(default_factory=list)

    def hand(self, stamped: Collection[UUID]) -> None:
        """Hand out what was stamped as delivered; what was cancelled a moment ago stays here."""
        self.outcomes.update({n: one for n, (_, one) in self.commands.items() if one.command_id in stamped})


def asked(reports: Sequence[Report]) -> tuple[bytes, str, str]:
    """Return the parameters of `LOOK` and `NEXT`."""
    hashes = b"".join([report.identity for report in reports])
    names = ",".join([report.name for report in reports])
    idle = ",".join(["1" if report.said is Said.IDLE else "0" for report in reports])
    return hashes, names, idle


async def look(connection: AsyncConnection[Any], shelf: Shelf, reports: Sequence[Report]) -> Mapping[int, Outcome]:
    """Return what to tell whom, by number from 1 on; whoever is missing is known and has nothing to do."""
    cursor = await connection.execute(LOOK, asked(reports), prepare=True)
    rows = await cursor.fetchall()
    if not rows:
        return {}
    found = _sort(rows)
    if found.commands:
        await _hand_commands(connection, found)
    return await _finish(connection, shelf, reports, found)


async def after_reports(
    connection: AsyncConnection[Any], shelf: Shelf, reports: Sequence[Report], rows: Sequence[tuple[Any, ...]]
) -> Mapping[int, Outcome]:
    """Return the same of what `NEXT` gave, in which commands are stamped already."""
    stamped = {row[4] for row in rows if row[1] == STAMPED}
    found = _sort([row for row in rows if row[1] != STAMPED])
    found.hand(stamped)
    return await _finish(connection, shelf, reports, found)


async def _finish(
    connection: AsyncConnection[Any], shelf: Shelf, reports: Sequence[Report], found: _Found
) -> Mapping[int, Outcome]:
    if found.profiles:
        await _hand_profiles(connection, shelf, reports, found)
    if found.resting:
        await connection.execute(REST, tuple(map(list, zip(*found.resting, strict=True))), prepare=True)
    return found.outcomes


def _sort(rows: Sequence[tuple[Any, ...]]) -> _Found:
    found = _Found()
    for number, verdict, device_id, generation, command_id, kind, arguments, profiles in rows:
        if verdict == "stranger":
            found.outcomes[number] = Stranger("The certificate is not this tablet's.")
        elif verdict == "gone":
            found.outcomes[number] = Unwanted("The tablet is no longer managed.")
        elif command_id is not None:
            if kind in _KNOWN:  # one that a newer version enqueued waits for that version
                found.commands[number] = (device_id, CommandHandout(command_id, Kind(kind), arguments))
        elif profiles:
            found.profiles[number] = device_id
        elif generation is not None:
            found.resting.append((device_id, generation, False))
    return found


async def _hand_commands(connection: AsyncConnection[Any], found: _Found) -> None:
    """Stamp commands as delivered; one that was cancelled a moment ago is not handed out."""
    ids = [handout.command_id for _, handout in found.commands.values()]
    devices = [device_id for device_id, _ in found.commands.values()]
    cursor = await connection.execute(HAND, (ids, devices), prepare=True)
    stamped = {command_id for (command_id,) in await cursor.fetchall()}
    found.hand(stamped)


async def _hand_profiles(
    connection: AsyncConnection[Any], shelf: Shelf, reports: Sequence[Report], found: _Found
) -> None:
    asking = {device_id: reports[number - 1].said is Said.IDLE for number, device_id in found.profiles.items()}
    async with connection.transaction():
        work = await profile_work.hand_out(connection, shelf, asking)
    for number, device_id in found.profiles.items():
        if device_id in work.handed:
            found.outcomes[number] = work.handed[device_id]
        elif device_id in work.skipped:
            found.outcomes[number] = Held.ROW
        elif device_id in work.asked:
            found.outcomes[number] = Held.QUESTIONS
    found.resting.extend(work.resting)
