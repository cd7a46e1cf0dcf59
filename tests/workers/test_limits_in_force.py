"""Limits as dispatch keeps them: changed while workers run, seen by the push service, fair between schools."""

import itertools
import json
import time

import pytest
from sqlalchemy import text

from mdm.devices import turns
from mdm.devices.models import Lane
from mdm.embedded import free_port
from mdm.limits.values import Name
from mdm.settings import get_settings
from tests.workers.running import drained_in_the_end, most_over, until, worker
from workers import dispatch, places
from workers.current import Current


@pytest.fixture
def limit(session):
    """Set a limit as the API does: `limit("fleet", per_s=5, burst=5)`, `school=` the number of one of the fleet's."""

    def set_(name, school=None, **value):
        session.execute(
            text(
                "INSERT INTO throttle_limit (name, school_id, value, set_by, reason)"
                " SELECT :name, (SELECT id FROM school WHERE code = :code), CAST(:value AS jsonb), 'test', ''"
            ),
            {"name": name, "code": None if school is None else f"S{school}", "value": json.dumps(value)},
        )
        session.commit()

    return set_


@pytest.fixture
def school_of(session):
    """Say of which of the fleet's schools a token is."""

    def find(tablets):
        rows = session.execute(
            text("SELECT d.id, s.code FROM device d JOIN school s ON s.id = d.school_id ORDER BY d.id")
        )
        codes = dict(rows.all())
        return {token: int(codes[device_id][1:]) for device_id, token in tablets.tokens.items()}

    return find


def load(session, tablets, payload):
    session.execute(
        text("UPDATE wakeup SET payload_bytes = :bytes WHERE device_id = ANY(:ids)"),
        {"bytes": payload, "ids": tablets},
    )
    session.commit()


def test_no_window_holds_too_much_with_two_workers(fleet, due, cloud, limit, school_of, log):
    """Two worker processes and a push service that answers now soon, now late: its journal keeps every limit.

    The limits are the fleet's, each school's own, and one school's in bytes.
    """
    limit("fleet", per_s=60, burst=15)
    limit("school", per_s=30, burst=10)
    limit("school", school=1, per_s=10, burst=5)
    limit("school.bytes", school=2, bands={"else": 10_000}, burst=4000)
    delays = itertools.cycle([0.0, 0.05, 0.001, 0.2])
    cloud.script.latency = lambda: next(delays)
    tablets = fleet(240, schools=3)
    due(tablets.ids[:120])
    due(tablets.ids[120:], Lane.BULK)
    with worker("push", log=log), worker("push", log=log):
        until(lambda: len(cloud.deliveries()) == 240, 60)
    assert set(cloud.deliveries().values()) == {1}
    school = school_of(tablets)
    stamps = {number: [e.monotonic for e in cloud.journal if school[e.token] == number] for number in range(3)}
    assert most_over(sorted(itertools.chain(*stamps.values())), 60, 15) <= 1
    assert most_over(stamps[0], 30, 10) <= 1
    assert most_over(stamps[1], 10, 5) <= 1
    assert most_over(stamps[2], 30, 10) <= 1


def test_bytes_of_a_school_are_kept_by_the_journal(fleet, due, cloud, limit, session):
    """What a school's tablets are made to fetch stays within its bytes per second; schools without a limit go ahead."""
    limit("school.bytes", school=0, bands={"else": 20_000}, burst=3000)
    tablets = fleet(60, schools=2)
    due(tablets.ids, Lane.BULK)
    load(session, tablets.ids, 1000)
    dispatch.drain(Lane.BULK)
    assert len(cloud.deliveries()) == 60
    limited = set(list(tablets.tokens.values())[1::2])
    stamps = [entry.monotonic for entry in cloud.journal if entry.token in limited]
    assert most_over(stamps, 20, 3) <= 1


def test_a_change_holds_in_a_running_worker(fleet, due, cloud, limit, log):
    """A worker that runs goes faster when a limit is raised and slower when it is lowered, within seconds."""
    limit("fleet", per_s=4, burst=4)
    tablets = fleet(900)
    due(tablets.ids)
    with worker("push", log=log):
        until(lambda: len(cloud.journal) >= 8)
        limit("fleet", per_s=100, burst=100)
        faster = len(cloud.journal)
        until(lambda: len(cloud.journal) >= faster + 150, 25)  # at the old rate: 40 s
        limit("fleet", per_s=1, burst=1)
        lowered = time.monotonic()
        until(lambda: time.monotonic() >= lowered + 7)
    late = [entry.monotonic for entry in cloud.journal if lowered + 4 <= entry.monotonic < lowered + 7]
    assert len(late) <= 1 + 3


