"""What tablets report, written down for many at once, with their next work in one transaction: one commit for both.

It knows what must follow what, and no more: statements are in `exchange_sql`, what follows from ends in `results`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from psycopg import AsyncConnection

from mdm.commands import results
from mdm.commands.exchange_sql import NEXT, SETTLE, SETTLE_PAST
from mdm.commands.next_work import asked
from mdm.commands.reports import Report, Said
from mdm.commands.results import Ended

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Settled:
    """What came of a batch: the rows of `NEXT`, and the tablets whose facts changed."""

    rows: Sequence[Row]
    stale: Sequence[int] = ()


async def settle(connection: AsyncConnection[Any], reports: Sequence[Report]) -> Settled:
    """Settle what is reported and stamp what comes next, in one transaction; nothing may be answered before it.

    The connection must be in autocommit: what a pipeline sends between two syncs is one transaction then, and costs one
    round trip. Only answers to questions need a look in between, because what they say may decide what comes next.
    """
    said = [report for report in reports if report.command_id is not None]
    if any(report.inventory is not None for report in said):
        async with connection.transaction():
            stale = await _settle_answers(connection, said)
            cursor = await connection.execute(NEXT, asked(reports), prepare=True)
            return Settled(await cursor.fetchall(), stale)
    async with connection.pipeline():
        first = await connection.execute(SETTLE, _parameters(said), prepare=True)
        second = await connection.execute(NEXT, asked(reports), prepare=True)
    if late := _unmatched(said, await first.fetchall()):
        await connection.execute(SETTLE_PAST, _parameters(late), prepare=True)
    return Settled(await second.fetchall())


async def _settle_answers(connection: AsyncConnection[Any], said: Sequence[Report]) -> list[int]:
    cursor = await connection.execute(SETTLE, _parameters(said), prepare=True)
    rows = await cursor.fetchall()
    ended = _ended(said, rows)
    if late := _unmatched(said, rows):
        cursor = await connection.execute(SETTLE_PAST, _parameters(late), prepare=True)
        ended += _ended(late, await cursor.fetchall())
    return await results.apply(connection, ended) if ended else []


def _ended(said: Sequence[Report], rows: Sequence[Row]) -> list[Ended]:
    return [
        Ended(device_id, kind, done, said[n - 1].inventory) for n, device_id, kind, done in rows if kind is not None
    ]


def _unmatched(said: Sequence[Report], rows: Sequence[Row]) -> list[Report]:
    """Return those who did something of which no row of the hot table knows: repeated, or of the past."""
    if len(rows) == len(said):
        return []
    found = {row[0] for row in rows}
    return [report for n, report in enumerate(said, 1) if n not in found and report.said is Said.DONE]


def _parameters(said: Sequence[Report]) -> tuple[bytes, str, str, str, str]:
    """Return the parameters of `SETTLE`; few reports say more than a state, so that is apart."""
    more: dict[str, dict[str, Any]] = {}
    for n, report in enumerate(said, 1):
        if report.error is not None or report.result is not None:
            more[str(n)] = {
                name: value for name, value in (("error", report.error), ("result", report.result)) if value is not None
            }
    return (
        b"".join([report.identity for report in said]),
        orjson.dumps(more).decode(),
        ",".join([report.name for report in said]),
        ",".join([str(report.command_id) for report in said]),
        ",".join([report.said.value for report in said]),
    )
