"""Turn a row of a file of usage or of a bill into figures, or into what is wrong with it by column. Pure.

Exact: what is written with a decimal point is counted in whole bytes, the nearest one. Repeats no value.
"""

import re
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from mdm.cellular.carriers.values import By, SimKey
from mdm.cellular.usage import bounds
from mdm.cellular.usage.file_columns import Column, Dates, Grain, Headers, Reading, bytes_in
from mdm.csvfile import Row

_BY: Final = {
    Column.ICCID: By.ICCID,
    Column.CARRIER_SIM_ID: By.CARRIER_ID,
    Column.MSISDN: By.MSISDN,
    Column.IMSI: By.IMSI,
}
_NUMBER: Final = re.compile(
    r"(?P<whole>\d{1,18}|\d{1,3}(?:,\d{3})+)(?:\.(?P<part>\d{1,12}))?\s*(?P<unit>[A-Za-zバイト]*)"
)
_NONE: Final = frozenset({"", "-", "ー", "―", "n/a", "null"})
_TIME: Final = r"(?:[T ]\d{1,2}:\d{2}(?::\d{2})?(?:\.\d+)?(?:Z|[+-]\d{2}:?\d{2})?)?"
_PARTS: Final = re.compile(rf"(\d{{1,4}})[-/.年](\d{{1,2}})[-/.月](\d{{1,4}})日?{_TIME}")
_PACKED: Final = re.compile(r"(\d{4})(\d{2})(\d{2})")
_MONTH: Final = re.compile(r"(\d{4})(?:[-/.年])?(\d{1,2})月?(?:分|度)?")
_YEN: Final = re.compile(r"[¥\\]?\s*(-?\d{1,3}(?:,\d{3})+|-?\d{1,11})(\.\d{1,2})?\s*円?")


@dataclass(frozen=True, slots=True)
class Entry:
    """What one line says; None where it does not say."""

    line: int
    key: SimKey
    day: date | None
    """The day, or the first of the month."""
    total: int | None
    up: int | None
    down: int | None
    roaming: int | None
    sessions: int | None
    yen: Decimal | None


class Reader:
    """Reads the rows of one file, whose header was read. Remembers dates, of which there are few."""

    def __init__(self, how: Reading, headers: Headers, *, month: date | None, kept: tuple[date, date]) -> None:
        self._how = how
        self._headers = headers
        self._month = month
        self._first, self._last = kept
        self._met: dict[str, date | str] = {}
        self._faults: list[str] = []

    def read(self, row: Row[Column]) -> Entry | str:
        """Return what a row says, or what is wrong with it."""
        if row.fault:
            return row.fault
        self._faults = []
        name = self._headers.name
        value = row.cells[name]
        if not value:
            self._faults.append(f"{name.value}: must not be empty")
        total, up, down, roaming = (self._bytes(row, column) for column in _FOUR)
        if total is None and up is not None and down is not None:
            total = up + down
        entry = Entry(
            row.line,
            SimKey(_BY[name], value),
            self._day(row),
            total,
            up,
            down,
            roaming,
            self._sessions(row),
            self._yen(row),
        )
        if total is None and entry.yen is None and not self._faults:
            self._faults.append("total: must not be empty")
        return "; ".join(self._faults) or entry

    def _bytes(self, row: Row[Column], column: Column) -> int | None:
        cell = row.cells.get(column)
        if cell is None or (not cell.isdigit() and cell.casefold() in _NONE):
            return None
        unit = self._headers.bytes_in[column]
        if unit == 1 and cell.isdigit() and cell.isascii() and len(cell) <= 18:
            figure = int(cell)
        else:
            found = self._number(cell, column, unit)
            if found is None:
                return None
            figure = found
        most = bounds.DAY_BYTES if self._how.grain is Grain.DAY else bounds.CYCLE_BYTES
        if figure > most:
            self._faults.append(f"{column.value}: more than a line can use; is the unit right?")
            return None
        return figure

    def _number(self, cell: str, column: Column, unit: int | None) -> int | None:
        match = _NUMBER.fullmatch(cell)
        if match is None:
            self._faults.append(f"{column.value}: {_why_no_number(cell)}")
            return None
        if match["unit"]:
            unit = bytes_in(match["unit"], self._how.base)
        if unit is None:
            what = "has a unit that is not known" if match["unit"] else "nobody says in which unit; give one"
            self._faults.append(f"{column.value}: {what}")
            return None
        number = Decimal(f"{match['whole'].replace(',', '')}.{match['part'] or '0'}")
        return int((number * unit).to_integral_value(ROUND_HALF_UP))

    def _day(self, row: Row[Column]) -> date | None:
        column = Column.DATE if self._how.grain is Grain.DAY else Column.MONTH
        cell = row.cells.get(column)
        if cell is None:
            return self._month
        found = self._met.get(cell)
        if found is None:
            found = self._read_date(cell) if column is Column.DATE else self._read_month(cell)
            if len(self._met) < _REMEMBERED:
                self._met[cell] = found
        if isinstance(found, str):
            self._faults.append(f"{column.value}: {found}")
            return None
        return found

    def _read_date(self, cell: str) -> date | str:
        if packed := _PACKED.fullmatch(cell):
            parts = packed.groups()
        elif written := _PARTS.fullmatch(cell):
            parts = written.groups()
            if len(parts[0]) != 4:
                order = {Dates.MDY: (2, 0, 1), Dates.DMY: (2, 1, 0)}.get(self._how.dates)
                if order is None:
                    return "the year is not first; say in which order (dates)"
                parts = tuple(parts[place] for place in order)
        else:
            return "is no date, such as 2026-11-25" if cell else "must not be empty"
        return self._checked(*(int(part) for part in parts))

    def _read_month(self, cell: str) -> date | str:
        match = _MONTH.fullmatch(cell)
        if match is None:
            return "is no month, such as 2026-11" if cell else "must not be empty"
        return self._checked(int(match[1]), int(match[2]), 1)

    def _checked(self, year: int, month: int, day: int) -> date | str:
        try:
            found = date(year, month, day)
        except ValueError:
            return "there is no such day"
        if found > self._last:
            return "lies in the future"
        return found if found >= self._first else "is longer ago than figures are kept"

    def _sessions(self, row: Row[Column]) -> int | None:
        cell = row.cells.get(Column.SESSIONS, "").replace(",", "")
        if cell.casefold() in _NONE:
            return None
        if cell.isascii() and cell.isdigit() and len(cell) <= 9:
            return int(cell)
        self._faults.append("sessions: is no whole number")
        return None

    def _yen(self, row: Row[Column]) -> Decimal | None:
        cell = row.cells.get(Column.YEN, "")
        if cell.casefold() in _NONE:
            return None
        match = _YEN.fullmatch(cell)
        if match is None:
            self._faults.append("yen: is no amount, such as 980")
            return None
        return Decimal(match[1].replace(",", "") + (match[2] or ""))


_FOUR: Final = (Column.TOTAL, Column.UP, Column.DOWN, Column.ROAMING)
_REMEMBERED: Final = 10_000


def _why_no_number(cell: str) -> str:
    if re.match(r"[-−ー▲△]\s*[\d.]", cell):  # noqa: RUF001 - a minus in all its forms
        return "is negative"
    if cell.startswith(("=", "+", "-", "@")):
        return "begins like a formula (=, +, - or @)"
    if re.fullmatch(r"[\d.]+E[+-]?\d+", cell, re.IGNORECASE):
        return "was rounded by a spreadsheet"
    return "is no number"
