"""What a carrier's answer says of usage, taken into the ledger: days, hours and readings of counters in one call.

Lines that the inventory does not have, and figures that cannot be, are counted and left out; the rest goes in. Commits
nothing: the poller keeps its cursor in the same transaction.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import structlog
from sqlmodel import Session

from mdm import clock
from mdm.cellular.carriers.values import CycleToDate, Usage, UsageDay, UsageHour
from mdm.cellular.models import CarrierAccount, UsageSource
from mdm.cellular.usage import bounds, counters, hours, ledger, raw
from mdm.cellular.usage.counters import Reading
from mdm.cellular.usage.hours import ToldHour
from mdm.cellular.usage.ledger import Recorded, Telling
from mdm.cellular.usage.lines import Lines
from mdm.cellular.usage.stage import Told

_log = structlog.get_logger(__name__)
_SESSIONS = 2**31


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
    days, by_hour, readings = [], [], []
    lines, told_hours = Lines(session, account.id or 0), False
    unknown = refused = 0
    checks = _Bounds()
    for each in usage:
        told_hours = told_hours or isinstance(each, UsageHour)
        if not checks.hold(each):
            refused += 1
        elif (sim_id := lines.id_of(each.key)) is None:
            unknown += 1
        elif isinstance(each, UsageDay):
            days.append(
                Told(sim_id, each.day, each.total, each.up, each.down, each.roaming, each.sessions, each.utc_offset)
            )
        elif isinstance(each, UsageHour):
            by_hour.append(ToldHour(sim_id, each.start, each.total, each.up, each.down))
        else:
            readings.append(Reading(sim_id, each.taken_at, each.cycle_start, each.total, each.sessions, each.final))
    # An account with hours has two sources of days, and the ledger looks for that where answers are noted.
    noted = UsageSource.HOURS if told_hours and source is UsageSource.API else source
    raw_id = None
    for payload in payloads:
        raw_id = raw.keep(session, account.id or 0, noted, payload, received_at=as_of)
    telling = Telling(source, as_of, raw_id)
    done = Recorded(unknown=unknown, refused=refused)
    if days:
        done += ledger.record(session, account, telling, days)
    if by_hour:
        done += hours.record(session, account, telling, by_hour)
    if readings:
        done += counters.record(session, account, telling, readings)
    if refused:
        _log.warning("usage_refused", account=account.name, count=refused)
    return done


class _Bounds:
    """Knows which days are kept, once for all figures of an answer."""

    def __init__(self) -> None:
        now = clock.now()
        self._days = bounds.days_kept(now)
        self._hours = bounds.hours_kept(now)
        self._readings = bounds.readings_kept(now)

    def hold(self, each: Usage) -> bool:
        """Say whether a figure can be."""
        if isinstance(each, UsageDay):
            fits = self._days[0] <= each.day <= self._days[1] and each.total <= bounds.DAY_BYTES
            parts = (each.total, each.up, each.down, each.roaming)
            return fits and abs(each.utc_offset) <= 14 * 60 and all(_can_be(part) for part in parts) and _few(each)
        if isinstance(each, UsageHour):
            whole = not (each.start.minute or each.start.second or each.start.microsecond)
            fits = self._hours[0] <= each.start <= self._hours[1] and each.total <= bounds.HOUR_BYTES
            return fits and whole and all(_can_be(part) for part in (each.total, each.up, each.down))
        fits = self._readings[0] <= each.taken_at <= self._readings[1]
        return fits and 0 <= each.total <= bounds.CYCLE_BYTES and _few(each)


def _can_be(part: int | None) -> bool:
    return part is None or 0 <= part <= bounds.DAY_BYTES


def _few(each: UsageDay | CycleToDate) -> bool:
    return each.sessions is None or 0 <= each.sessions < _SESSIONS
