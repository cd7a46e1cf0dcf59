"""Read a ledger file: bytes to rows with line numbers, in UTF-8 or CP932; and write cells that no spreadsheet executes.

Knows columns, not tablets: whether a value makes sense is for the ledger to say. Holds one row at a time.
"""

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from mdm.devices.ledger_columns import AS_WRITTEN, WIDTHS, Column, read_headers
from mdm.errors import Malformed

MAX_BYTES = 64 * 1024 * 1024
MAX_ROWS = 200_000
_CHUNK = 1 << 18

# Spreadsheets run cells that begin so (CWE-1236). Export puts an apostrophe in front, import takes one away again.
_ESCAPE = re.compile(r"'*[=+\-@\t\r]")
_ESCAPED = re.compile(r"'+[=+\-@]")
_BREAKS = re.compile(r"[\t\r\n\v\f\x85\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Row:
    """One record: the line it starts on (1 is the header's), its cells by column, or the fault that spoils it."""

    line: int
    cells: dict[Column, str]
    """Only the columns the file has; an empty string is an empty cell. Empty when there is a fault."""
    fault: str | None = None
    raw: tuple[str, ...] = ()
    """The cells as they stand in the file, to hand back a bad row."""


def encoding_of(file: BinaryIO) -> str:
    """Return `utf-8-sig` or `cp932`, whichever decodes all of the file strictly; `Malformed` names byte and line."""
    head = file.read(4)
    file.seek(0)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Malformed("the file is UTF-16; save it as CSV in UTF-8 or Shift JIS (CP932)")
    utf8 = _first_bad_byte(file, "utf-8")
    if utf8 is None:
        return "utf-8-sig"
    if not head.startswith(codecs.BOM_UTF8):
        cp932 = _first_bad_byte(file, "cp932")
        if cp932 is None:
            return "cp932"
        # The encoding that got further is the one that was meant.
        offset, line, name = max((*utf8, "UTF-8"), (*cp932, "CP932"))
    else:
        offset, line, name = *utf8, "UTF-8"
    raise Malformed(f"the file is neither UTF-8 nor CP932: byte {offset} on line {line} is not {name}")


def _first_bad_byte(file: BinaryIO, encoding: str) -> tuple[int, int] | None:
    """Return offset (from 0) and line (from 1) of the first byte that does not decode, or None."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    file.seek(0)
    done, line = 0, 1
    try:
        while True:
            chunk = file.read(_CHUNK)
            # What the decoder holds back is counted with the next chunk, as its error positions are.
            held = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return done - held + error.start, line + error.object[: error.start].count(b"\n")
            if not chunk:
                return None
            kept = len(decoder.getstate()[0])
            line += chunk[: len(chunk) - kept].count(b"\n")
            done += len(chunk)
    finally:
        file.seek(0)


def read_rows(file: BinaryIO) -> Iterator[Row]:
    """Yield the rows of a ledger file, the header consumed; rows of empty cells are passed over.

    `Malformed` for what spoils the whole file: size, encoding, header, an unclosed quote. A fault of one row is in it.
    """
    _refuse_size(file)
    text = io.TextIOWrapper(file, encoding=encoding_of(file), errors="strict", newline="")
    try:
        records = _records(text)
        _, header = next(records, (1, []))
        _refuse_wrong_separator(header)
        columns = read_headers(header)
        count = 0
        for line, cells in records:
            if not any(cell.strip() for cell in cells):
                continue
            count += 1
            if count > MAX_ROWS:
                raise Malformed(f"the file has more than {MAX_ROWS:,} rows; split it")
            yield _row(line, cells, columns)
    finally:
        text.detach()


def read_raw(file: BinaryIO) -> Iterator[tuple[int, list[str]]]:
    """Yield every record with its line, header included and nothing interpreted: for handing bad rows back."""
    _refuse_size(file)
    text = io.TextIOWrapper(file, encoding=encoding_of(file), errors="strict", newline="")
    try:
        yield from _records(text)
    finally:
        text.detach()


def _refuse_size(file: BinaryIO) -> None:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if size > MAX_BYTES:
        raise Malformed(f"the file is larger than {MAX_BYTES // 1024 // 1024} MiB")
    if not size:
        raise Malformed("the file is empty")


def _records(text: io.TextIOWrapper) -> Iterator[tuple[int, list[str]]]:
    """Yield (line on which the record starts, cells); `Malformed` with that line where the quoting is broken."""
    reader = csv.reader(text, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            what = "a cell is far too long, or a quote" if "limit" in str(error) else "a quote"
            raise Malformed(
                f"{what} is not closed, or is misplaced, in the record that starts on line {line}"
            ) from None
        yield line, cells


def _refuse_wrong_separator(header: list[str]) -> None:
    if len(header) == 1:
        for separator, name in (("\t", "tabs"), (";", "semicolons")):
            if separator in header[0]:
                raise Malformed(f"the columns are separated by {name}; save the file with commas")


def _row(line: int, cells: list[str], columns: list[Column | None]) -> Row:
    raw = tuple(cells)
    if len(cells) < len(columns) or any(cell.strip() for cell in cells[len(columns) :]):
        return Row(line, {}, f"{len(cells)} cells, where the header has {len(columns)}", raw)
    found: dict[Column, str] = {}
    for column, cell in zip(columns, cells, strict=False):
        if column is None:
            continue
        # Most cells are one plain word: nothing to tidy, nothing to doubt.
        plain = cell.isascii() and cell.isalnum()
        value = cell if plain else tidy(column, cell)
        if len(value) > WIDTHS[column]:
            return Row(line, {}, f"{column.value}: longer than {WIDTHS[column]} characters", raw)
        if not plain and not _can_be_shown(column, value):
            return Row(line, {}, f"{column.value}: holds a character that cannot be printed", raw)
        found[column] = value
    return Row(line, found, None, raw)


def _can_be_shown(column: Column, value: str) -> bool:
    if value.isprintable():
        return True
    # Names may hold a municipality's own characters (外字), which both encodings keep in the private-use area.
    refused = {"Cc", "Cn"} if column in AS_WRITTEN else {"Cc", "Cn", "Co"}
    return all(unicodedata.category(character) not in refused for character in value)


def tidy(column: Column, cell: str) -> str:
    """Return a cell without the spaces around it, line breaks as a space, width folded (NFKC) except in names."""
    value = _BREAKS.sub(" ", cell.strip())
    if _ESCAPED.match(value):
        value = value[1:]
    return value if column in AS_WRITTEN else unicodedata.normalize("NFKC", value).strip()


def safe_cell(value: str) -> str:
    """Return a cell that a spreadsheet shows and does not run; `read_rows` gives the value back."""
    return f"'{value}" if _ESCAPE.match(value) else value


def csv_line(cells: Iterable[str]) -> str:
    """Return one CSV line, with its CRLF, whose cells no spreadsheet executes."""
    buffer = io.StringIO()
    csv.writer(buffer).writerow([safe_cell(cell) for cell in cells])
    return buffer.getvalue()
