"""Times of day as a limit names them: `08:15-15:45`, `mon-fri 08:15-15:45`, in JST. Pure; reads no clock."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY: Final = 24 * 60
_WEEK: Final = 7 * _DAY
_JST_MINUTES: Final = 9 * 60
"""Japan has one time zone and no summer time."""
_THURSDAY: Final = 3
"""The weekday on which the epoch began."""
_TIME: Final = r"([01]\d|2[0-3]):([0-5]\d)"
_BAND: Final = re.compile(rf"(?:([a-z,-]+) )?{_TIME}-(?:{_TIME}|(24):(00))")


@dataclass(frozen=True, slots=True)
class Band:
    """A part of the week, as half-open spans in minutes since Monday 00:00 JST."""

    name: str
    spans: tuple[tuple[int, int], ...]

    def holds(self, minute: int) -> bool:
        """Say whether this minute of the week is in it."""
        return any(begin <= minute < end for begin, end in self.spans)


@lru_cache(maxsize=1024)
def parse(name: str) -> Band:
    """Read a band; one that ends before it begins goes on past midnight. `ValueError` with a sentence for people."""
    found = _BAND.fullmatch(name)
    if found is None:
        raise ValueError('a time of day looks like "08:15-15:45" or "mon-fri 08:15-15:45"')
    days, *times = found.groups()
    begin_hour, begin_minute, end_hour, end_minute = [int(part) for part in times if part is not None]
    begin, end = begin_hour * 60 + begin_minute, end_hour * 60 + end_minute
    if begin == end:
        raise ValueError("a time of day must not end when it begins")
    if end < begin:
        end += _DAY
    spans: list[tuple[int, int]] = []
    for day in _days(days):
        first, last = day * _DAY + begin, day * _DAY + end
        spans.append((first, min(last, _WEEK)))
        if last > _WEEK:  # Sunday night reaches into the next week's Monday
            spans.append((0, last - _WEEK))
    return Band(name, tuple(sorted(spans)))


def overlapping(bands: Iterable[Band]) -> tuple[str, str] | None:
    """Return the names of two bands that share a minute, or None."""
    spans = sorted((begin, end, band.name) for band in bands for begin, end in band.spans)
    for (_, end, one), (begin, _, other) in pairwise(spans):
        if begin < end:
            return one, other
    return None


def minute_of_week(epoch_s: float) -> int:
    """Return the minutes since Monday 00:00 JST at a moment in seconds since 1970."""
    minutes = int(epoch_s // 60) + _JST_MINUTES + _THURSDAY * _DAY
    return minutes % _WEEK


def _days(text: str | None) -> list[int]:
    if text is None:
        return list(range(7))
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last or first) not in DAYS or part.endswith("-"):
            raise ValueError(f"weekdays are {', '.join(DAYS)}, alone (mon,wed) or as a span (mon-fri)")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found += range(begin, end + 1) if begin <= end else [*range(begin, 7), *range(end + 1)]
    if len(set(found)) != len(found):
        raise ValueError("a weekday stands twice in it")
    return found
