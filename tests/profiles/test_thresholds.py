"""When a rollout stops by itself and when it goes on, as values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from profiles.rollouts.thresholds import Consequence, HaltCode, Numbers, Thresholds, judge, may_open_next

LIMITS = Thresholds().settled_for(staged=True, proof=True)


def wave(number=1, *, released=100, installed=0, failed=0, superseded=0, silent=0, unproved=0):
    return Numbers(number, released, installed, failed, superseded, silent, unproved)


@pytest.mark.parametrize(
    ("waves", "expected"),
    [
        ([wave(installed=100)], None),
        ([wave(installed=3, failed=2)], None),  # two of five are too few to say anything
        ([wave(installed=2, failed=3)], (HaltCode.FAILURES, 1, 3, 5)),
        ([wave(released=150, installed=147, failed=3)], None),  # exactly two per cent
        ([wave(released=150, installed=146, failed=3)], (HaltCode.FAILURES, 1, 3, 149)),
        ([wave(installed=100, silent=1)], None),  # exactly one per cent
        ([wave(installed=99, silent=1)], (HaltCode.SILENCE, 1, 1, 99)),
        ([wave(installed=10, failed=9, silent=1)], (HaltCode.SILENCE, 1, 1, 10)),
        ([wave(1, installed=5, failed=2), wave(2, installed=5, failed=2)], (HaltCode.FAILURES, 0, 4, 14)),
        ([wave(1, released=9000, installed=9000), wave(2, installed=10, failed=3)], (HaltCode.FAILURES, 2, 3, 13)),
        ([], None),
    ],
)
def test_failures_and_silence_stop_a_rollout(waves, expected):
    """More than two per cent and at least three fail, or more than one per cent fall silent: in a wave or in all."""
    found = judge(waves, LIMITS)
    assert (found and (found.code, found.wave, found.counted, found.of)) == expected


def test_silence_rolls_back_and_failures_hold_unless_told_otherwise():
    """Silent tablets may have lost their line; failed ones still answer."""
    failed, silent = [wave(installed=2, failed=3)], [wave(installed=10, silent=2)]
    assert judge(silent, LIMITS).consequence is Consequence.ROLL_BACK
    assert judge(failed, LIMITS).consequence is Consequence.HOLD
    turned = LIMITS.model_copy(update={"on_silence": Consequence.HOLD, "on_failures": Consequence.ROLL_BACK})
    assert judge(silent, turned).consequence is Consequence.HOLD
    assert judge(failed, turned).consequence is Consequence.ROLL_BACK


@pytest.mark.parametrize(
    ("numbers", "released_for_s", "opens"),
    [
        (wave(installed=90), 1800, True),
        (wave(installed=89), 1800, False),
        (wave(installed=80, failed=5, superseded=5), 1800, True),
        (wave(installed=90), 1799, False),
        (wave(installed=90), None, False),
        (wave(installed=100, unproved=1), 9999, False),
        (wave(released=0), 1800, True),
    ],
)
def test_the_next_wave_opens_when_this_one_has_settled_lived_and_soaked(numbers, released_for_s, opens):
    """Nine of ten settled, nobody's life unproved, half an hour since the last was told."""
    assert may_open_next(numbers, LIMITS, released_for_s=released_for_s) is opens


def test_what_is_left_open_follows_the_kind():
    """Staged waves soak half an hour; a handful at once is not asked for a proof."""
    plain = Thresholds().settled_for(staged=False, proof=False)
    assert (plain.soak_s, plain.proof) == (0, False)
    assert (LIMITS.soak_s, LIMITS.proof) == (1800, True)
    assert Thresholds(soak_s=7, proof=True).settled_for(staged=False, proof=False).soak_s == 7
    with pytest.raises(ValidationError, match="woken"):
        Thresholds(pulse_after_s=20, silent_after_s=10)


@given(st.integers(0, 2000), st.integers(0, 200), st.integers(0, 200), st.floats(0, 1), st.integers(1, 50))
def test_more_failures_never_let_a_stopped_rollout_run(installed, failed, more, share, least):
    """What stops at some number of failures stops at every greater one, and never below the least."""
    limits = Thresholds(failures=share, failures_min=least)
    stopped = judge([wave(installed=installed, failed=failed)], limits)
    if stopped:
        assert judge([wave(installed=installed, failed=failed + more)], limits)
        assert failed >= least
        assert failed > share * (installed + failed)
    else:
        assert failed < least or failed <= share * (installed + failed)
