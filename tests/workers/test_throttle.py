"""The throttle on a real Valkey: whole batches, many askers, bytes, places; and its conduct without one."""

import threading
import time

import pytest
import redis

from mdm.devices.models import Lane
from mdm.embedded import free_port
from mdm.limits import values
from mdm.limits.limits import Limits
from mdm.limits.values import ByteRate, Downloads, Name, Rate
from mdm.platform import Platform
from mdm.settings import ThrottleSettings
from workers import throttle_script
from workers.orders import Wish
from workers.throttle import Throttle, connect

FREE = {"fleet_per_s": 0, "provider_per_s": 0, "school_per_s": 0, "device_per_s": 0}
SHUT = 0.01
"""A rate at which nothing comes back while a test runs."""


def limits(of_schools=None, **changes):
    first = values.first_values(ThrottleSettings(**(FREE | changes)))
    return Limits({name: values.stored(name, value) for name, value in first.items()}, of_schools or {})


@pytest.fixture
def throttle(valkey):
    made = []

    def make(of_schools=None, minute=0, **changes):
        held = limits(of_schools, **changes)
        made.append(Throttle(connect(valkey), lambda: (held, minute)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def wishes(ids, school=1, payload=0):
    return [Wish(one, school, Platform.APPLE, payload) for one in ids]


def granted(throttle, ids, lane=Lane.NORMAL, school=1, payload=0):
    """Ask, and have all that was granted sent and answered; returns who may go."""
    decision = throttle.ask(lane, wishes(ids, school, payload))
    throttle.answered(decision.ticket, [True] * sum(decision.granted))
    return [one for one, yes in zip(ids, decision.granted, strict=True) if yes]


def look(throttle, *schools, lane=Lane.NORMAL):
    """Look for room and claim nothing."""
    rooms = throttle.rooms(lane, schools, [Platform.APPLE])
    throttle.end(rooms.turn)
    return rooms


def test_a_burst_is_granted_and_the_rest_told_how_long(throttle):
    """Ask for 50 of a school with burst 30: the first 30 go, and the others are told when it may be worth asking."""
    chain = throttle(school_per_s=10, school_burst=30)
    decision = chain.ask(Lane.NORMAL, wishes(range(50)))
    assert decision.granted == (True,) * 30 + (False,) * 20
    assert all(0.05 < wait <= 0.3 for wait in decision.waits[30:])
    assert len(granted(chain, range(30), school=2)) == 30, "another school is another bucket"


def test_one_call_decides_for_many_schools(throttle):
    """A batch over schools is decided at once: each school's own bucket, all or none over the chain."""
    own = {(Name.SCHOOL, 2): Rate(per_s=SHUT, burst=1)}
    chain = throttle(own, fleet_per_s=SHUT, fleet_burst=6, school_per_s=SHUT, school_burst=4)
    mixed = [Wish(one, 1 + one % 3, Platform.APPLE) for one in range(12)]
    decision = chain.ask(Lane.NORMAL, mixed)
    by_school = dict.fromkeys((1, 2, 3), 0)
    for wish, yes in zip(mixed, decision.granted, strict=True):
        by_school[wish.school_id] += yes
    assert by_school[2] == 1
    assert sum(by_school.values()) == 6
    assert max(by_school.values()) <= 4


def test_the_tightest_bucket_decides_and_no_other_pays_more(throttle):
    """Five granted by the fleet cost the school five, not the twenty that were asked for."""
    assert len(granted(throttle(fleet_per_s=SHUT, fleet_burst=5, school_per_s=SHUT, school_burst=8), range(20))) == 5
    assert len(granted(throttle(school_per_s=SHUT, school_burst=8), range(100, 120))) == 3


def test_one_tablet_is_not_woken_again_and_again(throttle):
    """A tablet's own bucket refuses it, says that it is its own, and costs the shared ones nothing."""
    chain = throttle(device_per_s=SHUT, device_burst=2, fleet_per_s=SHUT, fleet_burst=4)
    assert [granted(chain, [7]) for _ in range(3)] == [[7], [7], []]
    decision = chain.ask(Lane.NORMAL, wishes([7, 8, 9]))
    assert (decision.granted, decision.own) == ((False, True, True), (True, False, False))


def test_what_never_left_costs_nothing(throttle):
    """Permits of wake-ups that certainly were not sent are back at once, in every bucket that paid."""
    chain = throttle(fleet_per_s=SHUT, fleet_burst=5, device_per_s=SHUT, device_burst=1)
    decision = chain.ask(Lane.NORMAL, wishes(range(5)))
    assert granted(chain, range(5, 9)) == []
    chain.answered(decision.ticket, [False, False, True, True, True])
    assert granted(chain, range(5)) == [0, 1]
    chain.answered(decision.ticket, [False] * 5)
    assert granted(chain, range(5)) == [], "an outcome told twice counts once"


def test_a_permit_is_held_until_its_push_is_answered(throttle):
    """What is in flight does not run off: the push service may see it late, and the next ones right behind."""
    chain = throttle(fleet_per_s=100, fleet_burst=5)
    decision = chain.ask(Lane.NORMAL, wishes(range(5)))
    time.sleep(0.2)
    assert granted(chain, range(5, 10)) == []
    chain.answered(decision.ticket, [True] * 5)
    assert len(granted(chain, range(5, 10))) < 5
    time.sleep(0.1)
    assert granted(chain, range(10, 15)) != []


def test_a_batch_whose_asker_died_counts_as_sent(throttle, monkeypatch):
    """Permits that nobody answers for run off after a while instead of being held for ever."""
    monkeypatch.setattr("workers.throttle._HOLD_US", 300_000)
    chain = throttle(fleet_per_s=100, fleet_burst=5)
    chain.ask(Lane.NORMAL, wishes(range(5)))
    until = time.monotonic() + 20
    while not look(chain, 1).total:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_urgent_has_its_reserve_beside_a_full_chain(throttle):
    """Bulk and normal may be exhausted: urgent still goes, by its reserve and then by what the chain has."""
    chain = throttle(fleet_per_s=SHUT, fleet_burst=3, urgent_per_s=SHUT, urgent_burst=4)
    assert len(granted(chain, range(9), Lane.URGENT)) == 4 + 3
    assert granted(chain, range(9)) == []
    full = throttle(fleet_per_s=SHUT, fleet_burst=3, urgent_per_s=0)
    assert len(granted(full, range(9), Lane.URGENT)) == 9


def test_bulk_leaves_normal_its_share(throttle):
    """Bulk stops at half of the burst; normal finds the other half."""
    chain = throttle(fleet_per_s=SHUT, fleet_burst=20)
    assert len(granted(chain, range(50), Lane.BULK)) == 10
    assert len(granted(chain, range(50))) == 10


def test_bytes_of_a_school_by_time_of_day(throttle):
    """In class hours less is fetched than at night; what weighs nothing is not concerned, nor are other schools."""
    own = {(Name.SCHOOL_BYTES, 1): ByteRate(bands={"08:15-15:45": SHUT, "else": 0}, burst=2500)}
    noon, night = throttle(own, minute=12 * 60), throttle(own, minute=20 * 60)
    assert granted(noon, range(5), payload=1000) == [0, 1]
    assert granted(noon, range(5)) == list(range(5))
    assert granted(noon, range(5), school=2, payload=1000) == list(range(5))
    assert granted(night, range(5), payload=1000) == list(range(5))
    room = look(noon, 1, 2, lane=Lane.BULK)
    assert (room.schools[1].bytes, room.schools[2].bytes) == (pytest.approx(500, abs=1), None)


def test_what_is_heavier_than_a_school_may_fetch_at_once_goes_alone(throttle):
    """A payload above the burst goes when the school is idle, and not again soon."""
    own = {(Name.SCHOOL_BYTES, 1): ByteRate(bands={"else": 1000}, burst=2000)}
    chain = throttle(own)
    assert granted(chain, range(3), payload=9000) == [0]
    assert granted(chain, range(3), payload=100) == []


def test_places_for_big_downloads(throttle):
    """So many tablets of a school fetch something big at once; places come back when a tablet is through."""
    own = {(Name.SCHOOL_DOWNLOADS, 1): Downloads(at_once=2, big_from_bytes=1000)}
    chain = throttle(own)
    assert granted(chain, range(5), payload=1000) == [0, 1]
    assert granted(chain, [1, 2], payload=1000) == [1], "who has a place keeps it"
    assert granted(chain, range(5), payload=999) == list(range(5))
    assert granted(chain, range(5), school=2, payload=1000) == list(range(5))
    assert chain.holders() == {1: [0, 1]}
    assert look(chain, 1, lane=Lane.BULK).schools[1].below == 1000
    chain.give_back([(1, 0)])
    assert granted(chain, range(2, 5), payload=1000) == [2]


def test_a_place_is_back_when_the_push_never_left(throttle):
    """A tablet that was not woken fetches nothing."""
    chain = throttle(school_downloads=1, big_from_bytes=10)
    decision = chain.ask(Lane.BULK, wishes([1], payload=10))
    assert granted(chain, [2], payload=10) == []
    chain.answered(decision.ticket, [False])
    assert granted(chain, [2], payload=10) == [2]


def test_a_place_that_nobody_gives_back_runs_out(throttle, valkey):
    """A tablet that is never heard again does not keep its place for ever."""
    chain = throttle(school_downloads=1, big_from_bytes=10)
    assert granted(chain, [1], payload=10) == [1]
    with redis.Redis.from_url(valkey) as client:
        assert 14 * 60 < client.ttl(f"{throttle_script.PREFIX}slots:1") <= 15 * 60 + 1
        client.zadd(f"{throttle_script.PREFIX}slots:1", {"1": 1})  # as if its time were over
    assert granted(chain, [2], payload=10) == [2]


def test_rooms_say_what_may_be_claimed(throttle):
    """A look costs nothing and tells the room of all and of each school, and when there will be more."""
    own = {(Name.SCHOOL, 2): Rate(per_s=SHUT, burst=2)}
    chain = throttle(own, fleet_per_s=10, fleet_burst=7, school_per_s=10, school_burst=5)
    for _ in range(2):
        rooms = look(chain, 1, 2)
        assert (rooms.total, rooms.schools[1].count, rooms.schools[2].count, rooms.wait) == (7, 5, 2, 0)
    assert len(granted(chain, range(5), school=1)) == 5
    assert look(chain, 1).schools[1].count == 0
    assert 0 < look(chain, 1).wait <= 0.11


def test_one_at_a_time_is_told_of_room(throttle):
    """Who looks while another has looked and not yet asked is told of none, and to come back in a moment."""
    chain, other = throttle(fleet_per_s=10, fleet_burst=7), throttle(fleet_per_s=10, fleet_burst=7)
    rooms = chain.rooms(Lane.NORMAL, [1], [Platform.APPLE])
    assert rooms.total == 7
    none = look(other, 1)
    assert (none.total, none.schools[1].count) == (0, 0)
    assert 0 < none.wait < 0.1
    chain.ask(Lane.NORMAL, wishes(range(5)), turn=rooms.turn)
    assert look(other, 1).total == 2
    lost = chain.rooms(Lane.NORMAL, [1], [Platform.APPLE])
    until = time.monotonic() + 20
    while not look(other, 1).total:  # the turn of one who has died is over by itself
        assert time.monotonic() < until
        time.sleep(0.02)
    assert lost.total == 2


def test_many_askers_together_keep_the_bound(throttle):
    """Four threads ask as fast as they can for a second: no more than rate * t + burst in all."""
    chain = throttle(fleet_per_s=100, fleet_burst=20)
    started = time.monotonic()
    counts = [0] * 4

    def work(number):
        while time.monotonic() - started < 1.0:
            counts[number] += len(granted(chain, range(7)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - started
    assert 50 <= sum(counts) <= 100 * elapsed + 20


def test_keys_vanish_when_they_say_nothing_more(throttle, valkey):
    """A bucket at rest leaves no key behind for long, and a batch that was answered none at all."""
    granted(throttle(fleet_per_s=1000, fleet_burst=10), range(10))
    with redis.Redis.from_url(valkey) as client:
        lifetimes = {key: client.pttl(key) for key in client.keys("{tabane.throttle}:*")}
    assert set(lifetimes) == {b"{tabane.throttle}:meter:fleet"}
    assert all(0 < lifetime <= 1100 for lifetime in lifetimes.values())


def test_a_pause_holds_one_lane_back_in_every_process(throttle):
    """A pause made through one client is seen through another, for that lane only, and ends."""
    throttle().pause(Lane.BULK, Platform.APPLE, 2.0)
    other = throttle()
    assert 0 < other.paused_for(Lane.BULK, Platform.APPLE) <= 2.0
    assert other.paused_for(Lane.NORMAL, Platform.APPLE) == 0
    time.sleep(2.05)
    assert other.paused_for(Lane.BULK, Platform.APPLE) == 0


def test_without_valkey_urgent_goes_normal_trickles_bulk_stops():
    """The three lanes fail in three ways, and none of them takes long."""
    chain = Throttle(connect(f"redis://127.0.0.1:{free_port()}/0"), lambda: (limits(), 0))
    started = time.monotonic()
    assert all(chain.ask(Lane.URGENT, wishes(range(100))).granted)
    assert look(chain, 1).total == 5
    assert sum(chain.ask(Lane.NORMAL, wishes(range(100))).granted) == 5
    assert look(chain, 1).total == 0
    assert look(chain, 1, lane=Lane.BULK).total == 0
    assert not any(chain.ask(Lane.BULK, wishes(range(100))).granted)
    chain.pause(Lane.BULK, Platform.APPLE, 9)
    assert chain.paused_for(Lane.BULK, Platform.APPLE) > 8
    assert chain.holders() == {}
    assert time.monotonic() - started < 2
    chain.close()
