"""The columns of a file of usage or of a bill: what portals call them, in which unit and form. Pure.

A unit is never guessed: the header says it, or the cell, or whoever brings the file, once for the account. Columns that
are not known are passed over: a portal's export has dozens.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from mdm.csvfile import folded
from mdm.errors import Invalid, Malformed


class Column(StrEnum):
    """A column, by its English header."""

    ICCID = "iccid"
    CARRIER_SIM_ID = "carrier_sim_id"
    MSISDN = "msisdn"
    IMSI = "imsi"
    DATE = "date"
    MONTH = "month"
    TOTAL = "total"
    UP = "up"
    DOWN = "down"
    ROAMING = "roaming"
    SESSIONS = "sessions"
    YEN = "yen"


class Grain(StrEnum):
    """Of what a line of a file speaks."""

    DAY = "day"
    MONTH = "month"
    """Of a cycle as a whole, or so far: the month in which it begins."""


class Dates(StrEnum):
    """The order of a date's parts; the year first is what Japanese portals write."""

    YMD = "ymd"
    MDY = "mdy"
    DMY = "dmy"


NAMES: Final = (Column.ICCID, Column.CARRIER_SIM_ID, Column.MSISDN, Column.IMSI)
"""By what a line of a file may name a SIM; the first that a file has is the one."""
BYTES: Final = (Column.TOTAL, Column.UP, Column.DOWN, Column.ROAMING)
UNITS: Final[dict[str, int]] = {"bytes": 0, "byte": 0, "b": 0, "kb": 1, "mb": 2, "gb": 3, "tb": 4}
"""Each with the power of the base that it stands for; KiB and the like are of base 1024 whatever else is said."""
_BINARY: Final[dict[str, int]] = {"kib": 1, "mib": 2, "gib": 3, "tib": 4}
WIDTHS: Final[dict[Column, int]] = dict.fromkeys(Column, 40) | {Column.CARRIER_SIM_ID: 64}

