"""A pretended portal's files of usage: a file a day, some of them late, then corrections; in CP932 or UTF-8.

A day's file comes the next morning with what is known by then. Lines that were left out or guessed come again two days
later in a file of corrections. A file that is late has the settled figures. Once all files up to a day have been taken,
the last figure of each line and day is what `lines` witnesses.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from simulator.clouds.carrier_script import Script
from simulator.clouds.lines import Bytes, Clock, Line, Lines, days_between

_JAPAN: Final = 540
_MORNING: Final = timedelta(hours=7)
HEADER: Final = ("電話番号", "ICCID", "利用日", "上り通信量(バイト)", "下り通信量(バイト)", "通信量(バイト)")


@dataclass(frozen=True, slots=True)
class UsageFile:
    """A file as the portal hands it out, and when it does."""

    name: str
    body: bytes
    out_at: datetime


class UsageFiles:
    """The portal of an account whose figures come in files. Days are Japan's."""

    def __init__(
        self,
        numbers: list[tuple[str, str]],
        *,
        seed: int = 0,
        script: Script | None = None,
        clock: Clock = lambda: datetime.now(UTC),
        encoding: str = "cp932",
    ) -> None:
        self.encoding = encoding
        self._seed = seed
        self.lines = Lines(
            numbers,
            script=script or Script(late=0.02, guessed=0.05, doubled=0.01),
            words={"status": "利用中", "plan": "データ7GB"},
            carrying=frozenset({"利用中"}),
            utc_offset=_JAPAN,
            seed=seed,
            clock=clock,
        )

    def sims(self) -> bytes:
        """Return the file of the account's lines."""
        rows = [
            (line.iccid, line.imsi, line.msisdn, line.words["plan"], line.words["status"]) for line in self.lines.all
        ]
        return self._written(("ICCID", "IMSI", "電話番号", "プラン", "回線状態"), rows)

    def deliveries(self, first: date, last: date) -> list[UsageFile]:
        """Return the files of these days that are out by now, in the order in which they came out."""
        found = [file for day in days_between(first, last) for file in self._of_day(day)]
        return sorted((file for file in found if file.out_at <= self.lines.clock()), key=lambda file: file.out_at)

    def _of_day(self, day: date) -> Iterator[UsageFile]:
        morning = self.lines.start_of(day + timedelta(days=1)) + _MORNING
        name = f"usage_{day:%Y%m%d}"
        if (day.toordinal() + self._seed) % 9 == 0:  # one file in nine is late, and settled by then
            yield self._file(f"{name}.csv", day, [(line, self.lines.true(line, day)) for line in self.lines.all], 4)
            return
        early = [(line, self.lines.unsettled(line, day)) for line in self.lines.all]
        yield UsageFile(f"{name}.csv", self._body(day, early), morning)
        late = [(line, self.lines.true(line, day)) for line, shown in early if self.lines.true(line, day) != shown]
        if late:
            yield self._file(f"{name}_correction.csv", day, late, 2)

    def _file(self, name: str, day: date, figures: list[tuple[Line, Bytes]], days_late: int) -> UsageFile:
        morning = self.lines.start_of(day + timedelta(days=1)) + _MORNING
        return UsageFile(name, self._body(day, figures), morning + timedelta(days=days_late))

    def _body(self, day: date, figures: list[tuple[Line, Bytes]]) -> bytes:
        rows: list[tuple[object, ...]] = []
        for line, used in figures:
            if used.total:
                row = (line.msisdn, f'="{line.iccid}"', f"{day:%Y/%m/%d}", used.up, used.down, used.total)
                rows += [row, row] if self.lines.doubled(line, day) else [row]
        return self._written(HEADER, rows)

    def _written(self, header: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> bytes:
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(header)
        writer.writerows(rows)
        return text.getvalue().encode(self.encoding)
