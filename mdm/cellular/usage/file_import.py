"""Files of usage and bills: say what one would do, and do it. The same file twice does nothing.

All or nothing where a line is wrong, unless the caller skips wrong lines. One piece of the file at a time in memory.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from itertools import islice
from typing import Any, BinaryIO, Final
from zoneinfo import ZoneInfo

from sqlmodel import Session

from mdm import clock
from mdm.cellular import accounts, batches, cycles
from mdm.cellular.batches import Note
from mdm.cellular.models import CarrierAccount, CarrierKind, ImportKind, UsageSource
from mdm.cellular.usage import bounds, file_columns, file_stage, raw
from mdm.cellular.usage.file_columns import WIDTHS, Column, Grain, Headers, Reading
from mdm.cellular.usage.file_entry import Entry, Reader
from mdm.cellular.usage.file_stage import Form
from mdm.cellular.usage.ledger import Telling
from mdm.cellular.usage.lines import Lines
from mdm.csvfile import Layout, Row, read_rows
from mdm.errors import Invalid

MAX_BYTES: Final = 256 * 1024 * 1024
_MAX_ROWS: Final = 5_000_000
_KEPT_WHOLE: Final = 8 * 1024 * 1024
"""A file up to this size is kept for disputes; of a larger one only that it came."""
_PIECE: Final = 5000


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be done with a file."""

    kind: ImportKind
    how: Reading
    month: date | None = None
    """The month that all of it is of, where it has no such column."""
    dry_run: bool = False
    skip_bad_rows: bool = False
    again: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a file did, or would do, in lines. Its notes stand in `import_note` until the transaction ends."""

    applied: bool = False
    known: bool = False
    """This very file went in before; nothing was done."""
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    adjusted: int = 0
    errors: int = 0
    ignored: tuple[str, ...] = ()


def run(session: Session, account: CarrierAccount, file: BinaryIO, wish: Wish, *, by: str) -> Outcome:
    """Read a file and, unless it is a dry run or refused, write it. `Malformed` for what spoils all of it."""
    form = _form(account, wish)
    before = file_columns.reading(account.usage_mapping)
    sha256, size = _digest(file, wish)
    if not wish.again and wish.how == before and batches.known(session, account, wish.kind, sha256):
        batches.begin(session)
        return Outcome(known=True)
    headers = _load(session, account, file, wish, form)
    errors = file_stage.judge(session, form)
    kept = not wish.dry_run and (not errors or wish.skip_bad_rows)
    # What it would do is what it does, taken back.
    with session.begin_nested() as attempt:
        source = UsageSource.BILL if form is Form.BILL else UsageSource.CSV
        raw_id = _note_raw(session, account, source, file, sha256=sha256, size=size)
        telling = Telling(source, clock.now(), raw_id)
        done = file_stage.record(session, account, telling, form)
        if not kept:
            attempt.rollback()
    outcome = Outcome(kept, False, done.new, done.changed, done.same, done.adjusted, errors, tuple(headers.ignored))
    if kept:
        if wish.how != before:
            accounts.remember_usage_mapping(session, account, wish.how.kept())
        batches.keep(session, account, wish.kind, outcome, sha256=sha256, size=size, by=by)
    return outcome


def _form(account: CarrierAccount, wish: Wish) -> Form:
    if wish.kind is ImportKind.BILL:
        return Form.BILL
    if wish.how.grain is Grain.DAY:
        return Form.DAYS
    if account.kind == CarrierKind.CONTROL_CENTER:
        raise Invalid("the counters of this account are read by its interface; a file by month can only be its bill")
    return Form.MONTHS


def _digest(file: BinaryIO, wish: Wish) -> tuple[bytes, int]:
    """Return what a file is known by, and its size: another month makes it another file."""
    file.seek(0)
    digest, size = hashlib.sha256(), 0
    while piece := file.read(1 << 20):
        digest.update(piece)
        size += len(piece)
    if wish.month is not None:
        digest.update(wish.month.isoformat().encode())
    file.seek(0)
    return digest.digest(), size


def _note_raw(
    session: Session, account: CarrierAccount, source: UsageSource, file: BinaryIO, *, sha256: bytes, size: int
) -> int:
    if size > _KEPT_WHOLE:
        return raw.note(session, account.id or 0, source, sha256, size, received_at=clock.now())
    file.seek(0)
    return raw.keep(session, account.id or 0, source, file.read(), received_at=clock.now())


def _load(session: Session, account: CarrierAccount, file: BinaryIO, wish: Wish, form: Form) -> Headers:
    how = wish.how if form is Form.DAYS else replace(wish.how, grain=Grain.MONTH)
    needs = {Form.DAYS: Column.DATE}.get(form, Column.MONTH)
    headers = Headers(how, needs=frozenset() if wish.month is not None else frozenset({needs}))
    layout = Layout(headers.read, WIDTHS, max_bytes=MAX_BYTES, max_rows=_MAX_ROWS, patient=True)
    reader = Reader(how, headers, month=wish.month, kept=bounds.days_kept(clock.now()))
    rows = read_rows(file, layout)
    lines, dates = Lines(session, account.id or 0), _Dates(account, form)
    batches.begin(session)
    file_stage.begin(session, form)
    for piece in _pieces(rows):
        told: list[tuple[Any, ...]] = []
        notes: list[Note] = []
        for row in piece:
            entry = reader.read(row)
            if isinstance(entry, str):
                notes.append(Note(row.line, "error", entry))
                continue
            found = _told(entry, lines, dates)
            if isinstance(found, str):
                notes.append(Note(row.line, "error", found))
            else:
                told.append(found)
        batches.copy(session, file_stage.COPIES[form], told)
        batches.note(session, notes)
    return headers


class _Dates:
    """Of which cycle a month is, and by how much a day begins before UTC's; each is worked out once."""

    def __init__(self, account: CarrierAccount, form: Form) -> None:
        self.form = form
        self.now = clock.now()
        self._account = account
        self._today = self.now.astimezone(ZoneInfo(account.billing_tz)).date()
        self._offsets: dict[date, int] = {}
        self._cycles: dict[date, cycles.Cycle | str] = {}

    def offset(self, day: date) -> int:
        """Return the minutes by which a day of the account's figures begins before UTC's."""
        if day not in self._offsets:
            away = datetime.combine(day, time(), ZoneInfo(self._account.usage_tz)).utcoffset()
            self._offsets[day] = round(away.total_seconds() / 60) if away is not None else 0
        return self._offsets[day]

    def cycle(self, month: date) -> cycles.Cycle | str:
        """Return the cycle that begins in a month, or why it can have no figure yet."""
        if month not in self._cycles:
            found = cycles.of_day(cycles.last_of_month(month), self._account.cycle_anchor_day)
            too_soon = found.end > self._today if self.form is Form.BILL else found.start > self._today
            self._cycles[month] = f"{month:%Y-%m}: its cycle is not over yet" if too_soon else found
            if too_soon and self.form is not Form.BILL:
                self._cycles[month] = f"{month:%Y-%m}: its cycle has not begun yet"
        return self._cycles[month]

    def is_over(self, cycle: cycles.Cycle) -> bool:
        """Say whether a cycle has ended."""
        return cycle.end <= self._today


def _told(entry: Entry, lines: Lines, dates: _Dates) -> tuple[Any, ...] | str:
    sim_id = lines.id_of(entry.key)
    if sim_id is None:
        return f"{entry.key.by.value}: the account has no such SIM"
    assert entry.day is not None
    if dates.form is Form.DAYS:
        offset = dates.offset(entry.day)
        return (
            entry.line, sim_id, entry.day, entry.total, entry.up, entry.down, entry.roaming, entry.sessions, offset
        )  # fmt: skip
    cycle = dates.cycle(entry.day)
    if isinstance(cycle, str):
        return cycle
    if dates.form is Form.BILL:
        return entry.line, sim_id, cycle.start, entry.total, entry.yen
    return entry.line, sim_id, dates.now, cycle.start, entry.total, entry.sessions, dates.is_over(cycle)


def _pieces(rows: Iterable[Row[Column]]) -> Iterator[list[Row[Column]]]:
    source = iter(rows)
    while piece := list(islice(source, _PIECE)):
        yield piece
