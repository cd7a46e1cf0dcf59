"""The verdict table of three views, line by line, and what holds whatever the views are."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.cellular.findings import Kind
from mdm.cellular.verdicts import Line, Tablet, judge

NOW = datetime(2026, 11, 20, 3, tzinfo=UTC)


def ago(days):
    return NOW - timedelta(days=days)


def line(number, tablet=None, *, radio=None, days=1.0, bound=60.0, **more):
    """A SIM in the tablet of this number, which the network saw in that radio so many days ago."""
    seen = {} if radio is None else {"radio": f"R{radio}", "radio_at": ago(days)}
    since = None if tablet is None else ago(bound)
    return Line(number, f"C{number}", tablet, since, **seen, **more)


def tablet(number, *cores, days=1.0, contact=1.0, **more):
    """A tablet whose radio has its number; with `cores` it named these SIMs so many days ago."""
    told = {"cores": frozenset(f"C{core}" for core in cores), "told_at": ago(days)} if cores else {}
    return Tablet(number, frozenset({f"R{number}"}), contact_at=ago(contact), **told, **more)


def verdicts(lines, tablets):
    return sorted((each.kind.value, each.subject) for each in judge(lines, tablets, NOW))


ONE_TWO = [tablet(1), tablet(2)]
SWAPPED = [("swapped_pair", "devices:1-2")]
FOREIGN = [("in_foreign_device", "sim:1")]


@pytest.mark.parametrize(
    ("lines", "tablets", "expected"),
    [
        pytest.param([line(1, 1, radio=1)], [tablet(1, 1)], [], id="all three agree"),
        pytest.param([line(1, 1)], [tablet(1)], [], id="nobody says anything, and not for long"),
        pytest.param([line(1, 1, radio=2), line(2, 2, radio=1)], ONE_TWO, SWAPPED, id="swapped by the carrier"),
        pytest.param([line(1, 1), line(2, 2)], [tablet(1, 2), tablet(2, 1)], SWAPPED, id="swapped by the tablets"),
        pytest.param([line(1, 1, radio=2), line(2, 2)], [tablet(1, 2), tablet(2)], SWAPPED, id="one word each"),
        pytest.param(
            [line(1, 1, radio=2), line(2, 2, radio=2)], ONE_TWO, [("in_other_tablet", "sim:1")], id="only one moved"
        ),
        pytest.param([line(1, 1, radio=2)], ONE_TWO, [("in_other_tablet", "sim:1")], id="into one that has none"),
        pytest.param([line(1, 1, radio=9)], [tablet(1)], FOREIGN, id="a radio that nobody knows"),
        pytest.param([line(1, 1, radio=9)], [tablet(1, 1, days=2)], FOREIGN, id="it left the tablet since"),
        pytest.param([line(1, 1, radio=9, days=2)], [tablet(1, 1)], [], id="it came back since"),
        pytest.param([line(1, 1, radio=9)], [Tablet(1)], [], id="the tablet's radio is not known either"),
        pytest.param([line(1, 1, radio=9, bound=0.5)], [tablet(1)], [], id="said before it was put there"),
        pytest.param([line(1, 1)], [tablet(1, 8)], [("foreign_sim", "device:1")], id="a foreign SIM"),
        pytest.param([line(1, 1, radio=1)], [tablet(1, 1, 8)], [("foreign_sim", "device:1")], id="one beside ours"),
        pytest.param([line(1, 1)], [tablet(1, contact=31)], [("not_seen", "sim:1")], id="unseen for 30 days"),
        pytest.param([line(1, 1)], [tablet(1, contact=29)], [], id="the tablet speaks, by another way"),
        pytest.param([line(1, 1, radio=1, days=29)], [tablet(1, contact=90)], [], id="the network saw it"),
        pytest.param([line(1, 1, used=True)], [tablet(1, contact=90)], [], id="it is used"),
        pytest.param([line(1, 1, bound=10)], [tablet(1, contact=90)], [], id="it was put there lately"),
        pytest.param([line(1, 1)], [tablet(1, contact=90, handed_out=False)], [], id="in a cupboard"),
        pytest.param([line(1, used=True)], [], [("not_in_ledger", "sim:1")], id="used and in no tablet"),
        pytest.param([line(1)], [tablet(2, 1)], [("not_in_ledger", "sim:1")], id="a tablet names it"),
        pytest.param([line(1)], [], [], id="a spare card in a drawer"),
        pytest.param([line(1, used=True, active=False)], [], [], id="terminated"),
    ],
)
def test_the_table(lines, tablets, expected):
    """Each line of the verdict table, and what is none of them."""
    assert verdicts(lines, tablets) == expected


def test_where_a_sim_is_found():
    """The verdict says where the SIM is, on whose word and as of when."""
    [verdict] = judge([line(1, 1, radio=2, days=3), line(2, 2, radio=2)], [tablet(1), tablet(2, 1, days=2)], NOW)
    assert (verdict.other_device_id, verdict.by, verdict.at) == (2, "device", ago(2))
    assert "R" not in repr(line(1, 1, radio=2)).replace("Line", "")


PLACES = st.permutations(range(1, 7))


@given(PLACES, PLACES, st.integers(0, 6), st.randoms())
def test_what_moves_is_found_and_can_be_mended(ledger, truth, words, random):
    """Whatever the ledger says: who believes the verdicts' word on where SIMs are has a ledger without verdicts."""
    tablets = [tablet(n, truth.index(n) + 1) if n <= words else tablet(n) for n in range(1, 7)]
    lines = [line(n, ledger[n - 1], radio=truth[n - 1]) for n in range(1, 7)]
    found = judge(lines, tablets, NOW)
    shuffled = random.sample(lines, len(lines)), random.sample(tablets, len(tablets))
    assert set(judge(*shuffled, NOW)) == set(found)
    moved = {n for n in range(1, 7) if ledger[n - 1] != truth[n - 1]}
    named = [each for verdict in found for each in (verdict.sim_id, verdict.other_sim_id) if each is not None]
    assert sorted(named) == sorted(moved)
    believed = {}
    for verdict in found:
        assert verdict.kind in (Kind.SWAPPED_PAIR, Kind.IN_OTHER_TABLET)
        believed[verdict.sim_id] = verdict.other_device_id
        if verdict.other_sim_id is not None:
            believed[verdict.other_sim_id] = verdict.device_id
    mended = [line(n, believed.get(n, ledger[n - 1]), radio=truth[n - 1], bound=60) for n in range(1, 7)]
    assert judge(mended, tablets, NOW) == []


