"""What a carrier's answer says of usage, taken into the ledger: days, hours and readings of counters in one call.

Lines that the inventory does not have, and figures that cannot be, are counted and left out; the rest goes in. Commits
nothing: the poller keeps its cursor in the same transaction.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import structlog
from sqlmodel import Session

from mdm import clock
from mdm.cellular.carriers.values import Usage, UsageDay, UsageHour
from mdm.cellular.models import CarrierAccount, UsageSource
from mdm.cellular.usage import bounds, counters, hours, ledger, raw
from mdm.cellular.usage.counters import Reading
from mdm.cellular.usage.hours import ToldHour
from mdm.cellular.usage.ledger import Recorded, Telling
from mdm.cellular.usage.lines import Lines
from mdm.cellular.usage.stage import PlainTold, Told

_log = structlog.get_logger(__name__)
_SESSIONS: Final = 2**31
_MOST: Final = bounds.DAY_BYTES
_MOST_OFFSET: Final = 14 * 60


def take(
    session: Session,
    account: CarrierAccount,
    usage: Iterable[Usage],
    *,
    payloads: Sequence[bytes] = (),
    as_of: datetime,
    source: UsageSource = UsageSource.API,
) -> Recorded:
    """Record what was read from `payloads`, which the carrier answered at `as_of`. The same again changes nothing."""
    sorted_out = _Sorted(Lines(session, account.id or 0))
    for each in usage:
        sorted_out.add(each)
    # An account with hours has two sources of days, and the ledger looks for that where answers are noted.
    noted = UsageSource.HOURS if sorted_out.hours and source is UsageSource.API else source
    raw_id = None
    for payload in payloads or (b"",):  # that this source has told something is noted in any case
        raw_id = raw.keep(session, account.id or 0, noted, payload, received_at=as_of)
    telling = Telling(source, as_of, raw_id)
    done = Recorded(unknown=sorted_out.unknown, refused=sorted_out.refused)
    if sorted_out.days:
        done += ledger.record(session, account, telling, sorted_out.days)
    if sorted_out.hours:
        done += hours.record(session, account, telling, sorted_out.hours)
    if sorted_out.readings:
        done += counters.record(session, account, telling, sorted_out.readings)
    if done.refused:
        _log.warning("usage_refused", account=account.name, count=done.refused)
    return done


class _Sorted:
    """Figures by their kind, of lines that are known, without those that cannot be."""

    def __init__(self, lines: Lines) -> None:
        now = clock.now()
        self._id_of = lines.id_of
        self._days_kept = bounds.days_kept(now)
        self._hours_kept = bounds.hours_kept(now)
        self._readings_kept = bounds.readings_kept(now)
        self.days: list[Told | PlainTold] = []
        self.hours: list[ToldHour] = []
        self.readings: list[Reading] = []
        self.unknown = self.refused = 0

    def add(self, each: Usage) -> None:
        """Take one figure, or count it as left out."""
        if not self._can_be(each):
            self.refused += 1
            return
        sim_id = self._id_of(each.key)
        if sim_id is None:
            self.unknown += 1
        elif isinstance(each, UsageDay):
            # A plain tuple: there may be half a million of them, and the collector looks at each named one every time.
            told = (sim_id, each.day, each.total, each.up, each.down, each.roaming, each.sessions, each.utc_offset)
            self.days.append(told)
        elif isinstance(each, UsageHour):
            self.hours.append(ToldHour(sim_id, each.start, each.total, each.up, each.down))
        else:
            self.readings.append(
                Reading(sim_id, each.taken_at, each.cycle_start, each.total, each.sessions, each.final)
            )

    def _can_be(self, each: Usage) -> bool:
        if isinstance(each, UsageDay):
            first, last = self._days_kept
            most, up, down = _MOST, each.up, each.down
            return (
                first <= each.day <= last
                and 0 <= each.total <= most
                and (up is None or 0 <= up <= most)
                and (down is None or 0 <= down <= most)
                and (each.roaming is None or 0 <= each.roaming <= most)
                and (each.sessions is None or 0 <= each.sessions < _SESSIONS)
                and -_MOST_OFFSET <= each.utc_offset <= _MOST_OFFSET
            )
        if isinstance(each, UsageHour):
            since, until = self._hours_kept
            whole = not (each.start.minute or each.start.second or each.start.microsecond)
            parts = (each.total, each.up, each.down)
            fits = all(part is None or 0 <= part <= bounds.HOUR_BYTES for part in parts)
            return fits and whole and since <= each.start <= until
        since, until = self._readings_kept
        few = each.sessions is None or 0 <= each.sessions < _SESSIONS
        return few and since <= each.taken_at <= until and 0 <= each.total <= bounds.CYCLE_BYTES
