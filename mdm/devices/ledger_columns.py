"""The columns of the ledger file (台帳): their headers in Japanese and English, widths, and the words for states.

Pure; knows nothing of CSV and nothing of the database.
"""

import difflib
from enum import StrEnum

from mdm.csvfile import folded, shown
from mdm.devices.models import LedgerState
from mdm.errors import Malformed


class Column(StrEnum):
    """A column of the ledger file, by its English header."""

    CONTROL_NUMBER = "control_number"
    SERIAL = "serial"
    PLATFORM = "platform"
    MODEL = "model"
    IMEI = "imei"
    ICCID = "iccid"
    SCHOOL_CODE = "school_code"
    SCHOOL_NAME = "school_name"
    YEAR = "year"
    CLASS = "class"
    USER_ID = "user_id"
    NAME = "name"
    LEASE_CONTRACT = "lease_contract"
    STATE = "state"


JAPANESE: dict[Column, str] = {
    Column.CONTROL_NUMBER: "管理番号",
    Column.SERIAL: "シリアル番号",
    Column.PLATFORM: "プラットフォーム",
    Column.MODEL: "機種",
    Column.IMEI: "IMEI",
    Column.ICCID: "ICCID",
    Column.SCHOOL_CODE: "学校コード",
    Column.SCHOOL_NAME: "学校名",
    Column.YEAR: "学年",
    Column.CLASS: "組",
    Column.USER_ID: "利用者ID",
    Column.NAME: "氏名",
    Column.LEASE_CONTRACT: "リース契約",
    Column.STATE: "状態",
}

_ALIASES: dict[str, Column] = {
    "タブレット管理番号": Column.CONTROL_NUMBER,
    "シリアル": Column.SERIAL,
    "製造番号": Column.SERIAL,
    "serialnumber": Column.SERIAL,
    "モデル": Column.MODEL,
    "school": Column.SCHOOL_CODE,
    "学級": Column.CLASS,
    "クラス": Column.CLASS,
    "userid": Column.USER_ID,
    "利用者番号": Column.USER_ID,
    "名前": Column.NAME,
    "契約": Column.LEASE_CONTRACT,
    "契約番号": Column.LEASE_CONTRACT,
}

REQUIRED = (Column.CONTROL_NUMBER, Column.SERIAL, Column.SCHOOL_CODE)
"""A file without one of these is refused; any other column may be left out, and then stays as it is in the ledger."""

OF_THE_HOLDER = (Column.YEAR, Column.CLASS, Column.NAME)
"""These describe the holder, so they need the column that says who that is."""

WIDTHS: dict[Column, int] = {
    Column.CONTROL_NUMBER: 32,
    Column.SERIAL: 32,
    Column.PLATFORM: 16,
    Column.MODEL: 64,
    Column.IMEI: 32,
    Column.ICCID: 40,
    Column.SCHOOL_CODE: 32,
    Column.SCHOOL_NAME: 100,
    Column.YEAR: 8,
    Column.CLASS: 32,
    Column.USER_ID: 64,
    Column.NAME: 100,
    Column.LEASE_CONTRACT: 64,
    Column.STATE: 16,
}
"""Characters that a cell may hold, before it is checked any further."""

AS_WRITTEN = frozenset([Column.NAME, Column.SCHOOL_NAME])
"""Names keep the very characters they were written with: NFKC would change 神 (U+FA19) and its kin."""

ADDED_TO_BAD_ROWS = ("error_line", "error_reason")
"""Headers of the two columns that a file of bad rows has beside those of the file it came from."""

STATE_WORDS: dict[str, LedgerState] = {
    "在庫": LedgerState.STOCK,
    "予備": LedgerState.STOCK,
    "貸与": LedgerState.ISSUED,
    "貸与中": LedgerState.ISSUED,
    "配布済": LedgerState.ISSUED,
    "紛失": LedgerState.LOST,
    "盗難": LedgerState.LOST,
    "修理": LedgerState.REPAIR,
    "修理中": LedgerState.REPAIR,
    "返却": LedgerState.RETURNED,
    "返却済": LedgerState.RETURNED,
    "廃止": LedgerState.RETIRED,
    "廃棄": LedgerState.RETIRED,
} | {state.value: state for state in LedgerState}


_BY_HEADER: dict[str, Column] = (
    {folded(column.value): column for column in Column}
    | {folded(header): column for column, header in JAPANESE.items()}
    | {folded(header): column for header, column in _ALIASES.items()}
)


def read_headers(cells: list[str]) -> list[Column | None]:
    """Return the column under each header cell, empty ones at the end left out; `Malformed` says which one is wrong.

    None stands for what we add ourselves to bad rows, so that the mended file can be imported as it is.
    """
    while cells and not cells[-1].strip():
        cells = cells[:-1]
    columns: list[Column | None] = []
    for place, cell in enumerate(cells, start=1):
        if cell.strip() in ADDED_TO_BAD_ROWS:
            columns.append(None)
            continue
        column = _BY_HEADER.get(folded(cell))
        if column is None:
            raise Malformed(f"column {place} has the unknown header {shown(cell)}{_nearest(cell)}")
        if column in columns:
            raise Malformed(f"column {place} repeats the header {column.value} ({JAPANESE[column]})")
        columns.append(column)
    _refuse_missing(columns)
    return columns


def _refuse_missing(columns: list[Column | None]) -> None:
    for column in REQUIRED:
        if column not in columns:
            raise Malformed(f"the column {column.value} ({JAPANESE[column]}) is missing")
    if Column.USER_ID not in columns:
        for column in OF_THE_HOLDER:
            if column in columns:
                raise Malformed(f"the column {column.value} ({JAPANESE[column]}) needs the column user_id (利用者ID)")


def _nearest(cell: str) -> str:
    near = difflib.get_close_matches(folded(cell), list(_BY_HEADER), n=1, cutoff=0.5)
    if not near:
        return ""
    column = _BY_HEADER[near[0]]
    return f"; nearest is {column.value} ({JAPANESE[column]})"
