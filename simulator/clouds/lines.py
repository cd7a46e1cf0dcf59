"""Invented lines of a carrier and what they use, by seed: the same seed tells the same bytes, to the byte.

What a line used is the witness; what the carrier shows of it may come late or be a first guess, as the script says.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from simulator.clouds.carrier_script import Script

Clock = Callable[[], datetime]

_DAY_S: Final = 86400
_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Line:
    """One line. `words` is what the carrier says of it (status, plan, speed …); `coming` what will be so later."""

    index: int
    iccid: str
    imsi: str
    msisdn: str
    imei: str
    words: dict[str, str]
    modified_at: datetime
    coming: list[tuple[datetime, dict[str, str]]] = field(default_factory=list)
    carries: list[tuple[datetime, bool]] = field(default_factory=list)
    """From when on it carried traffic, or no longer did; before the first it did not."""


@dataclass(frozen=True, slots=True)
class Bytes:
    """What a line used."""

    up: int = 0
    down: int = 0

    @property
    def total(self) -> int:
        """Both directions."""
        return self.up + self.down


class Lines:
    """All lines of one account. `carrying` names the words of `status` under which a line carries traffic."""

    def __init__(
        self,
        numbers: list[tuple[str, str]],
        *,
        script: Script,
        words: dict[str, str],
        carrying: frozenset[str],
        utc_offset: int = 0,
        seed: int = 0,
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        self.script = script
        self.clock = clock
        self.utc_offset = utc_offset
        self.used_until: datetime | None = None
        """Nobody uses anything after this; so that a witness stands still while it is compared."""
        self.all = [self._line(index, *pair, words, seed) for index, pair in enumerate(numbers)]
        self.by_iccid = {line.iccid: line for line in self.all}
        self._carrying = carrying
        self._seed = seed
        for line in self.all:
            line.carries.append((_LONG_AGO, line.words["status"] in carrying))

    def ask(self, line: Line, changes: dict[str, str]) -> None:
        """Take an order: it is so when the script's time for that has passed."""
        line.coming.append((self.clock() + timedelta(seconds=self.script.status_takes_s), changes))
        self.settle(line)

    def settle(self, line: Line) -> Line:
        """Let come true what was due by now, and return the line."""
        now = self.clock()
        while line.coming and line.coming[0][0] <= now:
            at, changes = line.coming.pop(0)
            line.words.update(changes)
            line.modified_at = at
            carries = line.words["status"] in self._carrying
            if carries != line.carries[-1][1]:
                line.carries.append((at, carries))
        return line

    def true(self, line: Line, day: date) -> Bytes:
        """Return what a line used on a day, or until now if that is today: the witness."""
        start = self.start_of(day)
        now = min(self.clock(), self.used_until or self.clock())
        seconds = self._seconds(line, start, min(start + timedelta(days=1), now))
        if not seconds:
            return Bytes()
        full = _full(self._seed, line.index, day)
        return Bytes(full.up * seconds // _DAY_S, full.down * seconds // _DAY_S)

    def shown(self, line: Line, day: date) -> Bytes:
        """Return what the carrier shows of it now."""
        age = self.clock() - (self.start_of(day) + timedelta(days=1))
        settled = age.total_seconds() >= self.script.settles_after_s
        return self.true(line, day) if settled else self.unsettled(line, day)

    def unsettled(self, line: Line, day: date) -> Bytes:
        """Return what the carrier shows before a day's figures are settled: for some nothing or a guess."""
        true = self.true(line, day)
        lot = _lot(self._seed, line.index, day, b"settling")
        if lot < self.script.late:
            return Bytes()
        if lot < self.script.late + self.script.guessed:
            return Bytes(true.up * 9 // 10, true.down * 9 // 10)
        return true

    def doubled(self, line: Line, day: date) -> bool:
        """Whether the carrier names this figure twice."""
        return _lot(self._seed, line.index, day, b"doubled") < self.script.doubled

    def today(self) -> date:
        """Return the day that it is where days begin as the carrier's do."""
        return (self.clock() + timedelta(minutes=self.utc_offset)).date()

    def start_of(self, day: date) -> datetime:
        """Return when a day begins."""
        return datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(minutes=self.utc_offset)

    def witness(self, first: date, last: date) -> dict[str, dict[str, int]]:
        """Return the true bytes of each line and day on which there were any, by ICCID."""
        days = list(days_between(first, last))
        found: dict[str, dict[str, int]] = {}
        for line in self.all:
            self.settle(line)
            of_line = {day.isoformat(): self.true(line, day).total for day in days}
            found[line.iccid] = {day: total for day, total in of_line.items() if total}
        return found

    def _seconds(self, line: Line, start: datetime, end: datetime) -> int:
        """Count the seconds between two moments in which a line carried traffic."""
        ends = [*(at for at, _ in line.carries[1:]), end]
        spans = (
            (max(at, start), min(to, end)) for (at, carries), to in zip(line.carries, ends, strict=True) if carries
        )
        return sum(max(int((to - at).total_seconds()), 0) for at, to in spans)

    def _line(self, index: int, iccid: str, imei: str, words: dict[str, str], seed: int) -> Line:
        return Line(
            index=index,
            iccid=iccid,
            imsi=f"44010{seed % 1000:03}{index:07}",
            msisdn=f"8120{seed % 100:02}{index:06}",
            imei=imei,
            words=dict(words),
            modified_at=self.clock(),
        )


def invented_numbers(count: int, *, seed: int = 0) -> list[tuple[str, str]]:
    """Return pairs of ICCID and IMEI that nobody has, with right check digits."""
    return [
        (with_check_digit(f"898110{seed % 1000:03}{index:09}"), with_check_digit(f"35{seed % 1000:04}{index:08}"))
        for index in range(count)
    ]


def with_check_digit(digits: str) -> str:
    """Append the check digit (Luhn)."""
    doubled = "".join(str(int(digit) * (2 - place % 2)) for place, digit in enumerate(reversed(digits)))
    return digits + str(-sum(map(int, doubled)) % 10)


def days_between(first: date, last: date) -> Iterator[date]:
    """Yield the days, both included."""
    for offset in range((last - first).days + 1):
        yield first + timedelta(days=offset)


def described(line: Line) -> dict[str, Any]:
    """Return a line for the control routes."""
    return {"iccid": line.iccid, "imsi": line.imsi, "msisdn": line.msisdn, "imei": line.imei, **line.words}


def _full(seed: int, index: int, day: date) -> Bytes:
    """Return a whole day's use: about 140 MB on weekdays, a third on weekends, a few days without any."""
    lot = hashlib.blake2b(f"{seed}:{index}:{day.toordinal()}".encode(), digest_size=12).digest()
    if lot[0] < 12:
        return Bytes()
    spread = 2 ** ((sum(lot[1:5]) - 510) / 170)
    median = 50_000_000 if day.weekday() >= 5 else 140_000_000
    down = int(median * spread) + lot[5] * 256 + lot[6]
    return Bytes(down // (6 + lot[7] % 8), down)


def _lot(seed: int, index: int, day: date, what: bytes) -> float:
    text = f"{seed}:{index}:{day.toordinal()}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=4, person=what).digest()) / 2**32
