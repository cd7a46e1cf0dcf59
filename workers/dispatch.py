"""The only sender of wake-ups: lease, commit, throttle, push, settle, one lane at a time until nothing is due.

No transaction is open while anything is sent, and nothing is decided by the message that started it. A process that
dies in between loses a lease of a minute; a settle that comes too late changes nothing.
"""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

import structlog

from mdm import db, jobs
from mdm.commands import waking
from mdm.devices import wakeups
from mdm.devices.models import Lane
from mdm.devices.wakeups import Claim, Result, Verdict
from mdm.platform import Platform
from mdm.settings import get_settings
from mdm.transports import WAKEABLE, transport_of
from workers.throttle import Throttle, connect

_log = structlog.get_logger(__name__)

BATCH: Final = 200
_SMALL_BATCH: Final = 20
LEASE_S: Final = 60.0
"""Longer than a push can take at worst (mdm.apple.apns.Gateway's timeouts)."""
BUDGET_S: Final = 20.0
"""A drain ends after this and rings for the next, so that a worker can stop and tasks stay short."""
_NEAR_S: Final = 2.0
"""A drain waits for what falls due this soon instead of ending."""
_LONGEST_DEFER_S: Final = 300.0
_BROKEN_PAUSE_S: Final = 60.0
_URGENT_PAUSE_S: Final = 5.0
"""Urgent work tries again this soon at the latest, whatever the push service asks for."""

_BUSY_SHARE: Final = 5
"""One in so many of a batch answered 429 or 5xx: the service is busy, not a tablet."""
_PATIENCE_S: Final = 30.0
_LONGEST_PATIENCE_S: Final = 900.0
"""Patience where the service does not say how long; it doubles up to the 15 minutes that Apple names for 5xx."""
_OUTAGE_S: Final = 1.0
_LONGEST_OUTAGE_S: Final = 60.0
"""The same for a service that cannot be reached at all."""

_strikes: Counter[tuple[Lane, Platform]] = Counter()
_running: defaultdict[Lane, threading.Lock] = defaultdict(threading.Lock)
_rung: defaultdict[Lane, threading.Event] = defaultdict(threading.Event)
stopping = threading.Event()
"""Set when this process is to end: a drain then stops after the batch in hand."""
last_drained: dict[Lane, float] = {}
"""When each lane was last looked at by this process (monotonic), for the watch in `workers.app`."""


@lru_cache(maxsize=1)
def throttle() -> Throttle:
    """The throttle of this process."""
    settings = get_settings()
    return Throttle(connect(settings.redis_url), settings.throttle)


def drain(lane: Lane, *, budget_s: float = BUDGET_S) -> Counter[str]:
    """Wake what is due in a lane and return verdicts counted; one drain per lane and process at a time.

    A call that finds another at work leaves it a note and ends: the other looks once more before it does.
    """
    tally: Counter[str] = Counter()
    _rung[lane].set()
    until = time.monotonic() + budget_s
    while _rung[lane].is_set() and _running[lane].acquire(blocking=False):
        try:
            _rung[lane].clear()
            _drain(lane, until, tally)
        finally:
            _running[lane].release()
    if tally:
        _log.info("drained", lane=lane.name.lower(), counts=dict(tally))
    return tally


def _drain(lane: Lane, until: float, tally: Counter[str]) -> None:
    limit = BATCH
    while True:
        last_drained[lane] = time.monotonic()
        batch = wake_batch(lane, limit=limit)
        tally.update(batch)
        limit, nap = _pace(batch, limit)
        with db.transaction() as session:
            wait = wakeups.next_due(session, lane)
            if wait is not None and wait <= _NEAR_S and time.monotonic() >= until:
                jobs.ring(session, jobs.Job.DISPATCH, urgent=lane is Lane.URGENT, lane=int(lane))
        held = max(throttle().paused_for(lane, platform) for platform in WAKEABLE)
        if wait is None or wait > _NEAR_S or held > _NEAR_S or time.monotonic() >= until:
            return
        if stopping.wait(min(max(wait, held, nap), 1.0)):
            return


