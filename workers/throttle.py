"""How fast tablets are woken: a chain of buckets (fleet, provider, school, device), decided at once on Valkey's clock.

The arithmetic is GCRA: a bucket admits at most rate * t + burst in any window of t seconds. It never waits and never
sends. What may happen without Valkey is decided here too: nothing in bulk, little otherwise, all that is urgent.
"""

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import redis
import structlog

from mdm.devices.models import Lane
from mdm.platform import Platform
from mdm.settings import ThrottleSettings

_log = structlog.get_logger(__name__)

_PREFIX: Final = "{tabane.throttle}:"
"""One hash tag: the keys of a decision live on one node."""
_BULK_SHARE: Final = 0.5
"""Bulk may use this part of a bucket's burst, so that it never takes the last permit from normal work."""
_LOCAL_PER_S: Final = 5.0
_LOCAL_BURST: Final = 5
_BLIND_S: Final = 1.0
"""How long Valkey is left alone after it failed to answer."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A limit: `rate` permits per second on the long run, `burst` at once. Rate 0 means no limit."""

    name: str
    rate: float
    burst: int

    @property
    def interval_us(self) -> float:
        """Microseconds one permit costs."""
        return 1e6 / self.rate


@dataclass(frozen=True, slots=True)
class Decision:
    """For each tablet asked about: may it be woken now; seconds until the next permit, and between permits."""

    granted: tuple[bool, ...]
    wait: float
    interval: float


def room(tat_us: float, now_us: float, bucket: Bucket) -> int:
    """How many permits a bucket has now; `tat_us` is its theoretical arrival time, both in microseconds."""
    free = now_us + bucket.burst * bucket.interval_us - max(tat_us, now_us)
    return max(0, math.floor(free / bucket.interval_us + 1e-9))


def charged(tat_us: float, now_us: float, bucket: Bucket, count: int) -> float:
    """The bucket's theoretical arrival time after `count` permits; a negative count gives permits back."""
    return max(tat_us, now_us) + count * bucket.interval_us if count >= 0 else tat_us + count * bucket.interval_us


def next_permit_us(tat_us: float, now_us: float, bucket: Bucket) -> float:
    """Microseconds until the bucket has a permit; 0 when it has one."""
    return max(0.0, max(tat_us, now_us) + bucket.interval_us - now_us - bucket.burst * bucket.interval_us)


_SCRIPT: Final = """
-- KEYS: the shared buckets, then one bucket per tablet. ARGV: number of shared buckets, then (interval, burst) of each
-- shared bucket, then of the tablets' buckets (interval 0: none). All or nothing over the chain, for each tablet.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local shared = tonumber(ARGV[1])
local tats, intervals, bursts = {}, {}, {}
local room, wait, slowest = math.huge, 0, 0
for i = 1, shared do
  intervals[i], bursts[i] = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  tats[i] = math.max(tonumber(redis.call('GET', KEYS[i]) or '0'), now)
  room = math.min(room, math.floor((now + bursts[i] * intervals[i] - tats[i]) / intervals[i] + 1e-9))
  slowest = math.max(slowest, intervals[i])
end
local own_interval, own_burst = tonumber(ARGV[2 * shared + 2]), tonumber(ARGV[2 * shared + 3])
local flags, granted = {}, 0
for i = shared + 1, #KEYS do
  local yes = granted < room
  if yes and own_interval > 0 then
    local tat = math.max(tonumber(redis.call('GET', KEYS[i]) or '0'), now)
    yes = tat + own_interval <= now + own_burst * own_interval
    if yes then
      local after = tat + own_interval
      redis.call('SET', KEYS[i], string.format('%.3f', after), 'PX', math.ceil((after - now) / 1000) + 1000)
    end
  end
  if yes then granted = granted + 1 end
  flags[#flags + 1] = yes and 1 or 0
end
for i = 1, shared do
  local after = tats[i] + granted * intervals[i]
  if granted > 0 then
    redis.call('SET', KEYS[i], string.format('%.3f', after), 'PX', math.ceil((after - now) / 1000) + 1000)
  end
  wait = math.max(wait, after + intervals[i] - now - bursts[i] * intervals[i])
end
return {flags, string.format('%.0f', wait), string.format('%.0f', slowest)}
"""

_REFUND: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
for i = 1, #KEYS do
  local tat = tonumber(redis.call('GET', KEYS[i]) or '0')
  local after = tat - tonumber(ARGV[i])
  if tat > now then
    if after <= now then redis.call('DEL', KEYS[i])
    else redis.call('SET', KEYS[i], string.format('%.3f', after), 'KEEPTTL') end
  end
