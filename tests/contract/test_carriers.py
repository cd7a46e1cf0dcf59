"""The contract of a carrier's module, run over every kind against its pretended service, on a real wire."""

import logging
from collections import Counter
from datetime import timedelta

import pytest

from mdm.cellular.carriers.values import (
    Act,
    Busy,
    CycleToDate,
    Denied,
    Figures,
    Refused,
    SimKey,
    Unclear,
    Unreachable,
    UsageDay,
)
from mdm.cellular.models import ActionKind, SimStatus
from simulator.clouds.carrier_script import Fault, Mishap
from tests.contract.carriers import KINDS, line_to

MANY = 230


@pytest.fixture(params=list(KINDS), ids=str)
def kind(request):
    return request.param


@pytest.fixture
def line(kind):
    with line_to(kind, MANY) as made:
        yield made


def test_names_each_line_once_with_what_the_carrier_knows_of_it(line):
    """All pages together are the carrier's lines, each once, with its own word for the status beside ours."""
    records = line.all_sims(line.connection())
    assert Counter(record.iccid for record in records) == Counter(list(line.cloud.lines.by_iccid))
    assert {record.status for record in records} == {SimStatus.ACTIVE}
    assert all(record.carrier_status and record.key.value for record in records)


def test_a_single_line_reads_as_it_did_in_the_list_or_better(line):
    """A line read by itself says what the list said, and its radio where the interface knows it."""
    connection = line.connection()
    listed = line.all_sims(connection)[MANY // 2]
    alone = line.carrier.sim(connection, listed.key)
    assert (alone.iccid, alone.status, alone.carrier_status) == (listed.iccid, listed.status, listed.carrier_status)
    assert alone.imei in {line.cloud.lines.by_iccid[listed.iccid].imei, None}


def test_every_request_keeps_the_pace(line):
    """No request goes out without the pace having been asked, sign-ins and downloads included."""
    connection = line.connection()
    line.all_sims(connection)
    today = line.cloud.lines.today()
    line.all_usage(connection, today - timedelta(days=4), today)
    assert len(line.paced) == len(line.cloud.journal)
    assert line.cloud.most_in_flight == 1


def test_usage_is_the_witness_s_to_the_byte(line):
    """What comes out are the bytes that the lines used: days as days, running counters up to now."""
    lines = line.cloud.lines
    first, last = lines.today() - timedelta(days=9), lines.today()
    found = line.all_usage(line.connection(), first, last)
    if line.carrier.capabilities().figures == {Figures.DAYS}:
        assert _by_day(line, found) == lines.witness(first, last)
    else:
        assert {usage.cycle_start for usage in found} >= {lines.today().replace(day=1)}
        for usage in found:
            of_line = lines.witness(usage.cycle_start, lines.today())[_iccid(line, usage.key)]
            in_cycle = {day: used for day, used in of_line.items() if day[:7] == f"{usage.cycle_start:%Y-%m}"}
            assert usage.total == sum(in_cycle.values())


def test_figures_named_twice_count_once(kind):
    """A carrier that names some figures twice does not make lines use more."""
    with line_to(kind, 40, doubled=0.5) as line:
        once = line.cloud.lines
        found = line.all_usage(line.connection(), once.today() - timedelta(days=3), once.today())
        assert len({(usage.key, _when(usage)) for usage in found}) == len(found)


def test_late_and_guessed_figures_come_right_when_asked_again(kind):
    """Unsettled figures are not more than the truth, and asked again after they settled they are the truth."""
    with line_to(kind, 40, late=0.3, guessed=0.3, settles_after_s=7 * 86400) as line:
        connection, lines = line.connection(), line.cloud.lines
        first, last = lines.today() - timedelta(days=3), lines.today()
        early = {(usage.key, _when(usage)): usage.total for usage in line.all_usage(connection, first, last)}
        lines.script.settles_after_s = 0
        settled = {(usage.key, _when(usage)): usage.total for usage in line.all_usage(connection, first, last)}
        assert sum(early.values()) < sum(settled.values())
        assert all(total <= settled[key] for key, total in early.items())


def test_asked_to_wait_it_says_how_long(line):
    """A 429 is `Busy` with the seconds of Retry-After."""
    line.cloud.script.retry_after_s = 17
    line.cloud.script.faults = [Fault(Mishap.BUSY)]
    with pytest.raises(Busy) as told:
        line.carrier.sims(line.connection(), changed_since=None, cursor=None)
    assert told.value.retry_after_s == 17


def test_a_page_that_failed_is_asked_for_again_and_nothing_is_missed(line):
    """Going on from the last cursor after every mishap names each line once."""
    connection = line.connection()
    mishaps = [Mishap.BUSY, Mishap.ERROR, Mishap.CUT, Mishap.LOST, Mishap.UNAVAILABLE, Mishap.EXPIRED]
    line.cloud.script.faults = [Fault(mishap, every=2, times=1) for mishap in mishaps]
    names, cursor, pages = Counter(), None, 0
    while pages == 0 or cursor is not None:
        try:
            page = line.carrier.sims(connection, changed_since=None, cursor=cursor)
        except (Busy, Unreachable):
            continue
        pages += 1
        names.update(record.iccid for record in page.items)
        cursor = page.cursor
    assert {call.mishap for call in line.cloud.journal} >= set(mishaps)
    assert names == Counter(list(line.cloud.lines.by_iccid))


def test_a_wrong_secret_is_denied_and_not_tried_again_and_again(line):
    """A wrong key is `Denied` after a call or two, and neither it nor the answer is in the error."""
    wrong = dict.fromkeys(KINDS[line.kind].secret, "wrong-invented")
    with pytest.raises(Denied) as told:
        line.carrier.sims(line.connection(secret=wrong), changed_since=None, cursor=None)
    assert "invented" not in f"{told.value!r}"
    assert len(line.cloud.journal) <= 2


def test_a_secret_with_a_part_missing_is_denied_before_anybody_is_asked(line):
    """An account without its secret sends nothing."""
    with pytest.raises(Denied):
        line.carrier.sims(line.connection(secret={}), changed_since=None, cursor=None)
    assert not line.cloud.journal


def test_garbage_is_unclear(line):
    """A page of some proxy in place of an answer is neither an empty list nor a crash."""
    line.cloud.script.faults = [Fault(Mishap.GARBAGE)]
    connection, today = line.connection(), line.cloud.lines.today()
    with pytest.raises(Unclear):
        line.all_sims(connection)
    with pytest.raises(Unclear):
        line.all_usage(connection, today, today)


def test_every_act_it_claims_takes_effect_only_after_its_time(kind):
    """An act is a receipt; reading the line back shows it when the carrier has done it, and not before."""
    with line_to(kind, 3, status_takes_s=300) as line:
        connection = line.connection()
        key = line.all_sims(connection)[1].key
        acts = line.carrier.capabilities().acts
        for act in sorted(acts, key=[ActionKind.SUSPEND, ActionKind.RESUME, *ActionKind].index):
            before = line.carrier.sim(connection, key)
            line.carrier.act(connection, _act(line, act, key), idempotency_key="one")
            assert _seen(line.carrier.sim(connection, key)) == _seen(before)
            line.clock.passes(seconds=301)
            after = line.carrier.sim(connection, key)
            assert _seen(after) != _seen(before), act
            if act is ActionKind.SUSPEND:
                assert after.status is SimStatus.SUSPENDED
            if act is ActionKind.RESUME:
                assert after.status is SimStatus.ACTIVE
        assert len(line.cloud.orders) == len(acts)


def test_an_act_whose_answer_is_lost_is_open_and_reading_tells(line):
    """`Unreachable` leaves open whether it was done: one was and one was not, and the line itself says which."""
    connection = line.connection()
    first, second = (record.key for record in line.all_sims(connection)[:2])
    if ActionKind.SUSPEND not in line.carrier.capabilities().acts:
        pytest.skip("has no documented act to suspend")
    for key, mishap, done in ((first, Mishap.CUT, True), (second, Mishap.LOST, False)):
        line.cloud.script.faults = [Fault(mishap, times=1)]
        with pytest.raises(Unreachable):
            line.carrier.act(connection, Act(ActionKind.SUSPEND, key), idempotency_key="one")
        assert (line.carrier.sim(connection, key).status is SimStatus.SUSPENDED) is done


def test_an_act_it_does_not_claim_is_refused_without_asking(line):
    """What the interface has no documented call for is `Refused`, and nothing is sent."""
    missing = set(ActionKind) - line.carrier.capabilities().acts
    for kind in missing:
        with pytest.raises(Refused):
            line.carrier.act(line.connection(), Act(kind, SimKey("iccid", "0")), idempotency_key="one")
    assert missing
    assert not line.cloud.journal


def test_an_unknown_line_is_refused(line):
    """A line that the carrier does not have is no reason to ask again."""
    key = line.all_sims(line.connection())[0].key
    with pytest.raises(Refused):
        line.carrier.sim(line.connection(), SimKey(key.by, key.value[:-6] + "999999"))


def test_no_number_of_a_line_gets_into_words(line, caplog):
    """Neither logs nor the words of values and errors hold a line's numbers."""
    caplog.set_level(logging.DEBUG, logger="mdm")
    connection = line.connection()
    records = line.all_sims(connection)
    today = line.cloud.lines.today()
    used = line.all_usage(connection, today - timedelta(days=1), today)
    line.cloud.script.faults = [Fault(Mishap.ERROR)]
    with pytest.raises(Unreachable) as told:
        line.carrier.sim(connection, records[0].key)
    words = f"{records} {used[:50]} {told.value!r} {connection!r} {caplog.text}"
    one = line.cloud.lines.all[0]
    assert not [number for number in (one.iccid, one.imsi, one.msisdn, one.imei) if number in words]
    assert not [part for part in KINDS[line.kind].secret.values() if part in words]


def _act(line, kind, key):
    speeds = line.carrier.capabilities().speeds
    values = {ActionKind.SPEED: speeds[0] if speeds else "", ActionKind.PLAN: "another plan"}
    values[ActionKind.LOCK_IMEI] = line.cloud.lines.all[1].imei
    return Act(kind, key, values.get(kind, ""))


def _seen(record):
    return record.status, record.speed, record.plan, record.imei_lock


def _when(usage):
    return usage.day if isinstance(usage, UsageDay) else usage.cycle_start


def _iccid(line, key):
    names = {name: one.iccid for one in line.cloud.lines.all for name in (one.iccid, one.iccid[:-1], one.imsi)}
    return names[key.value]


def _by_day(line, found):
    days = {iccid: {} for iccid in line.cloud.lines.by_iccid}
    for usage in found:
        assert not isinstance(usage, CycleToDate)
        assert usage.utc_offset == line.cloud.lines.utc_offset
        assert usage.up is None or usage.up + usage.down == usage.total
        of_line = days[_iccid(line, usage.key)]
        assert usage.day.isoformat() not in of_line
        of_line[usage.day.isoformat()] = usage.total
    return days
