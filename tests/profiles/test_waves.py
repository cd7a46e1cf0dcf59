"""How tablets are divided into waves, as values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from profiles.rollouts.waves import BUCKETS, Draft, Ring, Waves, default_kind, drafts, numbered

RINGS = [Ring("office", ["school=9999"]), Ring("pilots", ["class=0101/6/1", "serial=A"])]


@pytest.mark.parametrize(
    ("waves", "expected"),
    [
        ({"kind": "at_once"}, [("everyone", (), BUCKETS)]),
        (
            {"kind": "staged"},
            [
                ("office", ("school=9999",), None),
                ("pilots", ("class=0101/6/1", "serial=A"), None),
                ("1 %", (), 100),
                ("10 %", (), 1100),
                ("the rest", (), BUCKETS),
            ],
        ),
        (
            {"kind": "staged", "rings": False, "shares": [0.001]},
            [("0.001 %", (), 1), ("the rest", (), BUCKETS)],
        ),
        (
            {"kind": "by_school", "schools_at_once": 2},
            [("0101, 0102", ("school=0101", "school=0102"), None), ("0103", ("school=0103",), None)],
        ),
        (
            {"kind": "by_hand", "lists": [["school=0102"]]},
            [("0102", ("school=0102",), None), ("the rest", (), BUCKETS)],
        ),
        ({"kind": "by_hand", "lists": [["school=0102"]], "rest": "never"}, [("0102", ("school=0102",), None)]),
    ],
)
def test_each_kind_lays_its_waves_out(waves, expected):
    """Rings first, then shares, then the rest; school by school; list by list."""
    found = drafts(Waves(**waves), rings=RINGS, schools=["0101", "0102", "0103"])
    assert [(draft.name, draft.places, draft.until) for draft in found] == expected


@pytest.mark.parametrize(
    ("waves", "said"),
    [
        ({"kind": "by_hand"}, "lists of places"),
        ({"kind": "at_once", "shares": [1]}, "have no shares"),
        ({"kind": "staged", "lists": [["school=0101"]], "rest": "never"}, "have no lists, rest"),
        ({"kind": "staged", "shares": [60, 50]}, "nothing for the last wave"),
        ({"kind": "staged", "shares": [0]}, "greater than 0"),
        ({"kind": "by_school", "schools_at_once": 0}, "greater than or equal to 1"),
        ({"kind": "sideways"}, "at_once"),
    ],
)
def test_what_does_not_add_up_is_refused(waves, said):
    """A field that the kind does not have is a mistake, not a wish to be forgotten."""
    with pytest.raises(ValidationError, match=said):
        Waves(**waves)


@pytest.mark.parametrize(("tablets", "kind"), [(0, "at_once"), (499, "at_once"), (500, "staged")])
def test_many_tablets_go_in_stages_unless_somebody_says_otherwise(tablets, kind):
    """A school's worth of tablets is not tried out on all at once."""
    assert default_kind(tablets).value == kind


@given(st.lists(st.integers(min_value=0, max_value=5), min_size=1, max_size=12))
def test_waves_are_numbered_without_gaps_and_everybody_has_one(sizes):
    """Empty ones are left out; what is empty points to a wave that is not, and never before its place."""
    found = [Draft(str(place)) for place in range(len(sizes))]
    waves, numbers = numbered(found, dict(enumerate(sizes)))
    assert [wave.number for wave in waves] == list(range(1, len(waves) + 1))
    assert [wave.size for wave in waves] == ([size for size in sizes if size] or [0])
    for place, size in enumerate(sizes):
        assert numbers[place] in {wave.number for wave in waves}
        if size:
            assert waves[numbers[place] - 1].name == str(place)
    assert list(numbers.values()) == sorted(numbers.values())
