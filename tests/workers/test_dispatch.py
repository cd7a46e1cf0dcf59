"""Dispatch against a real database, a real Valkey and a push service that journals."""

import itertools
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from mdm import db
from mdm.devices import wakeups
from mdm.devices.models import Lane
from mdm.devices.wakeups import Result, Verdict
from mdm.embedded import free_port
from mdm.platform import Platform
from mdm.settings import get_settings
from simulator.clouds.apns_script import Answer, Fault, Mishap
from tests.workers.running import drained_in_the_end, most_over
from workers import dispatch, sweep


def test_a_due_tablet_is_woken_once_and_looked_at_again_later(fleet, due, row, cloud):
    """One push per tablet; the row stays, due again when the tablet has been silent for long."""
    tablets = fleet(30)
    due(tablets.ids)
    assert dispatch.drain(Lane.NORMAL) == {"woken": 30}
    assert dispatch.drain(Lane.NORMAL) == {}
    assert cloud.deliveries() == dict.fromkeys(tablets.tokens.values(), 1)
    after = row(tablets.ids[0])
    assert (after["attempts"], after["lease_token"]) == (1, None)
    assert 800 < after["in_s"] < 901


def test_tablets_that_are_not_enrolled_are_not_marked(fleet, due, row, session):
    """A wake-up exists only for a tablet that can be in conversation."""
    one = fleet(1).ids[0]
    session.execute(text("UPDATE enrollment SET status = 'pending'"))
    session.commit()
    due([one])
    assert row(one) is None


def test_more_work_raises_the_generation_and_the_urgency(fleet, due, row):
    """A second reason does not make a second row; the more urgent lane wins and is kept."""
    one = fleet(1).ids[0]
    due([one], Lane.BULK)
    due([one], Lane.URGENT)
    due([one], Lane.NORMAL)
    assert (row(one)["generation"], row(one)["lane"]) == (3, Lane.URGENT)


def test_work_that_comes_during_the_push_is_pushed_for(fleet, due, row, session):
    """A settle never puts off work that it did not know."""
    one = fleet(1).ids[0]
    due([one])
    claims = wakeups.claim_due(session, Lane.NORMAL, limit=9, lease_s=60)
    session.commit()
    due([one])
    assert wakeups.settle(session, [(claims[0], Result(Verdict.WOKEN))]) == []
    session.commit()
    assert row(one)["in_s"] <= 0


def test_a_lost_lease_settles_nothing(fleet, due, row, session):
    """Fencing: who lost the lease changes nothing any more, and the new holder is undisturbed."""
    one = fleet(1).ids[0]
    due([one])
    old = wakeups.claim_due(session, Lane.NORMAL, limit=9, lease_s=-1)
    new = wakeups.claim_due(session, Lane.NORMAL, limit=9, lease_s=60)
    assert wakeups.defer(session, [(old[0], 100.0)]) == 0
    session.commit()
    assert row(one)["lease_token"] == new[0].lease
    assert wakeups.claim_due(session, Lane.NORMAL, limit=9, lease_s=60) == []


def test_an_expired_lease_is_taken_up_again(fleet, due, session):
    """A worker that died between lease and settle costs the length of the lease."""
    one = fleet(1).ids[0]
    due([one])
    with db.transaction() as other:
        wakeups.claim_due(other, Lane.NORMAL, limit=9, lease_s=2)
    assert dispatch.drain(Lane.NORMAL) == {}
    assert drained_in_the_end(Lane.NORMAL) == {"woken": 1}


def test_a_dead_address_flags_the_tablet(fleet, due, session, cloud):
    """410 with a time after the token was given: unreachable, and not pushed again until a new token comes."""
    tablets = fleet(3)
    gone = tablets.ids[1]
    stamp = int(datetime.now(UTC).timestamp() * 1000)
    cloud.script.answer(bytes.fromhex(tablets.tokens[gone]), Answer(410, "Unregistered", timestamp=stamp))
    due(tablets.ids)
    assert dispatch.drain(Lane.NORMAL) == {"woken": 2, "dead": 1}
    session.rollback()
    flagged = session.execute(text("SELECT device_id FROM enrollment WHERE unreachable_since IS NOT NULL")).scalars()
    assert list(flagged) == [gone]
    due([gone])
    assert dispatch.drain(Lane.NORMAL) == {}


def test_an_old_410_does_not_flag_a_newer_token(fleet, due, session, cloud):
    """A tablet that registered after the moment Apple names is still reachable; it is tried again later."""
    one = fleet(1)
    stamp = int((datetime.now(UTC) - timedelta(days=2)).timestamp() * 1000)
    cloud.script.answer(bytes.fromhex(one.tokens[one.ids[0]]), Answer(410, "Unregistered", timestamp=stamp))
    due(one.ids)
    dispatch.drain(Lane.NORMAL)
    session.rollback()
    assert (
        session.execute(text("SELECT count(*) FROM enrollment WHERE unreachable_since IS NOT NULL")).scalar_one() == 0
    )


