"""SORACOM's export of usage: the CSV of all lines, a row per line, day and speed class, into days. Pure.

Columns are found by their names: after those of usage come tags and groups, whose number varies
(users.soracom.io/ja-jp/docs/billing/air-stats-csv).
"""

import csv
import io
from collections.abc import Iterator
from datetime import date
from typing import Final

from mdm.cellular.carriers.values import By, SimKey, Unclear, UsageDay

_COLUMNS: Final = ("imsi", "date", "type", "uploadByteSizeTotal", "downloadByteSizeTotal")

_Key = tuple[str, date, str]


def usage_of(body: bytes, first: date, last: date) -> tuple[UsageDay, ...]:
    """Sum an export's rows to days; a row that came twice counts once, days outside of what was asked not at all."""
    days: dict[tuple[str, date], tuple[int, int]] = {}
    for (imsi, day, _), (up, down) in _rows(body).items():
        if first <= day <= last:
            before = days.get((imsi, day), (0, 0))
            days[imsi, day] = (before[0] + up, before[1] + down)
    return tuple(
        UsageDay(SimKey(By.IMSI, imsi), day, 0, up + down, up, down) for (imsi, day), (up, down) in days.items()
    )


def _rows(body: bytes) -> dict[_Key, tuple[int, int]]:
    found: dict[_Key, tuple[int, int]] = {}
    for place, key, figures in _read(body):
        if found.setdefault(key, figures) != figures:
            raise Unclear(f"an export with two figures for the same line, day and class (line {place})")
    return found


def _read(body: bytes) -> Iterator[tuple[int, _Key, tuple[int, int]]]:
    try:
        rows = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True)
        header = next(rows, [])
        if any(column not in header for column in _COLUMNS):
            raise Unclear("an export without its documented columns")
        imsi, day, kind, up, down = (header.index(column) for column in _COLUMNS)
        for row in rows:
            if not row or not row[imsi]:
                continue  # what was used by no line
            key = (row[imsi], _day(row[day]), row[kind])
            yield rows.line_num, key, (_bytes(row[up]), _bytes(row[down]))
    except (UnicodeDecodeError, csv.Error, IndexError, ValueError):
        raise Unclear("an export that does not read as documented") from None


def _day(text: str) -> date:
    if len(text) != 8 or not text.isascii() or not text.isdigit():
        raise ValueError
    return date(int(text[:4]), int(text[4:6]), int(text[6:]))


def _bytes(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError
    return int(text)
