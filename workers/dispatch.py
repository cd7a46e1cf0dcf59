"""The only sender of wake-ups: lease, commit, throttle, push, settle, one lane at a time until nothing is due.

No transaction is open while anything is sent, and nothing is decided by the message that started it. A process that
dies in between loses a lease of a minute; a settle that comes too late changes nothing.
"""

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

import structlog

from mdm import db, jobs
from mdm.commands import waking
from mdm.devices import turns, wakeups
from mdm.devices.models import Lane
from mdm.devices.wakeups import Claim, Result, Verdict
from mdm.platform import Platform
from mdm.settings import get_settings
from mdm.transports import WAKEABLE, transport_of
from workers import dealing, places
from workers.current import Current
from workers.orders import Wish
from workers.throttle import Decision, Throttle, Ticket, connect

_log = structlog.get_logger(__name__)

BATCH: Final = 200
LEASE_S: Final = 60.0
"""Longer than a push can take at worst (mdm.apple.apns.Gateway's timeouts)."""
BUDGET_S: Final = 20.0
"""A drain ends after this and rings for the next, so that a worker can stop and tasks stay short."""
_NEAR_S: Final = 2.0
"""A drain waits for what falls due this soon instead of ending."""
_LEAST_NAP_S: Final = 0.02
_LONGEST_NAP_S: Final = 1.0
"""No drain rests longer: limits may have changed."""
_RACE_S: Final = 0.1
"""The same where another worker has just taken what there was."""
_OWN_WAIT_S: Final = 10.0
"""A tablet that was woken too often just now comes up again after this at the latest."""
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
    return Throttle(connect(get_settings().redis_url), Current())


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
    while True:
        last_drained[lane] = time.monotonic()
        batch, nap = _wake(lane, BATCH)
        tally.update(batch)
        if batch and nap == 0.0 and time.monotonic() < until and not stopping.is_set():
            continue  # it was full: more is due for certain
        with db.transaction() as session:
            wait = wakeups.next_due(session, lane)
            if wait is not None and wait <= _NEAR_S and time.monotonic() >= until:
                jobs.ring(session, jobs.Job.DISPATCH, urgent=lane is Lane.URGENT, lane=int(lane))
        held = max(throttle().paused_for(lane, platform) for platform in WAKEABLE)
        if wait is None or wait > _NEAR_S or held > _NEAR_S or time.monotonic() >= until:
            return
        # Not in step with other processes, or all would go for the same permits at the same moment.
        jitter = random.uniform(0.8, 1.2)  # noqa: S311 - a rest is no secret
        if _rested(lane, min(max(wait, held, nap * jitter), _LONGEST_NAP_S)):
            return


def _rested(lane: Lane, seconds: float) -> bool:
    """Rest, but get up for a hint of new work; returns True when this process is to end."""
    until = time.monotonic() + seconds
    while not stopping.is_set():
        left = until - time.monotonic()
        if left <= 0:
            return False
        if _rung[lane].wait(min(left, 0.2)):
            _rung[lane].clear()
            return stopping.wait(_LEAST_NAP_S)
    return True


def wake_batch(lane: Lane, *, limit: int = BATCH) -> Counter[str]:
    """Take one batch of a lane from lease to settle."""
    return _wake(lane, limit)[0]


def _wake(lane: Lane, limit: int) -> tuple[Counter[str], float]:
    """Take one batch from lease to settle; also returns seconds to rest before the next, 0 when it was full."""
    tally: Counter[str] = Counter()
    if all(throttle().paused_for(lane, platform) > 0 for platform in WAKEABLE):
        return tally, _LEAST_NAP_S
    claims, nap, turn = _claimed(lane, limit)
    if not claims:
        throttle().end(turn)
        return tally, max(nap, _LEAST_NAP_S)
    wishes = [Wish(claim.device_id, claim.school_id, claim.platform, claim.payload_bytes) for claim in claims]
    decision = throttle().ask(lane, wishes, turn=turn)
    granted = [claim for claim, yes in zip(claims, decision.granted, strict=True) if yes]
    if len(granted) < len(claims):
        _turn_away(lane, claims, decision)
        tally["throttled"] = len(claims) - len(granted)
        nap = max(nap, _LEAST_NAP_S, 0.0 if granted else min(_RACE_S, *decision.waits))
    if granted:
        _send(lane, granted, decision.ticket, tally)
    return tally, nap


