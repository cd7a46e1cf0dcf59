"""The arithmetic of limits against their definition, and its twin in Lua against it."""

import json
import re

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workers import gcra, throttle_script
from workers.gcra import Ask, Asked, Books, Bucket, Slots

SECOND = 1_000_000
HOLD = 10 * SECOND

bucket_sets = st.lists(
    st.builds(lambda rate, burst: (rate, burst), st.integers(1, 50), st.integers(1, 40)), min_size=1, max_size=4
)


@st.composite
def stories(draw):
    """Buckets, and steps: time passes, a batch asks, and some of what is held is answered as sent or unsent."""
    rates = draw(bucket_sets)
    buckets = [Bucket(f"b{number}", float(rate), float(burst)) for number, (rate, burst) in enumerate(rates)]
    costs = st.sampled_from([1.0, 1.0, 1.0, 3.0, 17.0])
    chain = st.lists(st.tuples(st.integers(0, len(buckets) - 1), costs), max_size=3, unique_by=lambda pair: pair[0])
    ask = st.builds(
        Ask,
        st.lists(chain, min_size=1, max_size=2),
        st.sampled_from([None, None, 0]),
        st.sampled_from(["x", "y", "z"]),
    )
    step = st.tuples(
        st.sampled_from([0, 1000, 20_000, 333_333, SECOND, 5 * SECOND]),
        st.lists(ask, max_size=6),
        st.sampled_from(["nothing", "sent", "unsent", "half"]),
    )
    return buckets, draw(st.lists(step, max_size=12))


def taken(asked, verdicts):
    """What each ask pays, by bucket."""
    paid = []
    for ask, verdict in zip(asked.asks, verdicts, strict=True):
        if verdict.chain:
            paid.append({asked.buckets[index].name: cost for index, cost in ask.chains[verdict.chain - 1]})
    return paid


def summed(parts):
    total = {}
    for part in parts:
        for name, cost in part.items():
            total[name] = total.get(name, 0.0) + cost
    return total


@given(story=stories())
def test_no_window_exceeds_the_limit_whenever_pushes_arrive(story):
    """What is sent arrives at any moment between its grant and its answer: no window holds more than it may.

    A window may hold the burst, what runs off in it, and where one ask costs more than the burst, that one instead.
    """
    buckets, steps = story
    books, now, in_flight = Books(), 1e15, []
    arrivals = {bucket.name: [] for bucket in buckets}
    for number, (pause, asks, answer) in enumerate(steps):
        now += pause
        asked = Asked(buckets, [], [Ask(ask.chains) for ask in asks])
        in_flight += [(now, part) for part in taken(asked, gcra.decide(books, asked, now))]
        if answer == "nothing":
            continue
        gone = [] if answer == "unsent" else in_flight[:: 2 if answer == "half" else 1]
        back = [each for each in in_flight if not any(each is one for one in gone)]
        for granted, part in gone:
            for name, cost in part.items():  # as early or as late as can be: the worst for some window
                arrivals[name].append((granted if number % 2 else now, cost))
        gcra.answered(books, summed(p for _, p in gone), summed(p for _, p in back), now)
        in_flight = []
    for bucket in buckets:
        seen = sorted(arrivals[bucket.name])
        for first in range(len(seen)):
            for last in range(first, len(seen)):
                costs = [cost for _, cost in seen[first : last + 1]]
                window = (seen[last][0] - seen[first][0]) / SECOND
                assert sum(costs) <= bucket.rate * window + max(bucket.burst, *costs) + 1e-3


@given(rate=st.integers(1, 100), burst=st.integers(1, 50), used=st.integers(0, 80), cost=st.integers(1, 60))
def test_what_must_wait_fits_when_it_was_promised(rate, burst, used, cost):
    """After the wait that is named the cost fits, and shortly before it does not."""
    bucket = Bucket("any", float(rate), float(burst))
    meter = gcra.Meter(float(used), 0.0, 0.0, float(rate))
    wait = gcra.wait_s(meter, bucket, float(cost))
    assert gcra.fits(gcra.run_off(meter, bucket, wait * SECOND + 1), bucket, float(cost))
    if wait > 0.001:
        assert not gcra.fits(gcra.run_off(meter, bucket, (wait - 0.001) * SECOND), bucket, float(cost))


