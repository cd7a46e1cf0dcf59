"""Turn a row of a SIM file into a typed wish, or into what is wrong with it by column. Pure; repeats no number.

A column that the file lacks, and an empty cell, leave what is known as it is: a file takes nothing away.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from mdm.cellular.batches import Note
from mdm.cellular.models import SimStatus
from mdm.cellular.sim_columns import STATUS_WORDS, Column
from mdm.csvfile import Row
from mdm.devices import identifiers
from mdm.devices.ledger_entry import NOTICES
from mdm.errors import Invalid

T = TypeVar("T")
_FORMULA: Final = ("=", "+", "-", "@")
_HOME_NETWORKS: Final = ("440", "441")


@dataclass(frozen=True, slots=True)
class Entry:
    """What one line says of one SIM; None leaves a field as it is."""

    line: int
    core: str
    full: str
    eid: str | None
    imsi: str | None
    msisdn: str | None
    carrier_sim_id: str | None
    plan: str | None
    pool: str | None
    status: SimStatus | None
    carrier_status: str | None
    control_number: str | None

    def __repr__(self) -> str:
        """Leave every number out."""
        return f"Entry(line={self.line})"


class _Reader:
    def __init__(self, row: Row[Column]) -> None:
        self._cells = row.cells
        self.problems: list[str] = []

    def read(self, column: Column, reader: Callable[[str], T]) -> T | None:
        """Return what the reader makes of a cell; None for an empty or absent one, and with the problem noted."""
        cell = self._cells.get(column)
        if not cell:
            return None
        try:
            return reader(cell)
        except Invalid as refusal:
            self.problems.append(f"{column.value}: {refusal.detail}")
            return None

    def require(self, column: Column) -> None:
        if not self._cells.get(column):
            self.problems.append(f"{column.value}: must not be empty")


def read_entry(row: Row[Column]) -> tuple[Entry | None, list[Note]]:
    """Return what a row wishes, if it is right, and what there is to say of it."""
    if row.fault:
        return None, [Note(row.line, "error", row.fault)]
    cells = _Reader(row)
    cells.require(Column.ICCID)
    iccid = cells.read(Column.ICCID, identifiers.iccid)
    imsi = cells.read(Column.IMSI, identifiers.imsi)
    entry = Entry(
        line=row.line,
        core=iccid.key if iccid else "",
        full=iccid.digits if iccid else "",
        eid=cells.read(Column.EID, identifiers.eid),
        imsi=imsi,
        msisdn=cells.read(Column.MSISDN, identifiers.msisdn),
        carrier_sim_id=cells.read(Column.CARRIER_SIM_ID, _plain),
        plan=cells.read(Column.PLAN, _plain),
        pool=cells.read(Column.POOL, _plain),
        status=cells.read(Column.STATUS, lambda word: STATUS_WORDS.get(word.casefold(), SimStatus.UNKNOWN)),
        carrier_status=cells.read(Column.STATUS, _plain),
        control_number=cells.read(Column.CONTROL_NUMBER, _control_number),
    )
    if cells.problems:
        return None, [Note(row.line, "error", "; ".join(cells.problems))]
    notes = []
    if iccid is not None and iccid.doubt is not None:
        notes.append(Note(row.line, *NOTICES[iccid.doubt]))
    if imsi is not None and not imsi.startswith(_HOME_NETWORKS):
        notes.append(Note(row.line, "information", "imsi: not of a Japanese network"))
    if entry.status is SimStatus.UNKNOWN:
        notes.append(Note(row.line, "information", "status: the carrier's word is kept, but what it means is unknown"))
    return entry, notes


def _plain(text: str) -> str:
    """Read a word of the carrier's own; what a spreadsheet would run is refused, for it will stand in our exports."""
    if text.startswith(_FORMULA):
        raise Invalid("begins like a formula (=, +, - or @)")
    return text


def _control_number(text: str) -> str:
    return identifiers.control_number(_plain(text))
