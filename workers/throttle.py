"""How fast tablets are woken: asks Valkey for whole batches at once, and tells it what became of them.

It never waits and never sends. What may happen without Valkey is decided here too: nothing in bulk, little otherwise,
all that is urgent.
"""

import json
import math
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast
from uuid import uuid4

import redis
import structlog

from mdm.devices.models import Lane
from mdm.platform import Platform
from workers import gcra, throttle_script
from workers.current import Source
from workers.gcra import Asked, Bucket, Meter
from workers.orders import OWN, Orders, Wish, pace_s
from workers.throttle_script import PREFIX

_log = structlog.get_logger(__name__)

HOLD_S: Final = 12.0
"""A batch whose asker has died counts as sent after this. A push that takes longer has hung; the bound does not hold
for it, and that is all: the next ones find the permit used."""
_LOCAL: Final = Bucket("local", 5.0, 5.0)
_BLIND_S: Final = 1.0
"""How long Valkey is left alone after it failed to answer."""
_TURN_MS: Final = 250
"""Longer than it takes to claim what there is room for; else two may go for the same permits, and one comes back."""
_TURN_WAIT_S: Final = 0.02
_PLENTY: Final = 10**9


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a batch holds until its outcome is told: of each granted tablet, the meters that paid and its place."""

    batch: str
    paid: Sequence[Sequence[tuple[str, float]]]
    places: Sequence[tuple[str, str] | None]


@dataclass(frozen=True, slots=True)
class Decision:
    """For each tablet asked about: may it be woken now, and if not, seconds until that may be worth another try.

    `own`: it is its own limit that it has to wait for, not one that it shares.
    """

    granted: tuple[bool, ...]
    waits: tuple[float, ...]
    own: tuple[bool, ...]
    ticket: Ticket | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """What a school may be claimed for: so many tablets, so many bytes, and only payloads below a size; None: any."""

    count: int
    bytes: float | None = None
    below: int | None = None


@dataclass(frozen=True, slots=True)
class Rooms:
    """What all may be claimed for together and by school; seconds until there is more, and between two looks.

    `turn` is nobody else's until it is used in `ask` or ended, or a quarter of a second has passed.
    """

    total: int
    schools: Mapping[int, Room]
    wait: float = 0.0
    pace: float = 0.0
    turn: str = ""


@dataclass(slots=True)
class _Local:
    """What this process knows by itself."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    blind_until: float = 0.0
    meter: Meter = field(default_factory=lambda: Meter(0.0, 0.0, 0.0, _LOCAL.rate))
    paused: dict[str, float] = field(default_factory=dict)


