"""The throttle: its arithmetic against the definition of GCRA, its script on a real Valkey, its conduct without one."""

import threading
import time

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from mdm.devices.models import Lane
from mdm.embedded import free_port
from mdm.platform import Platform
from mdm.settings import ThrottleSettings
from workers.throttle import Bucket, Throttle, charged, connect, next_permit_us, room

FREE = {"fleet_per_s": 0, "provider_per_s": 0, "school_per_s": 0, "device_per_s": 0}


def limits(**changes):
    return ThrottleSettings(**(FREE | changes))


@pytest.fixture
def throttle(valkey):
    made = []

    def make(**changes):
        client = connect(valkey)
        made.append(client)
        return Throttle(client, limits(**changes))

    yield make
    for client in made:
        client.close()


@given(
    rate=st.floats(0.1, 1000),
    burst=st.integers(1, 50),
    asks=st.lists(st.tuples(st.integers(0, 2_000_000), st.integers(1, 30)), max_size=30),
)
def test_no_window_exceeds_rate_times_time_plus_burst(rate, burst, asks):
    """Whatever is asked and when, each window of the grants holds at most rate * t + burst."""
    bucket = Bucket("any", rate, burst)
    tat, now, grants = 0.0, 1e9, []
    for pause, count in asks:
        now += pause
        given_now = min(count, room(tat, now, bucket))
        tat = charged(tat, now, bucket, given_now)
        grants += [now] * given_now
    for first in range(len(grants)):
        for last in range(first, len(grants)):
            window = (grants[last] - grants[first]) / 1e6
            assert last - first + 1 <= rate * window + burst + 1e-3


@given(rate=st.floats(0.1, 1000), burst=st.integers(1, 50), debt=st.floats(0, 1e7))
def test_the_next_permit_is_there_when_promised(rate, burst, debt):
    """After the wait that is named there is room, and shortly before there is none."""
    bucket, now = Bucket("any", rate, burst), 1e9
    wait = next_permit_us(now + debt, now, bucket)
    assert room(now + debt, now + wait + 0.01, bucket) >= 1
    if wait > 1:
        assert room(now + debt, now + wait * 0.99, bucket) == 0


def test_a_burst_is_granted_and_the_rest_told_how_long(throttle):
    """Ask for 50 of a school with burst 30 and 10/s: the first 30 go, the next permit comes in about 0.1 s."""
    chain = throttle(school_per_s=10, school_burst=30)
    decision = chain.ask(Lane.NORMAL, Platform.APPLE, 1, range(50))
    assert decision.granted == (True,) * 30 + (False,) * 20
    assert 0.05 < decision.wait <= 0.1
    assert decision.interval == pytest.approx(0.1)
    assert all(chain.ask(Lane.NORMAL, Platform.APPLE, 2, range(30)).granted), "another school is another bucket"


def test_the_tightest_bucket_decides_and_no_other_pays_more(throttle):
    """Five granted by the fleet cost the school five, not the twenty that were asked for."""
    chain = throttle(fleet_per_s=0.01, fleet_burst=5, school_per_s=0.01, school_burst=8)
    assert sum(chain.ask(Lane.NORMAL, Platform.APPLE, 1, range(20)).granted) == 5
    unbound = throttle(school_per_s=0.01, school_burst=8)
    assert sum(unbound.ask(Lane.NORMAL, Platform.APPLE, 1, range(100, 120)).granted) == 3


def test_one_tablet_is_not_woken_again_and_again(throttle):
    """A tablet's own bucket refuses it and costs the shared ones nothing."""
    chain = throttle(device_per_s=0.01, device_burst=2, fleet_per_s=0.01, fleet_burst=4)
    assert [chain.ask(Lane.NORMAL, Platform.APPLE, 1, [7]).granted for _ in range(3)] == [(True,), (True,), (False,)]
    assert chain.ask(Lane.NORMAL, Platform.APPLE, 1, [7, 8, 9]).granted == (False, True, True)


def test_a_refund_brings_permits_back(throttle):
    """What certainly did not leave may leave again."""
    chain = throttle(fleet_per_s=0.01, fleet_burst=5, device_per_s=0.01, device_burst=1)
    assert all(chain.ask(Lane.NORMAL, Platform.APPLE, 1, range(5)).granted)
    assert not any(chain.ask(Lane.NORMAL, Platform.APPLE, 1, range(5)).granted)
    chain.refund(Lane.NORMAL, Platform.APPLE, 1, [0, 1])
    assert chain.ask(Lane.NORMAL, Platform.APPLE, 1, range(5)).granted == (True, True, False, False, False)


def test_urgent_has_its_reserve_beside_a_full_chain(throttle):
    """Bulk and normal may be exhausted: urgent still goes, by its reserve and then by what the chain has."""
    chain = throttle(fleet_per_s=0.01, fleet_burst=3, urgent_per_s=0.01, urgent_burst=4)
    assert sum(chain.ask(Lane.NORMAL, Platform.APPLE, 1, range(9)).granted) == 3
    assert sum(chain.ask(Lane.URGENT, Platform.APPLE, 1, range(9)).granted) == 4


def test_bulk_leaves_normal_its_share(throttle):
    """Bulk stops at half of the burst; normal finds the other half."""
    chain = throttle(fleet_per_s=0.01, fleet_burst=20)
    assert sum(chain.ask(Lane.BULK, Platform.APPLE, 1, range(50)).granted) == 10
    assert sum(chain.ask(Lane.NORMAL, Platform.APPLE, 1, range(50)).granted) == 10


def test_many_askers_together_keep_the_bound(throttle):
    """Four threads ask as fast as they can for a second: no more than rate * t + burst in all."""
    chain = throttle(fleet_per_s=100, fleet_burst=20)
    started = time.monotonic()
    counts = [0] * 4

    def work(number):
        while time.monotonic() - started < 1.0:
            counts[number] += sum(chain.ask(Lane.NORMAL, Platform.APPLE, 1, range(7)).granted)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - started
    assert 50 <= sum(counts) <= 100 * elapsed + 20


def test_keys_vanish_when_they_say_nothing_more(throttle, valkey):
    """A bucket at rest leaves no key behind for long."""
    throttle(fleet_per_s=1000, fleet_burst=10).ask(Lane.NORMAL, Platform.APPLE, 1, range(10))
    with redis.Redis.from_url(valkey) as client:
        lifetimes = [client.pttl(key) for key in client.keys("{tabane.throttle}:*")]
    assert lifetimes
    assert all(0 < lifetime <= 1100 for lifetime in lifetimes)


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
    client = connect(f"redis://127.0.0.1:{free_port()}/0")
    chain = Throttle(client, limits())
    started = time.monotonic()
    assert all(chain.ask(Lane.URGENT, Platform.APPLE, 1, range(100)).granted)
    assert sum(chain.ask(Lane.NORMAL, Platform.APPLE, 1, range(100)).granted) == 5
    assert not any(chain.ask(Lane.BULK, Platform.APPLE, 1, range(100)).granted)
    chain.pause(Lane.BULK, Platform.APPLE, 9)
    assert chain.paused_for(Lane.BULK, Platform.APPLE) > 8
    assert time.monotonic() - started < 2
    client.close()
