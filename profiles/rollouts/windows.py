"""When bulk work may reach a tablet: a schedule and a school's calendar become open time, and each tablet's slot in it.

Pure: values in, values out. It reads no table and no clock, and sends nothing; ADR 0013 says why slots close.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Final
from uuid import UUID

from mdm.organization.hours import DAY_MINUTES, Calendar, DayKind, Span, read_span
from profiles.rollouts.schedules import Days, Schedule

__all__ = ["HORIZON", "Days", "Never", "Open", "Schedule", "Slot", "Why", "open_time", "slot", "slots"]

HORIZON: Final = timedelta(days=14)
"""How far ahead open time is looked for."""

_MS: Final = 1000
_MINUTE: Final = 60 * _MS
_QUARTER: Final = 15 * _MINUTE
"""Push services and carriers peak on the minutes :00, :15, :30 and :45 (lte-and-usage A4.1): the marks."""
_DAY: Final = DAY_MINUTES * _MINUTE
_JST_OFFSET: Final = 9 * 60 * _MINUTE
_IN_FLIGHT: Final = 5 * _MS
"""A slice closes so long before a mark, that a push in flight does not land on it."""
_LEAD: Final = 30 * _MS
"""No tablet is due later than this before its slice closes; shorter slices are not used."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_NUMBER: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Open:
    """An open interval, milliseconds since 1970: tablets may be reached from `start` until before `end`."""

    start: int
    end: int | None
    """None: it never ends."""
    opened: int
    """Where the interval began, were it not cut by the moment from which one asks; 0 when it had no beginning."""

    @property
    def usable(self) -> int | None:
        """Milliseconds in which tablets may be due; None: without end."""
        return None if self.end is None else max(0, self.end - _LEAD - self.start)


@dataclass(frozen=True, slots=True)
class Slot:
    """A tablet's time. It is due, and if it has not been reached when the slot closes, it is planned anew."""

    due_at: datetime
    closes_at: datetime | None
    """None: never."""


class Why(StrEnum):
    """Why there is no slot."""

    OVER = "not_after comes before any open time"
    SHUT = "no open time within 14 days"


@dataclass(frozen=True, slots=True)
class Never:
    """No tablet of this school gets a slot, and why."""

    why: Why


def slot(schedule: Schedule, calendar: Calendar, *, after: datetime, device_id: int, rollout_id: UUID) -> Slot | Never:
    """Return a tablet's first slot from `after` (aware) on; the same question has the same answer in every process."""
    found = slots(schedule, calendar, after=after, device_ids=(device_id,), rollout_id=rollout_id)
    return found if isinstance(found, Never) else found[device_id]


def slots(
    schedule: Schedule, calendar: Calendar, *, after: datetime, device_ids: Iterable[int], rollout_id: UUID
) -> Mapping[int, Slot] | Never:
    """Return the slots of tablets of one school, by device id: each as `slot` gives it, whoever else is asked about.

    A tablet's place within `spread_s` of open time comes from a hash of tablet, rollout and the first open interval:
    asking again within that interval keeps it, and whoever missed the interval gets a fresh place in the next.
    """
    plan = _plan(schedule, calendar, _ms(after))
    if isinstance(plan, Never):
        return plan
    seed = blake2b(rollout_id.bytes + plan.opened.to_bytes(8), digest_size=8)
    return {device_id: plan.slot_at(_share(seed, device_id)) for device_id in device_ids}


def open_time(
    schedule: Schedule, calendar: Calendar, after: datetime, *, horizon: timedelta = HORIZON
) -> Iterator[Open]:
    """Yield the open intervals from `after` (aware) on, in order, until `horizon` after the first possible moment."""
    return _open_time(schedule, calendar, _ms(after), horizon)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The open intervals over which one school's tablets are spread."""

    intervals: tuple[Open, ...]
    starts: tuple[int, ...]
    """How much usable time lies before each interval."""
    spread: int

    @property
    def opened(self) -> int:
        return self.intervals[0].opened

    def slot_at(self, share: float) -> Slot:
        """The slot at a share (0 to 1, excluded) of the spread."""
        offset = int(share * self.spread)
        index = bisect_right(self.starts, offset) - 1
        interval = self.intervals[index]
        due = interval.start + offset - self.starts[index]
        return Slot(_at(due), None if interval.end is None else _at(interval.end))


@lru_cache(maxsize=512)
def _plan(schedule: Schedule, calendar: Calendar, after: int) -> _Plan | Never:
    spread, total = schedule.spread_s * _MS, 0
    intervals: list[Open] = []
    starts: list[int] = []
    for interval in _open_time(schedule, calendar, after, HORIZON):
        if interval.usable == 0:
            continue
        intervals.append(interval)
        starts.append(total)
        if interval.usable is None:
            return _Plan(tuple(intervals), tuple(starts), spread)
        total += interval.usable
        if total >= spread:
            break
    if intervals:
        return _Plan(tuple(intervals), tuple(starts), min(spread, total))
    over = schedule.not_after is not None and _ms(schedule.not_after) < _first(schedule, after) + _ms_of(HORIZON)
    return Never(Why.OVER if over else Why.SHUT)