def test_a_new_rate_holds_at_once():
    """A bucket that was used up at a slow rate refills at the fast one from the moment that is set."""
    slow, fast = Bucket("b", 0.01, 10.0), Bucket("b", 100.0, 10.0)
    full = gcra.Meter(10.0, 0.0, 0.0, slow.rate)
    changed = gcra.run_off(full, fast, SECOND)
    assert gcra.room(changed, fast) == pytest.approx(0.01)
    assert gcra.room(gcra.run_off(changed, fast, 1.1 * SECOND), fast) == pytest.approx(10.0)


def test_what_is_heavier_than_the_burst_goes_when_the_bucket_is_idle():
    """It goes alone, is paid for in full, and what comes after waits for it."""
    bucket, books = Bucket("bytes", 10.0, 20.0), Books()
    heavy = Asked([bucket], [], [Ask([[(0, 50.0)]]), Ask([[(0, 1.0)]])])
    verdicts = gcra.decide(books, heavy, 0.0)
    assert [each.chain for each in verdicts] == [1, 0]
    gcra.answered(books, {"bytes": 50.0}, {}, 0.0)
    assert [each.chain for each in gcra.decide(books, heavy, 4.9 * SECOND)] == [0, 0]
    assert [each.chain for each in gcra.decide(books, heavy, 5.1 * SECOND)] == [1, 0]


def test_the_small_do_not_overtake_the_large():
    """Once a bucket has refused one of a batch, it refuses the rest, though the rest would fit."""
    bucket = Bucket("bytes", 10.0, 20.0)
    asked = Asked([bucket], [], [Ask([[(0, 15.0)]]), Ask([[(0, 15.0)]]), Ask([[(0, 1.0)]])])
    assert [each.chain for each in gcra.decide(Books(), asked, 0.0)] == [1, 0, 0]


class Valkey:
    """The scripts with the test's own time in place of the server's clock."""

    def __init__(self, client):
        self.client = client
        self.scripts = {}
        for name in ("ASK", "ANSWERED"):
            source = getattr(throttle_script, name)
            source, times = re.subn(r"local clock.*\nlocal now = .*\n", "local now = tonumber(ARGV[5])\n", source)
            source = source.replace("math.min(lasts, 1e12)", "1e9")  # keys must outlive a slow test
            assert times == 1
            self.scripts[name] = client.register_script(source)

    def ask(self, batch, asked, now):
        slots = [[each.name, each.places, each.hold_us] for each in asked.slots]
        asks = [
            [[[x for i, c in chain for x in (i + 1, c)] for chain in a.chains], 0 if a.slots is None else 1, a.holder]
            for a in asked.asks
        ]
        plain = [[bucket.name, bucket.rate, bucket.burst] for bucket in asked.buckets]
        document = json.dumps([plain, slots, asks])
        return self.scripts["ASK"](keys=["t:"], args=[batch, HOLD, document, "", int(now)])

    def answered(self, batch, sent, unsent, now):
        meters = [[name, sent.get(name, 0), unsent.get(name, 0)] for name in {**sent, **unsent}]
        self.scripts["ANSWERED"](keys=["t:"], args=[batch, HOLD, json.dumps([meters, []]), "", int(now)])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(story=stories())
def test_the_script_decides_like_the_model(valkey, story):
    """Batch after batch, the script on Valkey grants what the model grants and names the same waits and buckets."""
    buckets, steps = story
    slots = [Slots("school", 2, 3 * SECOND)]
    with redis.Redis.from_url(valkey) as client:
        client.flushall()
        script, books, now = Valkey(client), Books(), 10**15
        for number, (pause, asks, answer) in enumerate(steps):
            now += pause
            asked = Asked(buckets, slots, asks)
            verdicts = gcra.decide(books, asked, float(now))
            chosen, waits, causes = script.ask(f"batch{number}", asked, now)
            assert list(chosen) == [verdict.chain for verdict in verdicts]
            assert [wait / SECOND for wait in waits] == pytest.approx([each.wait for each in verdicts], abs=1e-4)
            assert list(causes) == [0 if each.bucket is None else each.bucket + 1 for each in verdicts]
            paid = summed(taken(asked, verdicts))
            sent = {name: cost * {"sent": 1, "half": 0.5}.get(answer, 0) for name, cost in paid.items()}
            back = {name: cost - sent[name] for name, cost in paid.items()}
            if answer == "nothing":  # the batch's asker has died: it counts as sent when its time is over
                now += HOLD + 1
                script.ask("look", Asked(buckets, [], []), now)
                sent, back = paid, {}
            else:
                script.answered(f"batch{number}", sent, back, now)
            gcra.answered(books, sent, back, float(now))