end
return 1
"""


class Throttle:
    """The chain of one process. Thread-safe; Valkey decides, and while it is gone this process does, more tightly."""

    def __init__(self, client: redis.Redis, limits: ThrottleSettings) -> None:
        self._client = client
        self._limits = limits
        self._decide = client.register_script(_SCRIPT)
        self._give_back = client.register_script(_REFUND)
        self._lock = threading.Lock()
        self._blind_until = 0.0
        self._local_tat = 0.0
        self._paused: dict[str, float] = {}

    def ask(self, lane: Lane, platform: Platform, school_id: int, device_ids: Sequence[int]) -> Decision:
        """Ask to wake these tablets of one school. Each is granted by all buckets or by none; the first come first."""
        if not device_ids:
            return Decision((), 0.0, 0.0)
        try:
            return self._ask_valkey(lane, platform, school_id, device_ids)
        except redis.RedisError as error:
            self._went_blind(error)
            return self._ask_locally(lane, len(device_ids))

    def refund(self, lane: Lane, platform: Platform, school_id: int, device_ids: Sequence[int]) -> None:
        """Give back the permits of wake-ups that certainly did not leave. Best effort: a lost refund only slows."""
        shared, own = self._chain(lane, platform, school_id)
        keys = [_PREFIX + bucket.name for bucket in shared]
        amounts = [len(device_ids) * bucket.interval_us for bucket in shared]
        if own is not None:
            keys += [f"{_PREFIX}device:{device_id}" for device_id in device_ids]
            amounts += [own.interval_us] * len(device_ids)
        if not keys or self._is_blind():
            return
        try:
            self._give_back(keys=keys, args=amounts)
        except redis.RedisError as error:
            self._went_blind(error)

    def pause(self, lane: Lane, platform: Platform, seconds: float) -> None:
        """Hold a lane of one provider back, for every process when Valkey is there, else for this one."""
        name = f"pause:{platform}:{int(lane)}"
        with self._lock:
            self._paused[name] = max(self._paused.get(name, 0.0), time.monotonic() + seconds)
        try:
            if not self._is_blind():
                self._client.set(_PREFIX + name, "1", px=max(1, int(seconds * 1000)))
        except redis.RedisError as error:
            self._went_blind(error)

    def paused_for(self, lane: Lane, platform: Platform) -> float:
        """Seconds for which a lane is held back; 0 when it is free."""
        name = f"pause:{platform}:{int(lane)}"
        with self._lock:
            left = max(0.0, self._paused.get(name, 0.0) - time.monotonic())
        try:
            if not self._is_blind():
                left = max(left, self._client.pttl(_PREFIX + name) / 1000)
        except redis.RedisError as error:
            self._went_blind(error)
        return left

    def _ask_valkey(self, lane: Lane, platform: Platform, school_id: int, device_ids: Sequence[int]) -> Decision:
        if self._is_blind():
            raise redis.ConnectionError("left alone for a moment")
        shared, own = self._chain(lane, platform, school_id)
        decision = self._run(shared, own, device_ids)
        if lane is not Lane.URGENT or all(decision.granted):
            return decision
        # The reserve is used up: the rest may still go by the ordinary chain.
        rest = [device_id for device_id, yes in zip(device_ids, decision.granted, strict=True) if not yes]
        more = self._run(self._chain(Lane.NORMAL, platform, school_id)[0], None, rest)
        verdicts = iter(more.granted)
        granted = tuple(yes or next(verdicts) for yes in decision.granted)
        return Decision(granted, min(decision.wait, more.wait), min(decision.interval, more.interval))

    def _run(self, shared: Sequence[Bucket], own: Bucket | None, device_ids: Sequence[int]) -> Decision:
        keys = [_PREFIX + bucket.name for bucket in shared]
        keys += [f"{_PREFIX}device:{device_id}" for device_id in device_ids]
        arguments: list[float] = [len(shared)]
        for bucket in shared:
            arguments += [bucket.interval_us, bucket.burst]
        arguments += [own.interval_us, own.burst] if own is not None else [0, 0]
        flags, wait, slowest = cast("tuple[list[int], bytes, bytes]", self._decide(keys=keys, args=arguments))
        wait_s = max(0.0, int(wait) / 1e6)
        if own is not None and not all(flags) and wait_s == 0:
            wait_s = own.interval_us / 1e6  # only tablets' own buckets said no
        return Decision(tuple(bool(flag) for flag in flags), wait_s, int(slowest) / 1e6)

    def _chain(self, lane: Lane, platform: Platform, school_id: int) -> tuple[list[Bucket], Bucket | None]:
        limits = self._limits
        if lane is Lane.URGENT:
            shared = [Bucket("urgent", limits.urgent_per_s, limits.urgent_burst)]
            return [bucket for bucket in shared if bucket.rate > 0], None
        share = _BULK_SHARE if lane is Lane.BULK else 1.0
        shared = [
            Bucket("fleet", limits.fleet_per_s, max(1, int(limits.fleet_burst * share))),
            Bucket(f"provider:{platform}", limits.provider_per_s, max(1, int(limits.provider_burst * share))),
            Bucket(f"school:{school_id}", limits.school_per_s, max(1, int(limits.school_burst * share))),
        ]
        own = Bucket("device", limits.device_per_s, limits.device_burst)
        return [bucket for bucket in shared if bucket.rate > 0], own if own.rate > 0 else None

    def _ask_locally(self, lane: Lane, count: int) -> Decision:
        """Without Valkey: urgent all, bulk none, normal a trickle of this process's own."""
        if lane is Lane.URGENT:
            return Decision((True,) * count, 0.0, 0.0)
        if lane is Lane.BULK:
            return Decision((False,) * count, 5.0, 0.0)
        bucket = Bucket("local", _LOCAL_PER_S, _LOCAL_BURST)
        with self._lock:
            now = time.monotonic() * 1e6
            granted = min(count, room(self._local_tat, now, bucket))
            self._local_tat = charged(self._local_tat, now, bucket, granted)
            wait = next_permit_us(self._local_tat, now, bucket) / 1e6
        return Decision((True,) * granted + (False,) * (count - granted), wait, 1 / _LOCAL_PER_S)

    def _is_blind(self) -> bool:
        with self._lock:
            return time.monotonic() < self._blind_until

    def _went_blind(self, error: Exception) -> None:
        with self._lock:
            news = time.monotonic() >= self._blind_until
            if news:
                self._blind_until = time.monotonic() + _BLIND_S
        if news:
            _log.warning("throttle_blind", error=type(error).__name__)


def connect(url: str) -> redis.Redis:
    """Open a client that gives up soon: a slow decision is worse than a tight one."""
    return redis.Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=0.5, health_check_interval=10)
