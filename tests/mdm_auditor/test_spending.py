"""What left is counted over sliding windows against what the thresholds were at that time."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from mdm.auditor.spending import LIMITS, Departure, Thresholds, over_budget

START = datetime(2026, 4, 1, tzinfo=UTC)
FIRST = {"a.operator.hour": 3, "a.operator.day": 10, "a.school.hour": 3, "a.fleet.hour": 10, "a.fleet.day": 25}


def _left(number: int, minutes: float, school: int = 1, *people: int) -> Departure:
    return Departure(UUID(int=number), START + timedelta(minutes=minutes), school, frozenset(people or (number,)))


def test_a_full_hour():
    """The fourth of a school within an hour is over; one that leaves when the first is an hour old is not."""
    found = over_budget([_left(number, number * 10) for number in range(4)], Thresholds(FIRST, []))
    assert found == {UUID(int=3)}
    in_time = [_left(0, 0), _left(1, 1), _left(2, 2), _left(3, 60)]
    assert over_budget(in_time, Thresholds(FIRST, [])) == set()


def test_whoever_signed_counts_too():
    """An approver who signs for ever new requesters is bound as well, in every school."""
    left = [_left(number, number, number, number, 99) for number in range(1, 5)]
    assert over_budget(left, Thresholds(FIRST, [])) == {UUID(int=4)}


def test_what_held_then():
    """What was loosened later does not excuse what left before; what is tightened later does not accuse it."""
    left = [_left(number, number, 1) for number in range(4)]
    assert over_budget(left, Thresholds(FIRST, [("a.school.hour", START + timedelta(hours=2), 50)])) == {UUID(int=3)}
    assert over_budget(left, Thresholds(FIRST, [("a.school.hour", START - timedelta(hours=2), 50)])) == set()
    assert over_budget(left[:3], Thresholds(FIRST, [("a.school.hour", START + timedelta(hours=2), 0)])) == set()


@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 3), st.integers(1, 3)), max_size=40))
def test_like_counting_one_by_one(facts):
    """The sliding count agrees with counting each window anew."""
    left = [
        Departure(UUID(int=number), START + timedelta(minutes=minutes), school, frozenset({person}))
        for number, (minutes, school, person) in enumerate(facts)
    ]
    wanted = set()
    for name, window, together in LIMITS:
        for each in left:
            alike = {
                "people": lambda one, each=each: one.people == each.people,
                "school": lambda one, each=each: one.school_id == each.school_id,
                "fleet": lambda _: True,
            }[together]
            # Of those that left in the same moment the first in line are within the budget.
            before = [one for one in left if alike(one) and each.at - window < one.at <= each.at]
            ahead = [one for one in before if one.at < each.at or one.command_id.int <= each.command_id.int]
            if len(ahead) > FIRST[name]:
                wanted.add(each.command_id)
    assert over_budget(left, Thresholds(FIRST, [])) == wanted
