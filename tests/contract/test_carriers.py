"""The contract of a carrier's module, run over every kind against its pretended service, on a real wire."""

import logging
from collections import Counter
from datetime import timedelta

import pytest

from mdm.cellular.carriers.values import (
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
from mdm.cellular.models import SimStatus
from simulator.clouds.carrier_script import Fault, Mishap
from tests.contract.carriers import KINDS, MANY, line_to


def test_names_each_line_once_with_what_the_carrier_knows_of_it(line):
    """All pages together are the carrier's lines, each once, with its own word for the status beside ours."""
    records = line.all_sims(line.connection())
    assert Counter(record.iccid for record in records) == Counter(list(line.cloud.lines.by_iccid))
    words = {(record.status, bool(record.carrier_status)) for record in records}
    speaks_of_status = bool(line.carrier.capabilities().acts)
    assert words == ({(SimStatus.ACTIVE, True)} if speaks_of_status else {(SimStatus.UNKNOWN, False)})


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


@pytest.mark.parametrize("kind", KINDS)
def test_an_account_without_lines_has_nothing_to_tell(kind):
    """A contract that is new has no lines, no plans and no usage, over more than one cycle, and comes to its end."""
    with line_to(kind, 0) as line:
        today = line.cloud.lines.today()
        assert line.all_sims(line.connection()) == []
        assert line.all_usage(line.connection(), today - timedelta(days=70), today) == []


def test_usage_is_the_witness_s_to_the_byte(line):
    """What comes out are the bytes that the lines used: days as days, running counters up to now."""
    lines = line.cloud.lines
    first, last = lines.today() - timedelta(days=40), lines.today()
    found = line.all_usage(line.connection(), first, last)
    if line.carrier.capabilities().figures == {Figures.DAYS}:
        assert _by_day(line, found) == lines.witness(first, last)
    else:
        _assert_counters(line, found, lines.witness(first.replace(day=1), last))


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


def _when(usage):
    return usage.day if isinstance(usage, UsageDay) else usage.cycle_start


def _iccid(line, key):
    by_imsi = {one.imsi: one.iccid for one in line.cloud.lines.all}
    return by_imsi.get(key.value, key.value)


def _assert_counters(line, found, witness):
    totals = Counter()
    for iccid, days in witness.items():
        for day, used in days.items():
            totals[iccid, day[:7]] += used
    assert {(_iccid(line, usage.key), f"{usage.cycle_start:%Y-%m}"): usage.total for usage in found} == totals
    this_month = line.cloud.lines.today().replace(day=1)
    assert all(usage.final is (usage.cycle_start < this_month) for usage in found)


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