def test_limits_outlive_a_database_that_is_away(database, limit, monkeypatch):
    """What was last read holds while the database cannot be asked, and the settings' where it never could."""
    limit("fleet", per_s=7, burst=7)
    current = Current()
    assert current()[0].rate(Name.FLEET).per_s == 7
    monkeypatch.setattr("workers.current.EVERY_S", 0.0)
    monkeypatch.setenv("DATABASE_URL", f"postgresql://127.0.0.1:{free_port()}/none")
    get_settings.cache_clear()
    engine = dispatch.db.engine
    engine().dispose()
    engine.cache_clear()
    assert current()[0].rate(Name.FLEET).per_s == 7
    assert Current()()[0].rate(Name.FLEET).per_s == 150


def test_no_more_is_leased_than_has_room(fleet, due, row, cloud, limit):
    """Tablets without a permit are not touched at all: nothing is leased only to be given back."""
    limit("school", per_s=0.01, burst=10)
    tablets = fleet(60, schools=2)
    due(tablets.ids)
    assert dispatch.drain(Lane.NORMAL, budget_s=0) == {"woken": 20}
    assert dispatch.drain(Lane.NORMAL, budget_s=0) == {}
    untouched = [row(one) for one in tablets.ids if tablets.tokens[one] not in cloud.deliveries()]
    assert len(untouched) == 40
    assert {(each["lease_token"], each["attempts"]) for each in untouched} == {(None, 0)}


def test_the_fleets_permits_are_dealt_to_all_schools(fleet, due, cloud, limit, school_of):
    """When the fleet's limit binds, no school waits for another to be through."""
    limit("fleet", per_s=0.01, burst=12)
    tablets = fleet(40, schools=4)
    due(tablets.ids)
    dispatch.drain(Lane.NORMAL, budget_s=0)
    school = school_of(tablets)
    woken = [school[token] for token in cloud.deliveries()]
    assert {number: woken.count(number) for number in range(4)} == dict.fromkeys(range(4), 3)


def test_no_school_is_always_the_last(fleet, due, session):
    """Schools whose tablets were made due together take turns when there is not enough for all of them."""
    tablets = fleet(6, schools=6)
    due(tablets.ids)
    assert len({turns.waiting(session, Lane.NORMAL)[-1] for _ in range(60)}) > 1


def test_a_school_that_waits_for_bytes_keeps_nobody_waiting(fleet, due, cloud, limit, session, school_of):
    """One payload goes as the school is idle, then only what weighs nothing; other schools are served meanwhile."""
    limit("school.bytes", school=1, bands={"else": 0.01}, burst=10)
    limit("fleet", per_s=50, burst=2)
    tablets = fleet(24, schools=2)
    due(tablets.ids)
    school = school_of(tablets)
    heavy = [one for one in tablets.ids if school[tablets.tokens[one]] == 1]
    load(session, heavy[:-2], 1000)
    dispatch.drain(Lane.NORMAL, budget_s=4)
    woken = {one for one in tablets.ids if tablets.tokens[one] in cloud.deliveries()}
    assert set(tablets.ids) - set(heavy) <= woken
    assert len(woken & set(heavy[:-2])) == 1
    assert set(heavy[-2:]) <= woken


def test_big_downloads_take_turns(fleet, due, cloud, limit, session):
    """Two at once; the next when one is through, because its wake-up is gone. Small ones pass by."""
    limit("school.downloads", at_once=2, big_from_bytes=1000)
    tablets = fleet(6)
    due(tablets.ids)
    load(session, tablets.ids[:5], 1000)
    places._looked_at = float("-inf")
    assert dispatch.drain(Lane.NORMAL, budget_s=0)["woken"] >= 2
    woken = drain_until(lambda: tablets.tokens[tablets.ids[5]] in cloud.deliveries(), cloud)
    assert len(woken) == 3
    first = next(one for one in tablets.ids[:5] if tablets.tokens[one] in woken)
    session.execute(text("DELETE FROM wakeup WHERE device_id = :id"), {"id": first})
    session.commit()
    woken = drain_until(lambda: len(cloud.deliveries()) == 4, cloud)
    assert len(woken) == 4


def drain_until(condition, cloud):
    limit = time.monotonic() + 20
    while not condition() and time.monotonic() < limit:
        dispatch.drain(Lane.NORMAL, budget_s=0)
        time.sleep(0.05)
    return set(cloud.deliveries())


def test_a_tablet_that_was_woken_too_often_waits_alone(fleet, due, row, limit):
    """Its own limit puts it off for seconds; the others go."""
    limit("device", per_s=0.01, burst=1)
    one, other = fleet(2).ids
    due([one])
    assert drained_in_the_end(Lane.NORMAL) == {"woken": 1}
    due([one, other])
    assert dispatch.drain(Lane.NORMAL, budget_s=0) == {"throttled": 1, "woken": 1}
    assert 5 < row(one)["in_s"] <= 10
