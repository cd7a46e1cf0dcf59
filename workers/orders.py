"""Which buckets a wake-up passes: fleet, provider, school, the tablet's own, the school's bytes and places. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mdm.devices.models import Lane
from mdm.limits.limits import Limits
from mdm.limits.values import Name, Rate
from mdm.platform import Platform
from workers.gcra import Ask, Asked, Bucket, Slots

_BULK_SHARE: Final = 0.5
"""Bulk may use this part of a bucket's burst, so that it never takes the last permit from normal work."""
OWN: Final = "device:"
"""How the names of tablets' own buckets begin."""
_TRUE: Final = 0.999
"""Of a rate, what is given out: the clock that measures us need not run exactly like Valkey's."""
_SHORTEST_PACE_S: Final = 0.02
_LONGEST_PACE_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Wish:
    """A tablet that somebody wants to wake, and what that will make it fetch."""

    device_id: int
    school_id: int
    platform: Platform
    payload_bytes: int = 0


class Orders:
    """Collects the buckets of a batch, each once. A limit of rate 0 is no bucket."""

    def __init__(self, lane: Lane, limits: Limits, minute: int) -> None:
        self.buckets: list[Bucket] = []
        self.slots: list[Slots] = []
        self._limits = limits
        self._minute = minute
        self._share = _BULK_SHARE if lane is Lane.BULK else 1.0
        self._lane = lane
        self._places: dict[str, int | None] = {}

    def fleet(self) -> int | None:
        """Return the place of the fleet's bucket, None without a limit; likewise those below."""
        return self._shared("fleet", self._limits.rate(Name.FLEET))

    def provider(self, platform: Platform) -> int | None:
        """Return the push service's."""
        return self._shared(f"provider:{platform}", self._limits.provider(platform))

    def school(self, school_id: int) -> int | None:
        """Return the school's."""
        return self._shared(f"school:{school_id}", self._limits.school(school_id))

    def school_bytes(self, school_id: int) -> int | None:
        """Return the school's in bytes, at this time of day."""
        name = f"bytes:{school_id}"
        if name not in self._places:
            rate, burst = self._limits.school_bytes(school_id).at(self._minute)
            self._add(name, rate, burst)
        return self._places[name]

    def downloads(self, school_id: int) -> int | None:
        """Return the school's places for big downloads."""
        name = str(school_id)
        if f"slots:{name}" not in self._places:
            limit = self._limits.school_downloads(school_id)
            self._places[f"slots:{name}"] = len(self.slots) if limit.at_once else None
            if limit.at_once:
                self.slots.append(Slots(name, limit.at_once, limit.minutes * 60_000_000))
        return self._places[f"slots:{name}"]

    def big_from(self, school_id: int) -> int:
        """Return the bytes from which a download of this school is big."""
        return self._limits.school_downloads(school_id).big_from_bytes

    def asked(self, wishes: Iterable[Wish]) -> Asked:
        """Return the whole batch as it is decided."""
        return Asked(self.buckets, self.slots, [self._ask(wish) for wish in wishes])

    def _ask(self, wish: Wish) -> Ask:
        chain = _chain(self.fleet(), self.provider(wish.platform), self.school(wish.school_id))
        if self._lane is Lane.URGENT:
            # The reserve first; when it is used up, what the ordinary chain has. No tablet's own limit, no weight.
            return Ask([_chain(self._reserve()), chain])
        chain += _chain(self._own(wish.device_id))
        slots = None
        if wish.payload_bytes > 0:
            bytes_ = self.school_bytes(wish.school_id)
            chain += [] if bytes_ is None else [(bytes_, float(wish.payload_bytes))]
            slots = self.downloads(wish.school_id) if wish.payload_bytes >= self.big_from(wish.school_id) else None
        return Ask([chain], slots, str(wish.device_id))

    def _reserve(self) -> int | None:
        rate = self._limits.rate(Name.URGENT)
        return self._once("urgent", rate.per_s, rate.burst)

    def _own(self, device_id: int) -> int | None:
        rate = self._limits.rate(Name.DEVICE)
        return self._once(f"{OWN}{device_id}", rate.per_s, rate.burst)

    def _shared(self, name: str, rate: Rate) -> int | None:
        return self._once(name, rate.per_s, max(1, int(rate.burst * self._share)))

    def _once(self, name: str, rate: float, burst: float) -> int | None:
        if name not in self._places:
            self._add(name, rate, burst)
        return self._places[name]

    def _add(self, name: str, rate: float, burst: float) -> None:
        self._places[name] = len(self.buckets) if rate > 0 else None
        if rate > 0:
            self.buckets.append(Bucket(name, rate * _TRUE, burst))


def pace_s(buckets: Iterable[Bucket]) -> float:
    """Return seconds in which no bucket refills by more than a quarter: who looks so often wastes no permit."""
    quarter = min((bucket.burst / bucket.rate / 4 for bucket in buckets), default=0.0)
    return min(max(quarter, _SHORTEST_PACE_S), _LONGEST_PACE_S)


def _chain(*places: int | None) -> list[tuple[int, float]]:
    return [(place, 1.0) for place in places if place is not None]
