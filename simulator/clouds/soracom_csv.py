"""The file of the pretended SORACOM's export, with the columns of users.soracom.io/ja-jp/docs/billing/air-stats-csv."""

import csv
import io
from datetime import date
from typing import Any, Final

from simulator.clouds.lines import Bytes, Line, Lines, days_between

_COLUMNS: Final = (
    "imsi",
    "date",
    "type",
    "uploadByteSizeTotal",
    "uploadPacketCountTotal",
    "downloadByteSizeTotal",
    "downloadPacketCountTotal",
    "name",
)


def csv_of(lines: Lines, first: date, last: date) -> bytes:
    """Return what the carrier shows of these days now, a row per line, day and speed class."""
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(_COLUMNS)
    for day in days_between(first, last):
        for line in lines.all:
            lines.settle(line)
            shown = lines.shown(line, day)
            if shown.total:
                for row in _rows(line, day, shown):
                    rows.writerows([row, row] if lines.doubled(line, day) else [row])
    rows.writerow(["", f"{last:%Y%m%d}", "s1.standard", 0, 0, 0, 0, ""])
    return b"\xef\xbb\xbf" + text.getvalue().encode()


def _rows(line: Line, day: date, shown: Bytes) -> list[list[Any]]:
    """Return a line's day: some have run in two speed classes, and have a row for each."""
    parts = {line.words["speed"]: shown}
    if line.index % 5 == 0 and line.words["speed"] != "s1.fast":
        fast = Bytes(shown.up // 3, shown.down // 3)
        parts = {"s1.fast": fast, line.words["speed"]: Bytes(shown.up - fast.up, shown.down - fast.down)}
    return [
        [line.imsi, f"{day:%Y%m%d}", kind, part.up, part.up // 900, part.down, part.down // 1200, ""]
        for kind, part in parts.items()
        if part.total
    ]