def _open_time(schedule: Schedule, calendar: Calendar, after: int, horizon: timedelta) -> Iterator[Open]:
    first = _first(schedule, after)
    last = first + _ms_of(horizon)
    not_after = None if schedule.not_after is None else _ms(schedule.not_after)
    if _never_closes(schedule, calendar):
        if not_after is None or first < not_after:
            yield Open(first, not_after, 0)
        return
    until = last if not_after is None else min(last, not_after)
    for opened, closes in _uncut(schedule, calendar, first, until):
        begin, close = max(opened, first), closes if not_after is None else min(closes, not_after)
        if begin >= until:
            return
        if begin < close:
            yield Open(begin, close, opened)


def _uncut(schedule: Schedule, calendar: Calendar, first: int, until: int) -> Iterator[tuple[int, int]]:
    """The open intervals as they lie in the days, in order: windows, less class hours, less marks."""
    for window in _joined(_windows(schedule, calendar, first, until)):
        for part in _outside_lessons(calendar, *window) if schedule.obey_class_hours else (window,):
            yield from _slices(*part) if schedule.avoid_marks else (part,)


def _first(schedule: Schedule, after: int) -> int:
    return after if schedule.not_before is None else max(after, _ms(schedule.not_before))


def _never_closes(schedule: Schedule, calendar: Calendar) -> bool:
    closures = schedule.obey_class_hours and any(calendar.lessons)
    return not (schedule.windows or schedule.avoid_marks or closures or schedule.days is not Days.ANY)


def _windows(schedule: Schedule, calendar: Calendar, first: int, until: int) -> Iterator[tuple[int, int]]:
    """The windows of each day that counts, by their beginnings; from the day before on, for those over midnight."""
    spans = sorted(read_span(window, over_midnight=True) for window in schedule.windows) or [Span(0, DAY_MINUTES)]
    for number in range((first + _JST_OFFSET) // _DAY - 1, (until + _JST_OFFSET) // _DAY + 1):
        if _counts(schedule.days, calendar, number):
            yield from _on(number, spans)


def _counts(days: Days, calendar: Calendar, number: int) -> bool:
    if days is Days.ANY:
        return True
    kind = calendar.kind_of(date.fromordinal(_DAY_NUMBER + number))
    return kind is (DayKind.SCHOOL if days is Days.SCHOOL_DAYS else DayKind.OFF)


def _on(number: int, spans: Iterable[Span]) -> Iterator[tuple[int, int]]:
    """Parts of the day that begins so many local days after 1970, in milliseconds."""
    midnight = number * _DAY - _JST_OFFSET
    for span in spans:
        yield midnight + span.start * _MINUTE, midnight + span.end * _MINUTE


def _joined(intervals: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join intervals that touch or overlap; they come ordered by their beginnings."""
    waiting: tuple[int, int] | None = None
    for start, end in intervals:
        if waiting is None:
            waiting = start, end
        elif start <= waiting[1]:
            waiting = waiting[0], max(waiting[1], end)
        else:
            yield waiting
            waiting = start, end
    if waiting is not None:
        yield waiting


def _outside_lessons(calendar: Calendar, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of an interval in which a school does not need its line for itself."""
    for number in range((start + _JST_OFFSET) // _DAY, (end + _JST_OFFSET) // _DAY + 1):
        busy = sorted(calendar.busy_on(date.fromordinal(_DAY_NUMBER + number)))
        for begins, ends in _on(number, busy):
            if start < begins:
                yield start, min(begins, end)
            start = max(start, ends)
            if start >= end:
                return
    yield start, end


def _slices(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of an interval between marks: from the minute after one to some seconds before the next."""
    mark = start // _QUARTER * _QUARTER
    while mark < end:
        opened, closes = max(start, mark + _MINUTE), min(end, mark + _QUARTER - _IN_FLIGHT)
        if opened < closes:
            yield opened, closes
        mark += _QUARTER


def _share(seed: blake2b, device_id: int) -> float:
    own = seed.copy()
    own.update(device_id.to_bytes(8))
    return int.from_bytes(own.digest()) / 2**64


def _ms(moment: datetime) -> int:
    """Whole milliseconds since 1970, rounded up: nothing is due before it may be."""
    return -((_EPOCH - moment) // timedelta(milliseconds=1))


def _ms_of(length: timedelta) -> int:
    return length // timedelta(milliseconds=1)


def _at(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)
