"""Reads what a handheld scanner writes: one control number a line, or a CSV with a column of them. Knows no tablet."""

import csv
import io
from typing import Final

from mdm import csvfile
from mdm.checks.evidence import MAX_LINES, Given
from mdm.errors import Malformed

MAX_BYTES: Final = 256 * 1024
_HEADERS: Final = frozenset({"control_number", "control number", "管理番号", "端末管理番号"})
_SEPARATORS: Final = ",\t;"
_LONGEST_CELL: Final = 200


def read(content: bytes, *, most: int = MAX_LINES) -> list[Given]:
    """Return the numbers with their lines, `most` at most; empty lines are passed over. UTF-8 or CP932.

    With a header, the column that it names; without one, the first. `Malformed` for what is no such file.
    """
    if len(content) > MAX_BYTES:
        raise Malformed(f"the list is larger than {MAX_BYTES // 1024} KiB; send it in parts")
    file = io.BytesIO(content)
    if not content:
        raise Malformed("the list is empty")
    decoded = content.decode(csvfile.encoding_of(file))
    first = next((line for line in decoded.splitlines() if line.strip()), "")
    rows = csv.reader(io.StringIO(decoded, newline=""), delimiter=_separator(first), strict=True)
    given: list[Given] = []
    column: int | None = None
    try:
        for cells in rows:
            if not any(cell.strip() for cell in cells):
                continue
            if column is None:
                column = _column(cells)
                if column is not None:
                    continue
                column = 0
            cell = cells[column] if column < len(cells) else ""
            # Of a cell that is far too long the rest would not make a number of it.
            given.append(Given(rows.line_num, csvfile.tidy(cell[:_LONGEST_CELL])))
            if len(given) > most:
                raise Malformed(f"the list has more than {most:,} lines; send it in parts")
    except csv.Error:
        raise Malformed(f"line {rows.line_num}: a quote is not closed, or is misplaced") from None
    if not given:
        raise Malformed("the list has no control number in it")
    return given


def _separator(line: str) -> str:
    return next((each for each in _SEPARATORS if each in line), ",")


def _column(cells: list[str]) -> int | None:
    """Return which column a header names; None when this is no header."""
    return next((place for place, cell in enumerate(cells) if cell.strip().casefold() in _HEADERS), None)