def test_429_backs_the_lane_off_and_nothing_is_lost(fleet, due, cloud, row):
    """After 429 the lane rests for the time Apple names while other lanes go on; then everything is pushed."""
    tablets = fleet(6)
    cloud.script.everyone = Answer(429, "TooManyRequests", retry_after=3)
    due(tablets.ids[:3], Lane.BULK)
    assert dispatch.drain(Lane.BULK, budget_s=0)["later"] == 3
    cloud.script.everyone = Answer()
    pushes = len(cloud.journal)
    assert dispatch.drain(Lane.BULK, budget_s=0) == {}
    assert len(cloud.journal) == pushes
    due(tablets.ids[3:], Lane.NORMAL)
    assert dispatch.drain(Lane.NORMAL, budget_s=0) == {"woken": 3}
    assert drained_in_the_end(Lane.BULK) == {"woken": 3}
    assert cloud.deliveries() == dict.fromkeys(tablets.tokens.values(), 1)


def test_one_busy_tablet_holds_nobody_back(fleet, due, cloud, row):
    """Apple's 429 is about one token: that tablet waits, the lane goes on."""
    tablets = fleet(12)
    busy = tablets.ids[4]
    cloud.script.answer(bytes.fromhex(tablets.tokens[busy]), Answer(429, "TooManyRequests"))
    due(tablets.ids[:10])
    assert dispatch.drain(Lane.NORMAL) == {"woken": 9, "later": 1}
    assert 25 < row(busy)["in_s"] <= 30
    due(tablets.ids[10:])
    assert dispatch.drain(Lane.NORMAL) == {"woken": 2}


def test_a_busy_service_holds_no_lock_back_for_long(fleet, due, cloud, row):
    """An urgent wake-up that was turned away is due again within seconds, whatever the service asks for."""
    tablets = fleet(1)
    cloud.script.everyone = Answer(503, "ServiceUnavailable", retry_after=300)
    due(tablets.ids, Lane.URGENT)
    assert dispatch.wake_batch(Lane.URGENT) == {"later": 1}
    assert row(tablets.ids[0])["in_s"] <= 5


def test_an_unreachable_service_is_tried_less_and_less(fleet, due, monkeypatch, configure, row):
    """Nothing is sent, nothing is lost, no permit is used up, and the database is left in peace."""
    configure(fleet_per_s=0.001, fleet_burst=3)
    monkeypatch.setenv("TABANE_APPLE__APNS_URL", f"https://127.0.0.1:{free_port()}")
    get_settings.cache_clear()
    tablets = fleet(3)
    due(tablets.ids)
    seconds = []
    for _ in range(3):
        due(tablets.ids)
        assert dispatch.wake_batch(Lane.NORMAL) == {"unsent": 3}
        seconds.append(dispatch.throttle().paused_for(Lane.NORMAL, Platform.APPLE))
        forget_pauses(buckets=False)
    assert [round(each) for each in seconds] == [1, 2, 4]
    assert row(tablets.ids[0])["attempts"] == 0


def forget_pauses(*, buckets=True):
    """Do what time does to a pause, and to buckets."""
    throttle = dispatch.throttle()
    throttle._local.paused.clear()
    throttle._client.delete(*throttle._client.keys("*pause*" if not buckets else "*"))


def test_a_service_that_stays_busy_is_asked_less_and_less(fleet, due, cloud):
    """Without a word from the service, patience doubles with each batch that it turns away."""
    tablets = fleet(3)
    cloud.script.everyone = Answer(503, "ServiceUnavailable")
    seconds = []
    for _ in range(3):
        due(tablets.ids, Lane.BULK)
        assert dispatch.wake_batch(Lane.BULK) == {"later": 3}
        seconds.append(round(dispatch.throttle().paused_for(Lane.BULK, Platform.APPLE)))
        forget_pauses()
    assert seconds == [30, 60, 120]


def test_a_refused_certificate_stops_every_lane(fleet, due, cloud):
    """403: no lane pushes any more for a while, and nothing is lost."""
    tablets = fleet(4)
    cloud.script.everyone = Answer(403, "BadCertificate")
    due(tablets.ids)
    assert dispatch.drain(Lane.NORMAL) == {"broken": 4}
    pushes = len(cloud.journal)
    due(tablets.ids, Lane.URGENT)
    assert dispatch.drain(Lane.URGENT) == {}
    assert len(cloud.journal) == pushes


def test_without_a_push_certificate_the_tablets_stay_due(fleet, due, row, configure, monkeypatch):
    """A missing setting is an outcome like a refused certificate, not a crash."""
    one = fleet(1).ids[0]
    monkeypatch.delenv("TABANE_APPLE__PUSH_CERTIFICATE")
    dispatch.get_settings.cache_clear()
    due([one])
    assert dispatch.drain(Lane.NORMAL) == {"broken": 1}
    assert row(one) is not None