class Throttle:
    """The limits of one process. Thread-safe; Valkey decides, and while it is gone this process does, more tightly."""

    def __init__(self, client: redis.Redis, source: Source) -> None:
        self._client = client
        self._source = source
        self._ask = client.register_script(throttle_script.ASK)
        self._answered = client.register_script(throttle_script.ANSWERED)
        self._look = client.register_script(throttle_script.LOOK)
        self._holders = client.register_script(throttle_script.HOLDERS)
        self._local = _Local()

    def rooms(self, lane: Lane, school_ids: Sequence[int], platforms: Iterable[Platform]) -> Rooms:
        """Return how many wake-ups of each school have room now: a hint for claiming, not a grant.

        One at a time of all processes is given any room, so that they do not claim for the same permits.
        """
        orders = Orders(lane, *self._source())
        fleet, providers = orders.fleet(), [orders.provider(platform) for platform in platforms]
        parts = {
            school: (orders.school(school), orders.school_bytes(school), orders.downloads(school))
            for school in school_ids
        }
        try:
            look = self._looked(orders)
        except redis.RedisError as error:
            self._went_blind(error)
            return self._local_rooms(lane, school_ids)
        if look is None:
            return Rooms(0, {school: Room(0) for school in school_ids}, wait=_TURN_WAIT_S)
        total = min(look.count(fleet), max(map(look.count, providers), default=0))
        schools = {
            school: Room(look.count(count), look.bytes(weight), orders.big_from(school) if look.full(slots) else None)
            for school, (count, weight, slots) in parts.items()
        }
        shared = max(look.wait(fleet), min(map(look.wait, providers), default=0.0))
        wait = max(shared, min((look.wait(count) for count, _, _ in parts.values()), default=0.0))
        return Rooms(total, schools, wait, pace_s(orders.buckets), look.turn)

    def ask(self, lane: Lane, wishes: Sequence[Wish], *, turn: str = "") -> Decision:
        """Ask to wake these tablets, whatever their schools. Each is granted by all its buckets or by none, in order.

        Tell the outcome with `answered`: until then the permits are held. Ends the turn of a look before.
        """
        if not wishes:
            self.end(turn)
            return Decision((), (), ())
        asked = Orders(lane, *self._source()).asked(wishes)
        try:
            return self._decided(asked, turn)
        except redis.RedisError as error:
            self._went_blind(error)
            return self._ask_locally(lane, len(wishes))

    def end(self, turn: str) -> None:
        """End the turn of a look after which nothing is asked."""
        if turn:
            self._tell("", [], [], turn)

    def answered(self, ticket: Ticket | None, sent: Sequence[bool]) -> None:
        """Tell for each granted tablet whether its wake-up may have left; what certainly did not costs nothing.

        Best effort: what is not told counts as sent after `HOLD_S`.
        """
        if ticket is None or not ticket.paid:
            return
        meters: dict[str, list[float]] = {}
        for left, paid in zip(sent, ticket.paid, strict=True):
            for name, cost in paid:
                meters.setdefault(name, [0.0, 0.0])[0 if left else 1] += cost
        places = [place for left, place in zip(sent, ticket.places, strict=True) if place is not None and not left]
        self._tell(ticket.batch, [[name, *amounts] for name, amounts in meters.items()], places)

    def holders(self) -> dict[int, list[int]]:
        """Return the tablets that hold a place for a big download, by school."""
        try:
            if self._is_blind():
                return {}
            found = cast("list[tuple[bytes, list[bytes]]]", self._holders(keys=[PREFIX]))
        except redis.RedisError as error:
            self._went_blind(error)
            return {}
        return {int(school): [int(holder) for holder in holders] for school, holders in found}

    def big_from(self, school_id: int) -> int:
        """Return the bytes from which a download of this school is big."""
        return Orders(Lane.BULK, *self._source()).big_from(school_id)

    def give_back(self, places: Sequence[tuple[int, int]]) -> None:
        """Take tablets, as (school, tablet), off the places they hold: they have what they were woken for."""
        if places:
            self._tell("", [], [(str(school), str(device)) for school, device in places])

    def pause(self, lane: Lane, platform: Platform, seconds: float) -> None:
        """Hold a lane of one provider back, for every process when Valkey is there, else for this one."""
        name = f"pause:{platform}:{int(lane)}"
        with self._local.lock:
            self._local.paused[name] = max(self._local.paused.get(name, 0.0), time.monotonic() + seconds)
        try:
            if not self._is_blind():
                self._client.set(PREFIX + name, "1", px=max(1, int(seconds * 1000)))
        except redis.RedisError as error:
            self._went_blind(error)

    def paused_for(self, lane: Lane, platform: Platform) -> float:
        """Seconds for which a lane is held back; 0 when it is free."""
        name = f"pause:{platform}:{int(lane)}"
        with self._local.lock:
            left = max(0.0, self._local.paused.get(name, 0.0) - time.monotonic())
        try:
            if not self._is_blind():
                left = max(left, self._client.pttl(PREFIX + name) / 1000)
        except redis.RedisError as error:
            self._went_blind(error)
        return left

    def close(self) -> None:
        """Close the connections to Valkey."""
        self._client.close()

    def _looked(self, orders: Orders) -> "_Look | None":
        if self._is_blind():
            raise redis.ConnectionError("left alone for a moment")
        if not orders.buckets and not orders.slots:
            return _Look([], [], [], "")
        document = [_plain(orders.buckets), [[slots.name, slots.places] for slots in orders.slots]]
        turn = uuid4().hex
        answer = self._look(keys=[PREFIX], args=[turn, _HOLD_US, json.dumps(document), _TURN_MS])
        if not answer:
            return None
        rooms, waits, free = answer
        return _Look([float(room) for room in rooms], [int(wait) / 1e6 for wait in waits], list(map(int, free)), turn)

    def _decided(self, asked: Asked, turn: str) -> Decision:
        if self._is_blind():
            raise redis.ConnectionError("left alone for a moment")
        batch = uuid4().hex
        slots = [[each.name, each.places, each.hold_us] for each in asked.slots]
        asks = [
            [
                [[part for index, cost in chain for part in (index + 1, cost)] for chain in ask.chains],
                0 if ask.slots is None else ask.slots + 1,
                ask.holder,
            ]
            for ask in asked.asks
        ]
        document = json.dumps([_plain(asked.buckets), slots, asks])
        chosen, waits, causes = self._ask(keys=[PREFIX], args=[batch, _HOLD_US, document, turn])
        pairs = [(ask, number) for ask, number in zip(asked.asks, chosen, strict=True) if number]
        paid = [[(asked.buckets[index].name, cost) for index, cost in ask.chains[n - 1]] for ask, n in pairs]
        places = [None if ask.slots is None else (asked.slots[ask.slots].name, ask.holder) for ask, _ in pairs]
        slow = [
            max(wait / 1e6, pace_s([asked.buckets[n - 1]])) if n else wait / 1e6
            for wait, n in zip(waits, causes, strict=True)
        ]
        own = tuple(cause > 0 and asked.buckets[cause - 1].name.startswith(OWN) for cause in causes)
        granted = tuple(number > 0 for number in chosen)
        return Decision(granted, tuple(slow), own, Ticket(batch, paid, places))

    def _tell(self, batch: str, meters: list[list[Any]], places: Sequence[tuple[str, str]], turn: str = "") -> None:
        try:
            if not self._is_blind():
                self._answered(keys=[PREFIX], args=[batch, _HOLD_US, json.dumps([meters, places]), turn])
        except redis.RedisError as error:
            self._went_blind(error)

    def _ask_locally(self, lane: Lane, count: int) -> Decision:
        """Without Valkey: urgent all, bulk none, normal a trickle of this process's own."""
        if lane is Lane.URGENT:
            return Decision((True,) * count, (0.0,) * count, (False,) * count)
        if lane is Lane.BULK:
            return Decision((False,) * count, (5.0,) * count, (False,) * count)
        with self._local.lock:
            meter = gcra.run_off(self._local.meter, _LOCAL, time.monotonic() * 1e6)
            granted = min(count, math.floor(gcra.room(meter, _LOCAL) + 1e-6))
            self._local.meter = Meter(meter.level + granted, 0.0, meter.at_us, meter.rate)
        refused = count - granted
        waits = (0.0,) * granted + (1 / _LOCAL.rate,) * refused
        return Decision((True,) * granted + (False,) * refused, waits, (False,) * count)

    def _local_rooms(self, lane: Lane, school_ids: Sequence[int]) -> Rooms:
        if lane is Lane.BULK:
            return Rooms(0, {}, wait=1.0)
        with self._local.lock:
            meter = gcra.run_off(self._local.meter, _LOCAL, time.monotonic() * 1e6)
        total = math.floor(gcra.room(meter, _LOCAL) + 1e-6)
        wait = gcra.wait_s(meter, _LOCAL, 1.0)
        return Rooms(total, {school: Room(total) for school in school_ids}, wait, 1 / _LOCAL.rate)

    def _is_blind(self) -> bool:
        with self._local.lock:
            return time.monotonic() < self._local.blind_until

    def _went_blind(self, error: Exception) -> None:
        with self._local.lock:
            news = time.monotonic() >= self._local.blind_until
            if news:
                self._local.blind_until = time.monotonic() + _BLIND_S
        if news:
            _log.warning("throttle_blind", error=type(error).__name__)


_HOLD_US: Final = int(HOLD_S * 1e6)


@dataclass(frozen=True, slots=True)
class _Look:
    """The answer of a look, by place; None is the place of no limit."""

    rooms: list[float]
    waits: list[float]
    free: list[int]
    turn: str

    def count(self, place: int | None) -> int:
        return _PLENTY if place is None else math.floor(self.rooms[place] + 1e-6)

    def bytes(self, place: int | None) -> float | None:
        return None if place is None else self.rooms[place]

    def wait(self, place: int | None) -> float:
        return 0.0 if place is None else self.waits[place]

    def full(self, place: int | None) -> bool:
        return place is not None and self.free[place] <= 0


def _plain(buckets: Sequence[Bucket]) -> list[list[Any]]:
    return [[bucket.name, bucket.rate, bucket.burst] for bucket in buckets]


def connect(url: str) -> redis.Redis:
    """Open a client that gives up soon: a slow decision is worse than a tight one."""
    return redis.Redis.from_url(url, socket_timeout=1.0, socket_connect_timeout=0.5, health_check_interval=10)
