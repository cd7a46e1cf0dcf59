"""The hot path: a tablet reports and asks, and gets its next piece of work. Check-ins that arrive together share SQL.

Neutral: it takes a `Report` and returns a `Handout`; how either looks on a wire is the platforms' business. It must not
learn any protocol, send anything, or hold what may not be lost: between two statements the rows are the truth.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Any, Final

import structlog
from psycopg import AsyncConnection, OperationalError
from psycopg import Error as DatabaseError
from psycopg_pool import AsyncConnectionPool
from sqlmodel import Session

from mdm import db, jobs
from mdm.commands import profile_work
from mdm.commands.exchange_sql import SEEN
from mdm.commands.next_work import Held, after_reports, look
from mdm.commands.reports import Handout, Report
from mdm.commands.settling import settle
from mdm.devices.life import Stranger, Unwanted
from mdm.settings import get_settings

_log = structlog.get_logger(__name__)

PLANNER: Final = (
    "-c timezone=UTC -c lock_timeout=5000 -c statement_timeout=15000 -c plan_cache_mode=force_generic_plan"
    " -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c enable_sort=off"
    " -c enable_incremental_sort=off -c enable_memoize=off -c enable_material=off -c jit=off"
)
"""Session options of the pool: planned once, and always as index look-ups, even before statistics exist."""
_FLIGHTS: Final = 2
"""Batches under way at once: one is in Postgres while the other is being read."""
_BATCH: Final = 256
_BEAT_SECONDS: Final = 1.0
_SEEN_AT_ONCE: Final = 2000
_TRIES: Final = 8
_FIRST_PAUSE: Final = 0.02
"""Doubled at each try: 5 s in all, in which the transaction that holds a row has ended or has bigger worries."""


_Waiting = tuple[Report, "asyncio.Future[Handout | None]"]


class Exchange:
    """The exchange of one event loop: its pool, what waits, and who was heard since the last beat."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection[Any]]) -> None:
        self._pool = pool
        self._shelf = profile_work.Shelf()
        self._waiting: deque[_Waiting] = deque()
        self._reporting: set[bytes] = set()
        self._flights = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen: set[bytes] = set()
        self._stale: set[int] = set()
        self._beat: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def check_in(self, report: Report) -> "asyncio.Future[Handout | None]":
        """Settle what the tablet reports and return its next work, or None.

        Raises `Stranger` or `Unwanted`; psycopg's errors mean that the database failed and nothing is decided.
        """
        future: asyncio.Future[Handout | None] = self._loop.create_future()
        self._queue((report, future))
        return future

    def _queue(self, one: _Waiting) -> None:
        self._waiting.append(one)
        if self._flights < _FLIGHTS:
            self._flights += 1
            # One turn of the loop later, so that whatever else has just arrived comes along.
            self._loop.call_soon(self._take_off)

    def _take_off(self) -> None:
        task = self._loop.create_task(self._fly())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fly(self) -> None:
        batch: list[_Waiting] = []
        tries = 0
        try:
            while batch or self._waiting:
                connection: AsyncConnection[Any] | None = None
                try:
                    async with self._pool.connection() as connection:
                        while batch := batch or self._board():
                            await self._serve(connection, batch)
                            self._disembark(batch)
                            batch, tries = [], 0
                except OperationalError:
                    # Pooled connections of a database that was restarted; everything here may be done twice.
                    tries += 1
                    if tries > _FLIGHTS + 1 or connection is None or not connection.broken:
                        raise
                if not batch:
                    break  # what still waits, waits for the other flight
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            self._disembark(batch)
            self._land(batch, error)
        finally:
            self._flights -= 1
            if self._waiting and self._flights == 0:
                self._flights += 1
                self._take_off()

    def _land(self, batch: Iterable[_Waiting], error: Exception) -> None:
        """Tell a batch, and those behind it, that the database is away: at once instead of one by one."""
        if not isinstance(error, DatabaseError):
            _log.error("exchange_failed", error=type(error).__name__)
        for _, future in (*batch, *self._waiting):
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()

    def _board(self) -> list[_Waiting]:
        """Take the next batch; two reports of one tablet are never under way together, or their order would be lost."""
        batch: list[_Waiting] = []
        left: list[_Waiting] = []
        while self._waiting and len(batch) < _BATCH:
            one = self._waiting.popleft()
            report = one[0]
            if report.command_id is not None:
                if report.identity in self._reporting:
                    left.append(one)
                    continue
                self._reporting.add(report.identity)
            batch.append(one)
        self._waiting.extendleft(reversed(left))
        return batch

    def _disembark(self, batch: Iterable[_Waiting]) -> None:
        self._reporting.difference_update([report.identity for report, _ in batch if report.command_id is not None])

    async def _serve(self, connection: AsyncConnection[Any], batch: Sequence[_Waiting]) -> None:
        try:
            await self._answer(connection, batch)
        except DatabaseError as error:
            if connection.broken:
                raise
            if len(batch) == 1:
                _, future = batch[0]
                if not future.done():
                    future.set_exception(error)
                return
            # A value the database refuses, or a deadlock: nobody pays for another's report.
            _log.warning("exchange_batch_split", count=len(batch), error=type(error).__name__)
            for one in batch:
                await self._serve(connection, [one])

    async def _answer(self, connection: AsyncConnection[Any], batch: Sequence[_Waiting]) -> None:
        reports = [report for report, _ in batch]
        if any(report.command_id is not None for report in reports):
            settled = await settle(connection, reports)
            self._stale.update(settled.stale)
            outcomes = await after_reports(connection, self._shelf, reports, settled.rows)
        else:
            outcomes = await look(connection, self._shelf, reports)
        seen = self._seen
        for number, (report, future) in enumerate(batch, 1):
            outcome = outcomes.get(number)
            if isinstance(outcome, Stranger | Unwanted):
                if not future.done():
                    future.set_exception(outcome)
                continue
            seen.add(report.identity)
            if isinstance(outcome, Held):
                self._ask_again(report, future)
            elif not future.done():
                future.set_result(outcome)

    def _ask_again(self, report: Report, future: "asyncio.Future[Handout | None]") -> None:
        """Look once more in a moment, outside of this batch: nobody else waits for a row that is held.

        A tablet that was just pushed asks while the transaction that noted the push is still open; sent away with
        nothing it would sleep until the next push. One that has just become complete has questions waiting for it.
        """
        if future.done():
            return
        if report.tries >= _TRIES:
            future.set_result(None)
            return
        again = replace(report, command_id=None, tries=report.tries + 1)  # what it said is settled already
        self._loop.call_later(_FIRST_PAUSE * 2**report.tries, self._queue, (again, future))

    async def authorities(self) -> list[bytes]:
        """Return the device CA's certificates in DER: the one thing of `enrollment` that the door has to know."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute("SELECT certificate FROM authority ORDER BY id DESC")
            return [bytes(der) for (der,) in await cursor.fetchall()]

    async def open(self) -> None:
        """Open the pool and start the beat that writes down who was heard."""
        await self._pool.open()
        self._beat = self._loop.create_task(self._beat_forever())

    async def close(self) -> None:
        """Write down what is left and close the pool."""
        if self._beat is not None:
            self._beat.cancel()
            with suppress(asyncio.CancelledError):
                await self._beat
        while self._tasks:
            await asyncio.wait(self._tasks)
        with suppress(DatabaseError):
            await self.write_behind()
        await self._pool.close()

    async def _beat_forever(self) -> None:
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            try:
                await self.write_behind()
            except DatabaseError as error:
                _log.warning("last_seen_late", error=type(error).__name__)

    async def write_behind(self) -> None:
        """Write down who was heard since the last time, and hint that stale wishes wait. Nothing here is the truth."""
        seen, self._seen = self._seen, set()
        try:
            while seen:
                part = list(islice(seen, _SEEN_AT_ONCE))
                async with self._pool.connection() as connection, connection.transaction():
                    await connection.execute("SET LOCAL synchronous_commit = off")
                    await connection.execute(SEEN, (part, time.time()), prepare=True)
                seen.difference_update(part)
        finally:
            self._seen |= seen  # what could not be written this time is written the next
        stale, self._stale = self._stale, set()
        if stale:
            await asyncio.to_thread(_hint_retarget, sorted(stale))


def _hint_retarget(device_ids: list[int]) -> None:
    session = Session()
    jobs.ring(session, jobs.Job.RETARGET, device_ids=device_ids)
    jobs.send(session)


def build() -> Exchange:
    """Build the exchange of the running event loop; `open` it before use."""
    pool: AsyncConnectionPool[AsyncConnection[Any]] = AsyncConnectionPool(
        get_settings().database_url,
        min_size=_FLIGHTS,
        max_size=_FLIGHTS + 1,
        open=False,
        timeout=5,
        kwargs={"autocommit": True, "options": PLANNER, **db.link("tabane-door")},
    )
    return Exchange(pool)
