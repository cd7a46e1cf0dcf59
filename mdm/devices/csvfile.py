"""The ledger file as CSV: its layout, and its rows. Knows columns, not tablets: the ledger says what makes sense."""

from collections.abc import Iterator
from typing import BinaryIO, Final, TypeAlias

from mdm import csvfile
from mdm.devices.ledger_columns import AS_WRITTEN, WIDTHS, Column, read_headers

LAYOUT: Final = csvfile.Layout(read_headers=read_headers, widths=WIDTHS, as_written=AS_WRITTEN)
MAX_BYTES: Final = LAYOUT.max_bytes
MAX_ROWS: Final = LAYOUT.max_rows
Row: TypeAlias = csvfile.Row[Column]
"""One line of the ledger file."""


def read_rows(file: BinaryIO) -> Iterator[Row]:
    """Yield the rows of a ledger file, as `mdm.csvfile.read_rows` does."""
    return csvfile.read_rows(file, LAYOUT)


def read_raw(file: BinaryIO) -> Iterator[tuple[int, list[str]]]:
    """Yield every record with its line, as `mdm.csvfile.read_raw` does."""
    return csvfile.read_raw(file, LAYOUT)