def _claimed(lane: Lane, limit: int) -> tuple[list[Claim], float, str]:
    """Lease what there is room for; also returns seconds until there may be room again, 0 when all had, and the turn.

    Urgent work is leased as it comes. For the rest it is asked first how much room each school has, because to lease
    and give back costs as much as to send.
    """
    if lane is Lane.URGENT:
        with db.transaction() as session:
            claims = wakeups.claim_due(session, lane, limit=limit, lease_s=LEASE_S)
        return claims, 0.0 if len(claims) == limit else _LEAST_NAP_S, ""
    with db.transaction() as session:
        schools = turns.waiting(session, lane)
    if not schools:
        return [], 0.0, ""
    places.tidy(throttle())
    rooms = throttle().rooms(lane, schools, WAKEABLE)
    dealt = dealing.deal(lane, schools, rooms, limit)
    if not dealt:
        return [], max(rooms.wait, rooms.pace), rooms.turn
    with db.transaction() as session:
        claims = turns.claim(session, lane, dealt, lease_s=LEASE_S)
    dealing.note_barren(lane, dealt, {claim.school_id for claim in claims})
    # Less room than one batch: rest until a good part of it is there again, instead of going for each permit.
    total = sum(turn.count for turn in dealt)
    used_up = total < limit and len(claims) >= total
    return claims, max(rooms.wait, rooms.pace) if used_up else 0.0, rooms.turn


def _turn_away(lane: Lane, claims: Sequence[Claim], decision: Decision) -> None:
    """Give back what got no permit, at its old place in the queue.

    A school whose next payload must wait for bytes or for a place is passed over so long, but for what weighs nothing.
    A tablet that was itself woken too often is put off: for it, the others had room.
    """
    back, waits = [], []
    for claim, yes, wait, own in zip(claims, decision.granted, decision.waits, decision.own, strict=True):
        if yes:
            continue
        if own:
            waits.append((claim, min(wait, _OWN_WAIT_S)))
            continue
        back.append(claim)
        if claim.payload_bytes:
            dealing.note_heavy(lane, claim.school_id, wait)
    with db.transaction() as session:
        wakeups.defer(session, waits)
        turns.give_back(session, back)


def _send(lane: Lane, granted: Sequence[Claim], ticket: Ticket | None, tally: Counter[str]) -> None:
    """Send what was granted, tell the throttle at once, and settle."""
    results: list[tuple[Claim, Result]] = []
    for platform, group in _by_platform(granted).items():
        results += zip(group, transport_of(platform).wake(group), strict=True)
    verdicts = {claim.device_id: result.verdict for claim, result in results}
    throttle().answered(ticket, [verdicts[claim.device_id] is not Verdict.UNSENT for claim in granted])
    with db.transaction() as session:
        woken = wakeups.settle(session, results)
        waking.mark_sent(session, woken)
    for platform in _by_platform(granted):
        _heed(lane, platform, [(claim, result) for claim, result in results if claim.platform is platform])
    tally.update(result.verdict.value for _, result in results)


def _by_platform(claims: Iterable[Claim]) -> dict[Platform, list[Claim]]:
    groups: defaultdict[Platform, list[Claim]] = defaultdict(list)
    for claim in claims:
        groups[claim.platform].append(claim)
    return groups


def _heed(lane: Lane, platform: Platform, results: Sequence[tuple[Claim, Result]]) -> None:
    """Draw the lane-wide conclusions: patience where it was asked for."""
    unsent = sum(result.verdict is Verdict.UNSENT for _, result in results)
    broken = [result.reason for _, result in results if result.verdict is Verdict.BROKEN]
    if broken:
        _log.error("push_refused_for_all", reason=broken[0], lane=lane.name.lower(), count=len(broken))
        for each in Lane:
            throttle().pause(each, platform, _BROKEN_PAUSE_S)
        return
    later = [result for _, result in results if result.verdict is Verdict.LATER]
    if unsent and unsent == len(results):
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
