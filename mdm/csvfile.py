"""Read CSV files of people: bytes to rows with line numbers, in UTF-8 or CP932; write cells that no spreadsheet runs.

Knows columns, not what stands in them: whether a value makes sense is for its room to say. Holds one row at a time.
"""

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, Generic, TypeVar

from mdm.errors import Malformed

C = TypeVar("C", bound=StrEnum)
_CHUNK = 1 << 18

# Spreadsheets run cells that begin so (CWE-1236). Export puts an apostrophe in front, import takes one away again.
_ESCAPE = re.compile(r"'*[=+\-@\t\r]")
_ESCAPED = re.compile(r"'+[=+\-@]")
_BREAKS = re.compile(r"[\t\r\n\v\f\x85\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Layout(Generic[C]):
    """What a kind of file may hold."""

    read_headers: Callable[[list[str]], list[C | None]]
    """The column under each header cell, None for what is passed over; `Malformed` if it will not do."""
    widths: Mapping[C, int]
    """Characters that a cell may hold, before it is checked any further."""
    as_written: frozenset[C] = frozenset()
    """Columns of names: every character counts, nothing is folded."""
    max_bytes: int = 64 * 1024 * 1024
    max_rows: int = 200_000
    patient: bool = False
    """Bytes of no encoding spoil their row, not the file."""


@dataclass(frozen=True, slots=True)
class Row(Generic[C]):
    """One record: the line it starts on (1 is the header's), its cells by column, or the fault that spoils it."""

    line: int
    cells: dict[C, str]
    """Only the columns the file has; an empty string is an empty cell. Empty when there is a fault."""
    fault: str | None = None
    raw: tuple[str, ...] = ()
    """The cells as they stand in the file, to hand back a bad row."""


def encoding_of(file: BinaryIO) -> str:
    """Return `utf-8-sig` or `cp932`, whichever decodes all of the file strictly; `Malformed` names byte and line."""
    encoding, fault = _best_encoding(file)
    if fault is not None:
        raise Malformed(fault)
    return encoding


def _best_encoding(file: BinaryIO) -> tuple[str, str | None]:
    """Return the encoding that was most likely meant, and what speaks against it."""
    head = file.read(4)
    file.seek(0)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Malformed("the file is UTF-16; save it as CSV in UTF-8 or Shift JIS (CP932)")
    utf8 = _first_bad_byte(file, "utf-8")
    if utf8 is None:
        return "utf-8-sig", None
    offset, line, name = *utf8, "UTF-8"
    if not head.startswith(codecs.BOM_UTF8) and not _is_japanese(file, offset):
        cp932 = _first_bad_byte(file, "cp932")
        if cp932 is None:
            return "cp932", None
        # The encoding that got further is the one that was meant.
        offset, line, name = max((offset, line, name), (*cp932, "CP932"))
    fault = f"the file is neither UTF-8 nor CP932: byte {offset} on line {line} is not {name}"
    return "cp932" if name == "CP932" else "utf-8-sig", fault


def _is_japanese(file: BinaryIO, size: int) -> bool:
    """Say whether the first `size` bytes, which are UTF-8, hold kana or kanji.

    Then UTF-8 was meant, however a byte went wrong later: nearly every file would also decode as CP932, to nonsense.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while size > 0 and (chunk := file.read(min(size, _CHUNK))):
            if any("\u3000" <= character <= "\uffee" for character in set(decoder.decode(chunk))):
                return True
            size -= len(chunk)
        return False
    finally:
        file.seek(0)


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


def read_rows(file: BinaryIO, layout: Layout[C]) -> Iterator[Row[C]]:
    """Yield the rows of a file, the header consumed; rows of empty cells are passed over.

    `Malformed` for what spoils the whole file: size, encoding, header, an unclosed quote. A fault of one row is in it.
    """
    text = _open(file, layout)
    try:
        records = _records(text)
        _, header = next(records, (1, []))
        _refuse_wrong_separator(header)
        columns = layout.read_headers(header)
        count = 0
        for line, cells in records:
            if not any(cell.strip() for cell in cells):
                continue
            count += 1
            if count > layout.max_rows:
                raise Malformed(f"the file has more than {layout.max_rows:,} rows; split it")
            yield _row(line, cells, columns, layout)
    finally:
        text.detach()


def read_raw(file: BinaryIO, layout: Layout[C]) -> Iterator[tuple[int, list[str]]]:
    """Yield every record with its line, header included and nothing interpreted: for handing bad rows back."""
    text = _open(file, layout)
    try:
        yield from _records(text)
    finally:
        text.detach()


def _open(file: BinaryIO, layout: Layout[C]) -> io.TextIOWrapper:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if size > layout.max_bytes:
        raise Malformed(f"the file is larger than {layout.max_bytes // 1024 // 1024} MiB")
    if not size:
        raise Malformed("the file is empty")
    if layout.patient:
        encoding, _ = _best_encoding(file)
        return io.TextIOWrapper(file, encoding=encoding, errors="surrogateescape", newline="")
    return io.TextIOWrapper(file, encoding=encoding_of(file), errors="strict", newline="")


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


def _row(line: int, cells: list[str], columns: list[C | None], layout: Layout[C]) -> Row[C]:
    raw = tuple(cells)
    if len(cells) < len(columns) or any(cell.strip() for cell in cells[len(columns) :]):
        return Row(line, {}, f"{len(cells)} cells, where the header has {len(columns)}", raw)
    found: dict[C, str] = {}
    for column, cell in zip(columns, cells, strict=False):
        if column is None:
            continue
        # Most cells are plain, a word or a date: nothing to tidy, nothing to doubt.
        plain = cell.isascii() and cell.isprintable() and cell[:1].isalnum() and cell[-1:].isalnum()
        value = cell if plain else tidy(cell, as_written=column in layout.as_written)
        if len(value) > layout.widths[column]:
            return Row(line, {}, f"{column.value}: longer than {layout.widths[column]} characters", raw)
        if not plain and (fault := _spoiled(value, as_written=column in layout.as_written)):
            return Row(line, {}, f"{column.value}: {fault}", raw)
        found[column] = value
    return Row(line, found, None, raw)


def _spoiled(value: str, *, as_written: bool) -> str | None:
    if value.isprintable():
        return None
    categories = {unicodedata.category(character) for character in value}
    if "Cs" in categories:  # what surrogateescape makes of a byte that is none of the encoding
        return "holds bytes that are neither UTF-8 nor CP932"
    # Names may hold a municipality's own characters (外字), which both encodings keep in the private-use area.
    refused = {"Cc", "Cn"} if as_written else {"Cc", "Cn", "Co"}
    return "holds a character that cannot be printed" if categories & refused else None


def tidy(cell: str, *, as_written: bool = False) -> str:
    """Return a cell without the spaces around it, line breaks as a space, width folded (NFKC) except in names."""
    value = _BREAKS.sub(" ", cell.strip())
    if _ESCAPED.match(value):
        value = value[1:]
    return value if as_written else unicodedata.normalize("NFKC", value).strip()


def folded(header: str) -> str:
    """Return a header as it is compared: width, case, spaces, hyphens and underscores do not matter."""
    return re.sub(r"[\s_\-]+", "", unicodedata.normalize("NFKC", header)).casefold()


def shown(header: str) -> str:
    """Return a header in quotes, fit for a message."""
    text = "".join(character if character.isprintable() else "?" for character in header.strip())
    return f"'{text[:30]}'" if text else "'' (empty)"


def safe_cell(value: str) -> str:
    """Return a cell that a spreadsheet shows and does not run; `read_rows` gives the value back."""
    return f"'{value}" if _ESCAPE.match(value) else value


def csv_line(cells: Iterable[str]) -> str:
    """Return one CSV line, with its CRLF, whose cells no spreadsheet executes."""
    buffer = io.StringIO()
    csv.writer(buffer).writerow([safe_cell(cell) for cell in cells])
    return buffer.getvalue()