@pytest.mark.parametrize("mishap", [Mishap.CUT, Mishap.GOAWAY_ABRUPT, Mishap.RESET, Mishap.GOAWAY])
def test_a_fault_of_the_line_leaves_nobody_unwoken_and_none_with_two_extra(fleet, due, cloud, mishap):
    """Whatever the connection does, draining goes on until each tablet was woken, at most once too often."""
    tablets = fleet(150, schools=3)
    cloud.script.faults = [Fault(mishap, every=60, times=1)]
    due(tablets.ids)
    until = time.monotonic() + 20
    while set(cloud.deliveries()) != set(tablets.tokens.values()) and time.monotonic() < until:
        dispatch.drain(Lane.NORMAL)
    assert set(cloud.deliveries()) == set(tablets.tokens.values())
    assert max(cloud.deliveries().values()) <= 2


def test_a_service_that_is_down_for_a_while_costs_no_wake_up(fleet, due, cloud, monkeypatch):
    """503 for everyone, then health: each tablet is woken exactly once."""
    tablets = fleet(20)
    cloud.script.everyone = Answer(503, "ServiceUnavailable", retry_after=1)
    due(tablets.ids)
    assert dispatch.drain(Lane.NORMAL, budget_s=0) == {"later": 20}
    cloud.script.everyone = Answer()
    assert drained_in_the_end(Lane.NORMAL) == {"woken": 20}
    assert set(cloud.deliveries().values()) == {1}


def test_queued_commands_are_sent_once_their_tablet_is_woken(fleet, due, session):
    """`sent` means woken for it; what is held, or not yet due, stays as it is, and each step is logged."""
    one = fleet(1).ids[0]
    insert = text(
        "INSERT INTO command (device_id, epoch, kind, arguments, dedupe_key, lane, state, not_before, expires_at)"
        " VALUES (:id, 1, 'restart', '{}', :key, 1, :state, :not_before, now() + interval '1 day')"
    )
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for key, state, not_before in [("a", "queued", None), ("b", "held", None), ("c", "queued", tomorrow)]:
        session.execute(insert, {"id": one, "key": key, "state": state, "not_before": not_before})
    session.commit()
    due([one])
    dispatch.drain(Lane.NORMAL)
    session.rollback()
    states = dict(session.execute(text("SELECT dedupe_key, state FROM command")).all())
    assert states == {"a": "sent", "b": "held", "c": "queued"}
    assert session.execute(text("SELECT array_agg(state) FROM command_event")).scalar_one() == ["sent"]


def test_the_journal_keeps_the_bound_of_every_bucket(fleet, due, cloud, configure):
    """Sends never exceed rate * window + burst, for the fleet and for each school, by the push service's own clock.

    The service takes its time in answering, so that grants reach it late and the next ones come right behind.
    """
    configure(fleet_per_s=60, fleet_burst=20, school_per_s=25, school_burst=10)
    delays = itertools.cycle([0.0, 0.03, 0.0, 0.25])
    cloud.script.latency = lambda: next(delays)
    tablets = fleet(110, schools=3)
    due(tablets.ids[:40], Lane.BULK)
    due(tablets.ids[40:])
    threads = [threading.Thread(target=dispatch.drain, args=(lane,)) for lane in (Lane.NORMAL, Lane.BULK)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cloud.deliveries() == dict.fromkeys(tablets.tokens.values(), 1)
    school = {token: device_id % 3 for device_id, token in tablets.tokens.items()}
    over = [most_over([e.monotonic for e in cloud.journal], 60, 20)]
    over += [most_over([e.monotonic for e in cloud.journal if school[e.token] == s], 25, 10) for s in range(3)]
    assert max(over) <= 1.0


def test_two_drains_of_one_lane_share_the_work(fleet, due, cloud):
    """Doubled hints wake nobody twice."""
    tablets = fleet(200)
    due(tablets.ids)
    threads = [threading.Thread(target=dispatch.drain, args=(Lane.NORMAL,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cloud.deliveries() == dict.fromkeys(tablets.tokens.values(), 1)


def test_the_sweep_finds_a_forgotten_tablet(fleet, session, row, cloud):
    """Open work without a wake-up is made due, in the lane of the work; what was only just enqueued is left alone."""
    old, young = fleet(2).ids
    for device_id, age in [(old, 600), (young, 1)]:
        session.execute(
            text(
                "INSERT INTO command (device_id, epoch, kind, arguments, dedupe_key, lane, state,"
                " expires_at, created_at)"
                " VALUES (:id, 1, 'lost_mode_on', '{}', 'k', 0, 'queued', now() + interval '1 day',"
                " now() - make_interval(secs => :age))"
            ),
            {"id": device_id, "age": age},
        )
    session.commit()
    with db.transaction() as own:
        assert sweep.sweep(own)["forgotten"] == 1
    assert row(old)["lane"] == Lane.URGENT
    assert row(young) is None


def test_a_silent_tablet_is_woken_less_and_less(fleet, due, row, session):
    """Each push without an answer doubles the patience at least, up to a day."""
    one = fleet(1).ids[0]
    due([one])
    waits = []
    for _ in range(5):
        session.execute(text("UPDATE wakeup SET due_at = now()"))
        session.commit()
        assert dispatch.drain(Lane.NORMAL) == {"woken": 1}
        waits.append(round(row(one)["in_s"], -1))
    assert waits == [900, 3600, 14_400, 86_400, 86_400]
