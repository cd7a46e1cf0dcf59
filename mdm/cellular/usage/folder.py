"""The drop folder: files that lie under an account's name are imported and put away, each with a report beside it.

`ACCOUNT/*.csv` are files of usage, `ACCOUNT/bills/*.csv` bills; they end in `done` or `failed` of their folder. A file
is touched only when it has been still for a while, for it may be half written. Follows no links.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from sqlalchemy import text
from sqlmodel import Session

from mdm.audit import chain
from mdm.cellular import accounts, batches
from mdm.cellular.models import ImportKind
from mdm.cellular.usage import file_columns, file_import
from mdm.cellular.usage.file_import import Outcome, Wish
from mdm.errors import Conflict

ACTOR: Final = "system:files"
_LOCK: Final = 0x7461_0008
_BILLS: Final = "bills"
_DONE: Final = "done"
_FAILED: Final = "failed"
_REPORTED: Final = 10_000
"""So many lines are named in a report."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file that lies there, and how it looked."""

    path: Path
    account: str
    kind: ImportKind
    size: int
    changed_ns: int


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a file."""

    good: bool
    report: str


def waiting(folder: Path, *, still_s: float) -> list[Found]:
    """Return the files that have been still for so long, the oldest first."""
    before = time.time_ns() - int(still_s * 1e9)
    found = [each for place in _folders(folder) for each in _files(*place) if each.changed_ns <= before]
    return sorted(found, key=lambda each: (each.changed_ns, each.path))


def only_one(session: Session) -> bool:
    """Say whether nobody else takes up files now; if so, it stays that way to the end of the transaction."""
    free: bool = session.execute(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}).scalar_one()
    return free


def take(session: Session, found: Found) -> Result:
    """Import one file, its right lines; `MdmError` for what spoils all of it, `Conflict` where it is still written."""
    account = accounts.find(session, found.account)
    with _open(found) as file:
        how = file_columns.reading(account.usage_mapping)
        outcome = file_import.run(session, account, file, Wish(found.kind, how, skip_bad_rows=True), by=ACTOR)
        if _looks(os.fstat(file.fileno())) != (found.size, found.changed_ns):
            raise Conflict("the file changed while it was read")
    if outcome.applied:
        counts = {name: getattr(outcome, name) for name in _COUNTS}
        chain.record(session, ACTOR, "usage.import", f"carrier:{account.id}", counts | {"kind": found.kind.value})
    good = outcome.known or not outcome.errors or any(getattr(outcome, name) for name in _COUNTS[:-1])
    return Result(good, _report(session, outcome))


def put_away(found: Found, result: Result) -> None:
    """Move a file out of the way and write its report beside it. What is gone already was put away by another."""
    folder = found.path.parent / (_DONE if result.good else _FAILED)
    folder.mkdir(exist_ok=True)
    place = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{found.path.name}"
    try:
        found.path.rename(place)
    except FileNotFoundError:
        return
    place.with_name(f"{place.name}.report.txt").write_text(result.report, encoding="utf-8")


def _folders(folder: Path) -> Iterator[tuple[Path, str, ImportKind]]:
    for place in sorted(folder.iterdir()):
        if place.name.startswith(".") or not _is(place, stat.S_ISDIR):
            continue
        yield place, place.name, ImportKind.USAGE
        if _is(place / _BILLS, stat.S_ISDIR):
            yield place / _BILLS, place.name, ImportKind.BILL


def _files(folder: Path, account: str, kind: ImportKind) -> Iterator[Found]:
    for path in folder.iterdir():
        if path.suffix.lower() != ".csv" or path.name.startswith(".") or not _is(path, stat.S_ISREG):
            continue
        size, changed_ns = _looks(path.lstat())
        yield Found(path, account, kind, size, changed_ns)


def _is(path: Path, what: Callable[[int], bool]) -> bool:
    try:
        return what(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _looks(seen: os.stat_result) -> tuple[int, int]:
    return seen.st_size, seen.st_mtime_ns


def _open(found: Found) -> BinaryIO:
    file = os.fdopen(os.open(found.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")
    if _looks(os.fstat(file.fileno())) != (found.size, found.changed_ns):
        file.close()
        raise Conflict("the file changed since it was looked at")
    return file


_COUNTS: Final = ("new", "changed", "unchanged", "adjusted", "errors")


def _report(session: Session, outcome: Outcome) -> str:
    if outcome.known:
        return "This very file went in before; nothing was done.\n"
    lines = [", ".join(f"{getattr(outcome, name):,} {name}" for name in _COUNTS)]
    if outcome.ignored:
        lines.append(f"Passed over: {', '.join(outcome.ignored)}")
    for level in ("error", "odd"):
        notes = batches.notes(session, level, limit=_REPORTED)
        lines += [f"line {note.line}: {note.level}: {note.reason}" for note in notes]
    return "\n".join([*lines, ""])