_ALIASES: Final[dict[str, Column]] = {
    "SIM番号": Column.ICCID,
    "SIMカード番号": Column.ICCID,
    "SIM製造番号": Column.ICCID,
    "ICC ID": Column.ICCID,
    "回線ID": Column.CARRIER_SIM_ID,
    "SIM ID": Column.CARRIER_SIM_ID,
    "電話番号": Column.MSISDN,
    "回線番号": Column.MSISDN,
    "MSISDN番号": Column.MSISDN,
    "phone number": Column.MSISDN,
    "日付": Column.DATE,
    "利用日": Column.DATE,
    "通信日": Column.DATE,
    "年月日": Column.DATE,
    "usage date": Column.DATE,
    "day": Column.DATE,
    "月": Column.MONTH,
    "年月": Column.MONTH,
    "利用月": Column.MONTH,
    "利用年月": Column.MONTH,
    "請求月": Column.MONTH,
    "対象月": Column.MONTH,
    "通信量": Column.TOTAL,
    "データ通信量": Column.TOTAL,
    "データ使用量": Column.TOTAL,
    "利用量": Column.TOTAL,
    "使用量": Column.TOTAL,
    "合計通信量": Column.TOTAL,
    "合計": Column.TOTAL,
    "usage": Column.TOTAL,
    "bytes": Column.TOTAL,
    "byte": Column.TOTAL,
    "バイト": Column.TOTAL,
    "bytes total": Column.TOTAL,
    "bytes up": Column.UP,
    "bytes down": Column.DOWN,
    "bytes roaming": Column.ROAMING,
    "data usage": Column.TOTAL,
    "total usage": Column.TOTAL,
    "data total": Column.TOTAL,
    "上り": Column.UP,
    "上り通信量": Column.UP,
    "アップロード": Column.UP,
    "upload": Column.UP,
    "data upload": Column.UP,
    "下り": Column.DOWN,
    "下り通信量": Column.DOWN,
    "ダウンロード": Column.DOWN,
    "download": Column.DOWN,
    "data download": Column.DOWN,
    "ローミング": Column.ROAMING,
    "国際ローミング": Column.ROAMING,
    "セッション数": Column.SESSIONS,
    "接続回数": Column.SESSIONS,
    "請求額": Column.YEN,
    "請求金額": Column.YEN,
    "金額": Column.YEN,
    "料金": Column.YEN,
    "amount": Column.YEN,
}
_BY_HEADER: Final[dict[str, Column]] = {folded(name): column for name, column in _ALIASES.items()} | {
    column.value: column for column in Column
}
_WITH_UNIT: Final = re.compile(
    r"(?P<name>.+?)[\s_]*[(\[【]?\s*(?P<unit>bytes?|[KMGT]i?B|B|バイト)\s*[)\]】]?", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Reading:
    """How an account's files are read; kept with the account, and put together with what is said this time."""

    columns: dict[str, str] = field(default_factory=dict)
    """Header to column, for headers that are not known."""
    unit: str | None = None
    base: int = 1000
    """How many of one unit are one of the next: 1000 or 1024, as the carrier counts."""
    dates: Dates = Dates.YMD
    grain: Grain = Grain.DAY

    def kept(self) -> dict[str, Any]:
        """Return it as the account keeps it."""
        return {
            "columns": self.columns,
            "unit": self.unit,
            "base": self.base,
            "dates": self.dates.value,
            "grain": self.grain.value,
        }


def reading(kept: Mapping[str, Any], **said: Any) -> Reading:
    """Return how files are read: what is said now (None: nothing) before what is kept. `Invalid` names the faults."""
    both = {**kept, **{name: value for name, value in said.items() if value is not None and name != "columns"}}
    both["columns"] = {**(kept.get("columns") or {}), **(said.get("columns") or {})}
    errors = [{"pointer": f"/{name}", "detail": fault} for name, fault in _faults(both).items() if fault]
    if errors:
        raise Invalid("the way to read files of usage is wrong; see errors", errors=errors)
    unit = both.get("unit")
    return Reading(
        dict(both["columns"]),
        None if unit is None else str(unit).lower(),
        int(both.get("base", 1000)),
        Dates(both.get("dates", "ymd")),
        Grain(both.get("grain", "day")),
    )


def _faults(both: Mapping[str, Any]) -> dict[str, str | None]:
    columns, unit = both["columns"], both.get("unit")
    known = [column.value for column in Column]
    faults: dict[str, str | None] = dict.fromkeys(both.keys() - _KEYS, "is not known")
    for header, column in columns.items():
        if column not in known or not isinstance(header, str) or not 1 <= len(header) <= 100:
            faults[f"columns/{header[:64]}"] = f"no column; one of {', '.join(known)}"
    if len(columns) > len(known) * 4:
        faults["columns"] = "too many headers"
    if unit is not None and str(unit).lower() not in UNITS:
        faults["unit"] = "must be bytes, kb, mb, gb or tb"
    if both.get("base", 1000) not in (1000, 1024):
        faults["base"] = "must be 1000 or 1024"
    if both.get("dates", "ymd") not in list(Dates):
        faults["dates"] = "must be ymd, mdy or dmy"
    if both.get("grain", "day") not in list(Grain):
        faults["grain"] = "must be day or month"
    return faults


_KEYS: Final = frozenset({"columns", "unit", "base", "dates", "grain"})


class Headers:
    """Reads the header of one file. Keeps which columns are in it, how many bytes a unit is, what was passed over."""

    def __init__(self, how: Reading, *, needs: frozenset[Column]) -> None:
        self._how = how
        self._needs = needs
        self._mapping = {folded(header): Column(column) for header, column in how.columns.items()}
        self.name = Column.ICCID
        self.columns: tuple[Column, ...] = ()
        self.bytes_in: dict[Column, int | None] = {}
        """None where only the cells can say."""
        self.ignored: list[str] = []

    def read(self, cells: list[str]) -> list[Column | None]:
        """Return the column under each header cell; `Malformed` where one is there twice or what is needed is not."""
        while cells and not cells[-1].strip():
            cells = cells[:-1]
        said = {self._mapping[name] for cell in cells if (name := folded(cell)) in self._mapping}
        columns: list[Column | None] = []
        for place, cell in enumerate(cells, start=1):
            column, unit = self._column(cell, said)
            if column is not None and column in columns:
                raise Malformed(f"column {place} is a second {column.value}; map only one of them")
            if column in BYTES:
                self.bytes_in[column] = unit if unit is not None else self._usual
            columns.append(column)
        self.columns = tuple(column for column in columns if column is not None)
        self.ignored = [
            cell.strip() for cell, column in zip(cells, columns, strict=True) if column is None and cell.strip()
        ]
        self._check()
        return columns

    @property
    def _usual(self) -> int | None:
        return None if self._how.unit is None else bytes_in(self._how.unit, self._how.base)

    def _column(self, cell: str, said: set[Column]) -> tuple[Column | None, int | None]:
        name = folded(cell)
        whole = self._mapping.get(name) or _BY_HEADER.get(name)
        with_unit = _WITH_UNIT.fullmatch(unicodedata.normalize("NFKC", cell.strip()))
        unit = None if with_unit is None else bytes_in(with_unit["unit"], self._how.base)
        unit = 1 if name.startswith(("byte", "バイト")) else unit
        if whole is None and with_unit is not None:
            whole = _BY_HEADER.get(folded(with_unit["name"]))
            whole = whole if whole in BYTES else None
        if name not in self._mapping and whole in said:
            return None, None
        return whole, unit

    def _check(self) -> None:
        names = [column for column in NAMES if column in self.columns]
        if not names:
            raise Malformed("no column names the SIM; map one to iccid, carrier_sim_id, msisdn or imsi")
        self.name = names[0]
        if missing := sorted(self._needs - set(self.columns)):
            raise Malformed(f"no column is the {missing[0]}; map the one that is, such as 'HEADER:{missing[0]}'")
        both = {Column.UP, Column.DOWN} <= set(self.columns)
        if Column.TOTAL not in self.columns and not both and Column.YEN not in self.columns:
            raise Malformed("no column is the total; map the one that is, or one to up and one to down")


def bytes_in(unit: str, base: int) -> int | None:
    """Return how many bytes one of a unit is, None for a word that is no unit."""
    word = unit.casefold()
    if word == "バイト":
        return 1
    if word in _BINARY:
        return 1 << 10 * _BINARY[word]
    return int(base ** UNITS[word]) if word in UNITS else None