@given(
    st.lists(
        st.builds(
            line,
            st.integers(1, 5),
            st.one_of(st.none(), st.integers(1, 5)),
            radio=st.one_of(st.none(), st.integers(1, 8)),
            days=st.floats(0, 90),
            bound=st.floats(0, 90),
            used=st.booleans(),
            active=st.booleans(),
        ),
        unique_by=(lambda each: each.sim_id, lambda each: each.device_id or -each.sim_id),
    ),
    st.lists(
        st.builds(
            lambda number, cores, days, contact: tablet(number, *cores, days=days, contact=contact),
            st.integers(1, 5),
            st.sets(st.integers(1, 8), max_size=2),
            st.floats(0, 90),
            st.floats(0, 90),
        ),
        unique_by=lambda each: each.device_id,
    ),
)
def test_whatever_is_said(lines, tablets):
    """No SIM and no tablet has two verdicts of one kind, and each names its time unless nobody has said anything."""
    found = judge(lines, tablets, NOW)
    assert len({(each.kind, each.subject) for each in found}) == len(found)
    sims = [each for verdict in found for each in (verdict.sim_id, verdict.other_sim_id) if each is not None]
    assert len(sims) == len(set(sims))
    assert all(each.at is not None or each.kind is Kind.NOT_IN_LEDGER for each in found)
