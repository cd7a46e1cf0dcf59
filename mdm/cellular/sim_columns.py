"""The columns of a SIM file: their headers in Japanese and English, what portals call them, and the words for states.

Pure; knows nothing of CSV and nothing of the database. Columns that it does not know are passed over: a portal's export
has dozens.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from mdm.cellular.models import SimStatus
from mdm.csvfile import folded
from mdm.devices.ledger_columns import ADDED_TO_BAD_ROWS
from mdm.errors import Invalid, Malformed


class Column(StrEnum):
    """A column of the SIM file, by its English header."""

    ICCID = "iccid"
    EID = "eid"
    IMSI = "imsi"
    MSISDN = "msisdn"
    CARRIER_SIM_ID = "carrier_sim_id"
    PLAN = "plan"
    POOL = "pool"
    STATUS = "status"
    CONTROL_NUMBER = "control_number"


JAPANESE: Final[dict[Column, str]] = {
    Column.ICCID: "ICCID",
    Column.EID: "EID",
    Column.IMSI: "IMSI",
    Column.MSISDN: "電話番号",
    Column.CARRIER_SIM_ID: "回線ID",
    Column.PLAN: "プラン",
    Column.POOL: "シェアグループ",
    Column.STATUS: "回線状態",
    Column.CONTROL_NUMBER: "管理番号",
}
_ALIASES: Final[dict[str, Column]] = {
    "SIM番号": Column.ICCID,
    "SIMカード番号": Column.ICCID,
    "SIM製造番号": Column.ICCID,
    "ICC ID": Column.ICCID,
    "MSISDN番号": Column.MSISDN,
    "回線番号": Column.MSISDN,
    "phone number": Column.MSISDN,
    "SIM ID": Column.CARRIER_SIM_ID,
    "料金プラン": Column.PLAN,
    "プラン名": Column.PLAN,
    "契約プラン": Column.PLAN,
    "rate plan": Column.PLAN,
    "容量シェア": Column.POOL,
    "グループ": Column.POOL,
    "グループ名": Column.POOL,
    "状態": Column.STATUS,
    "ステータス": Column.STATUS,
    "利用状態": Column.STATUS,
    "SIM status": Column.STATUS,
    "タブレット管理番号": Column.CONTROL_NUMBER,
}
WIDTHS: Final[dict[Column, int]] = {
    Column.ICCID: 40,
    Column.EID: 48,
    Column.IMSI: 32,
    Column.MSISDN: 32,
    Column.CARRIER_SIM_ID: 64,
    Column.PLAN: 64,
    Column.POOL: 64,
    Column.STATUS: 40,
    Column.CONTROL_NUMBER: 32,
}
"""Characters that a cell may hold, before it is checked any further."""

STATUS_WORDS: Final[dict[str, SimStatus]] = {
    "未使用": SimStatus.STOCK,
    "未開通": SimStatus.STOCK,
    "在庫": SimStatus.STOCK,
    "準備完了": SimStatus.STOCK,
    "ready": SimStatus.STOCK,
    "inventory": SimStatus.STOCK,
    "shipped": SimStatus.STOCK,
    "test_ready": SimStatus.STOCK,
    "activation_ready": SimStatus.STOCK,
    "開通": SimStatus.ACTIVE,
    "開通中": SimStatus.ACTIVE,
    "開通済": SimStatus.ACTIVE,
    "利用中": SimStatus.ACTIVE,
    "使用中": SimStatus.ACTIVE,
    "activated": SimStatus.ACTIVE,
    "enabled": SimStatus.ACTIVE,
    "休止": SimStatus.STANDBY,
    "休止中": SimStatus.STANDBY,
    "sleeping": SimStatus.STANDBY,
    "中断": SimStatus.SUSPENDED,
    "中断中": SimStatus.SUSPENDED,
    "利用中断": SimStatus.SUSPENDED,
    "停止": SimStatus.SUSPENDED,
    "利用停止": SimStatus.SUSPENDED,
    "suspend": SimStatus.SUSPENDED,
    "deactivated": SimStatus.SUSPENDED,
    "disabled": SimStatus.SUSPENDED,
    "inactive": SimStatus.SUSPENDED,
    "解約": SimStatus.TERMINATED,
    "解約済": SimStatus.TERMINATED,
    "廃止": SimStatus.TERMINATED,
    "retired": SimStatus.TERMINATED,
    "purged": SimStatus.TERMINATED,
    "delete": SimStatus.TERMINATED,
} | {status.value: status for status in SimStatus}
"""Read by `casefold`. What is in no list is kept as the carrier's own word, its state unknown."""

_BY_HEADER: Final[dict[str, Column]] = (
    {folded(column.value): column for column in Column}
    | {folded(header): column for column, header in JAPANESE.items()}
    | {folded(header): column for header, column in _ALIASES.items()}
)


class Headers:
    """Reads the header of one file, by what an account's headers mean and then by the words of this module.

    Keeps which columns are in the file and which were passed over.
    """

    def __init__(self, mapping: Mapping[str, str]) -> None:
        self._mapping = {folded(header): Column(column) for header, column in mapping.items()}
        self.columns: tuple[Column, ...] = ()
        self.ignored: list[str] = []

    def read(self, cells: list[str]) -> list[Column | None]:
        """Return the column under each header cell; `Malformed` where one is meant twice or the ICCID is missing."""
        while cells and not cells[-1].strip():
            cells = cells[:-1]
        # What was said about a header of this file counts; for the others the words are known.
        said = {self._mapping[name] for cell in cells if (name := folded(cell)) in self._mapping}
        columns = [self._column(cell, said) for cell in cells]
        for place, column in enumerate(columns, start=1):
            if column is not None and column in columns[: place - 1]:
                raise Malformed(f"column {place} is a second {column.value} ({JAPANESE[column]}); map only one of them")
        if Column.ICCID not in columns:
            raise Malformed(f"no column is the ICCID; map the one that is, or name it {JAPANESE[Column.ICCID]}")
        self.columns = tuple(column for column in columns if column is not None)
        self.ignored = [
            cell.strip()
            for cell, column in zip(cells, columns, strict=True)
            if column is None and cell.strip() and cell.strip() not in ADDED_TO_BAD_ROWS
        ]
        return columns

    def _column(self, cell: str, said: set[Column]) -> Column | None:
        name = folded(cell)
        if name in self._mapping:
            return self._mapping[name]
        known = _BY_HEADER.get(name)
        return None if known in said else known


def checked_mapping(mapping: Mapping[str, str]) -> dict[str, str]:
    """Return what headers mean, fit to be kept; `Invalid` names what is no column or is meant twice."""
    errors = []
    seen: dict[str, str] = {}
    for header, column in mapping.items():
        if column not in [each.value for each in Column]:
            errors.append({"pointer": f"/mapping/{header[:64]}", "detail": f"no column; one of {', '.join(Column)}"})
        elif column in seen:
            errors.append({"pointer": f"/mapping/{header[:64]}", "detail": f"{column} is mapped twice"})
        seen[column] = header
    if len(mapping) > len(Column) * 4 or any(not 1 <= len(header) <= 100 for header in mapping):
        errors.append({"pointer": "/mapping", "detail": "too many headers, or one longer than 100 characters"})
    if errors:
        raise Invalid("the mapping is wrong; see errors", errors=errors)
    return dict(mapping)