def _pace(batch: Counter[str], limit: int) -> tuple[int, float]:
    """How many to lease next, and seconds to rest first: while permits are scarce, leasing many gives many back."""
    refused = batch["throttled"]
    gone = batch.total() - refused
    if refused <= gone:
        return min(BATCH, 2 * limit), 0.0 if gone >= limit else 0.02
    return (min(BATCH, max(_SMALL_BATCH, 2 * gone)) if gone else BATCH), 0.1


def wake_batch(lane: Lane, *, limit: int = BATCH) -> Counter[str]:
    """Take one batch of a lane from lease to settle."""
    tally: Counter[str] = Counter()
    if all(throttle().paused_for(lane, platform) > 0 for platform in WAKEABLE):
        return tally
    with db.transaction() as session:
        claims = wakeups.claim_due(session, lane, limit=limit, lease_s=LEASE_S)
    if not claims:
        return tally
    granted, waits = _throttled(lane, claims)
    if waits:
        with db.transaction() as session:
            wakeups.defer(session, waits)
        tally["throttled"] = len(waits)
    for platform, group in _by_platform(granted).items():
        results = list(zip(group, transport_of(platform).wake(group), strict=True))
        with db.transaction() as session:
            woken = wakeups.settle(session, results)
            waking.mark_sent(session, woken)
        _heed(lane, platform, results)
        tally.update(result.verdict.value for _, result in results)
    return tally


def _throttled(lane: Lane, claims: Sequence[Claim]) -> tuple[list[Claim], list[tuple[Claim, float]]]:
    """Split into what may go now and what must wait, with seconds: spread so that each falls due with its permit."""
    granted: list[Claim] = []
    waits: list[tuple[Claim, float]] = []
    schools: defaultdict[tuple[Platform, int], list[Claim]] = defaultdict(list)
    for claim in claims:
        schools[claim.platform, claim.school_id].append(claim)
    for (platform, school_id), group in schools.items():
        decision = throttle().ask(lane, platform, school_id, [claim.device_id for claim in group])
        refused = [claim for claim, yes in zip(group, decision.granted, strict=True) if not yes]
        granted += [claim for claim, yes in zip(group, decision.granted, strict=True) if yes]
        waits += [
            (claim, min(decision.wait + place * decision.interval, _LONGEST_DEFER_S))
            for place, claim in enumerate(refused)
        ]
    return granted, waits


def _by_platform(claims: Iterable[Claim]) -> dict[Platform, list[Claim]]:
    groups: defaultdict[Platform, list[Claim]] = defaultdict(list)
    for claim in claims:
        groups[claim.platform].append(claim)
    return groups


def _heed(lane: Lane, platform: Platform, results: Sequence[tuple[Claim, Result]]) -> None:
    """Draw the lane-wide conclusions: permits back for what never left, patience where it was asked for."""
    unsent: defaultdict[int, list[int]] = defaultdict(list)
    for claim, result in results:
        if result.verdict is Verdict.UNSENT:
            unsent[claim.school_id].append(claim.device_id)
    for school_id, device_ids in unsent.items():
        throttle().refund(lane, platform, school_id, device_ids)
    broken = [result.reason for _, result in results if result.verdict is Verdict.BROKEN]
    if broken:
        _log.error("push_refused_for_all", reason=broken[0], lane=lane.name.lower(), count=len(broken))
        for each in Lane:
            throttle().pause(each, platform, _BROKEN_PAUSE_S)
        return
    later = [result for _, result in results if result.verdict is Verdict.LATER]
    if unsent and sum(map(len, unsent.values())) == len(results):
        longest, asked, first, reason = _LONGEST_OUTAGE_S, 0.0, _OUTAGE_S, results[0][1].reason
    elif len(later) * _BUSY_SHARE >= len(results):
        asked = max(result.retry_after or 0.0 for result in later)
        longest, first, reason = _LONGEST_PATIENCE_S, _PATIENCE_S, later[0].reason
    else:
        _strikes[lane, platform] = 0  # Apple's 429 is about one token: one busy tablet holds nobody else back
        return
    patience = asked or min(first * 2 ** _strikes[lane, platform], longest)
    _strikes[lane, platform] += 1
    _log.warning("push_backoff", lane=lane.name.lower(), reason=reason, outcome=f"{patience:.0f} s")
    throttle().pause(lane, platform, min(patience, _URGENT_PAUSE_S) if lane is Lane.URGENT else patience)
