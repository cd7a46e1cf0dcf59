"""Write the report of months as rows of a file. Pure; what makes a file of them is `mdm.api`'s."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Final

from mdm.cellular.reports.monthly import Month
from mdm.csvfile import csv_line

_COLUMNS: Final = {
    "month": "年月",
    "school_code": "学校コード",
    "school_name": "学校名",
    "lines": "回線数",
    "used_lines": "利用回線数",
    "bytes_total": "通信量(バイト)",
    "late_bytes": "締め後の通信量(バイト)",
    "allowance_bytes": "契約容量(バイト)",
    "billed_lines": "請求済回線数",
    "unpriced_lines": "料金不明回線数",
    "billed_yen": "請求額(円)",
    "plan_yen": "基本料(円)",
    "overage_yen": "超過料(円)",
    "extra_yen": "追加容量(円)",
    "total_yen": "合計(円)",
}
"""What stands in the file: English name and Japanese."""


def report_rows(months: Iterable[Month], *, english: bool) -> Iterator[Sequence[str | int | Decimal | None]]:
    """Yield the header and the rows."""
    yield list(_COLUMNS) if english else list(_COLUMNS.values())
    for month in months:
        yield [getattr(month, name) for name in _COLUMNS]


def csv(rows: Iterable[Sequence[str | int | Decimal | None]]) -> str:
    """Return rows as CSV whose cells no spreadsheet executes."""
    return "".join(csv_line("" if cell is None else str(cell) for cell in row) for row in rows)
