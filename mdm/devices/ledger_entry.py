"""Turn a row of the ledger file into typed wishes, or into faults by column. Pure: does not know what the ledger holds.

A column that the file lacks leaves its field as it is; an empty cell clears it, where it can be cleared.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from mdm.devices import identifiers
from mdm.devices.csvfile import Row
from mdm.devices.identifiers import Doubt
from mdm.devices.ledger_columns import STATE_WORDS, Column
from mdm.devices.models import LedgerState
from mdm.errors import Invalid
from mdm.platform import Platform

_YEAR = re.compile(r"(\d{1,2})年?生?")
_HIGHEST_YEAR = 12
_PLATFORM_WORDS = {"ipad": Platform.APPLE, "ipados": Platform.APPLE, "ios": Platform.APPLE} | {
    platform.value: platform for platform in Platform
}
T = TypeVar("T")


class Leave(Enum):
    """The wish to leave a field as it is."""

    LEAVE = "leave"


LEAVE = Leave.LEAVE


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one line of the file; never repeats a name, an ICCID or an IMEI."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What is odd about one line that is taken all the same: `warning` or `information`."""

    line: int
    level: str
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What one line wishes for one tablet. None clears a field; `LEAVE` leaves it."""

    line: int
    control_number: str
    serial: str
    school_code: str
    school_name: str | Leave
    platform: Platform | Leave
    model: str | Leave
    imei: str | Leave | None
    iccid: str | Leave | None
    lease_contract: str | Leave
    state: LedgerState | Leave
    user_id: str | Leave | None
    class_: tuple[int, str] | Leave | None
    name: str | Leave
    doubt: Doubt | None = None

    def __repr__(self) -> str:
        """Leave everything personal out."""
        return f"Entry(line={self.line}, control_number={self.control_number!r})"


NOTICES: dict[Doubt, tuple[str, str]] = {
    Doubt.CHECK_DIGIT_WRONG: ("warning", "iccid: the check digit is wrong"),
    Doubt.CHECK_DIGIT_UNCLEAR: ("information", "iccid: the check digit of the 20 digits does not fit"),
    Doubt.CHECK_DIGIT_MISSING: ("information", "iccid: 18 digits, the check digit is missing"),
}


class _Reader:
    """Reads the cells of one row and gathers what is wrong with them, so that one look shows all of it."""

    def __init__(self, row: Row) -> None:
        self._cells = row.cells
        self.problems: list[str] = []

    def text(self, column: Column) -> str | Leave:
        return self._cells.get(column, LEAVE)

    def read(self, column: Column, reader: Callable[[str], T], blank: T) -> T:
        """Return what the reader makes of a required cell; `blank` with the problem noted."""
        try:
            return reader(self._cells[column])
        except Invalid as refusal:
            self.problems.append(refusal.detail if self._cells[column] else f"{column.value}: must not be empty")
            return blank

    def cleared(self, column: Column, reader: Callable[[str], T]) -> T | Leave | None:
        """Return what the reader makes of a cell, None for an empty cell, `LEAVE` for a column that is not there."""
        cell = self._cells.get(column)
        if cell is None:
            return LEAVE
        if not cell:
            return None
        try:
            return reader(cell)
        except Invalid as refusal:
            self.problems.append(f"{column.value}: {refusal.detail}")
            return None

    def kept(self, column: Column, reader: Callable[[str], T]) -> T | Leave:
        """Return the same for a field that cannot be cleared: an empty cell leaves it."""
        value = self.cleared(column, reader)
        return LEAVE if value is None else value


def read_entry(row: Row) -> Entry | Fault:
    """Return what a row wishes for, or one fault that names everything wrong with its cells."""
    if row.fault:
        return Fault(row.line, row.fault)
    cells = _Reader(row)
    iccid = cells.cleared(Column.ICCID, identifiers.iccid)
    imei = cells.cleared(Column.IMEI, lambda text: identifiers.imei(text).digits)
    user_id = cells.cleared(Column.USER_ID, _user_id)
    class_ = _class_of(cells)
    name = cells.text(Column.NAME)
    if user_id is None and (class_ not in (None, LEAVE) or name not in ("", LEAVE)):
        cells.problems.append("name, year and class belong to a holder: the user id is empty")
    entry = Entry(
        line=row.line,
        control_number=cells.read(Column.CONTROL_NUMBER, identifiers.control_number, ""),
        serial=cells.read(Column.SERIAL, identifiers.serial, ""),
        school_code=cells.read(Column.SCHOOL_CODE, _school_code, ""),
        school_name=cells.kept(Column.SCHOOL_NAME, str),
        platform=cells.kept(Column.PLATFORM, _platform),
        model=cells.text(Column.MODEL),
        imei=imei,
        iccid=iccid.digits if isinstance(iccid, identifiers.Iccid) else iccid,
        lease_contract=cells.text(Column.LEASE_CONTRACT),
        state=cells.kept(Column.STATE, _state),
        user_id=user_id,
        class_=class_,
        name=name,
        doubt=iccid.doubt if isinstance(iccid, identifiers.Iccid) else None,
    )
    return Fault(row.line, "; ".join(cells.problems)) if cells.problems else entry


def _class_of(cells: _Reader) -> tuple[int, str] | Leave | None:
    year = cells.cleared(Column.YEAR, _year)
    name = cells.cleared(Column.CLASS, str)
    if year is LEAVE and name is LEAVE:
        return LEAVE
    if isinstance(year, int) and isinstance(name, str):
        return year, name
    if year is None and name is None:
        return None
    cells.problems.append("year and class: both are needed, or neither")
    return None


def _word(text: str, *, what: str, longest: int) -> str:
    if not 1 <= len(text) <= longest or not text.isprintable() or len(text.split()) != 1:
        raise Invalid(f"{what} must be one word of 1 to {longest} printable characters")
    return text


def _school_code(text: str) -> str:
    return _word(text, what="the school code", longest=32)


def _user_id(text: str) -> str:
    return _word(text, what="the user id", longest=64)


def _year(text: str) -> int:
    found = _YEAR.fullmatch(text)
    if found is None or not 1 <= int(found[1]) <= _HIGHEST_YEAR:
        raise Invalid(f"must be a school year from 1 to {_HIGHEST_YEAR}")
    return int(found[1])


def _state(text: str) -> LedgerState:
    state = STATE_WORDS.get(text.casefold())
    if state is None:
        raise Invalid(f"must be one of {', '.join(state.value for state in LedgerState)}, or its Japanese word")
    return state


def _platform(text: str) -> Platform:
    platform = _PLATFORM_WORDS.get(text.casefold())
    if platform is None:
        raise Invalid(f"must be one of {', '.join(platform.value for platform in Platform)}")
    return platform
