"""The short form of the stolen session: a friend of the thief's at the desk signs. The long one is `make attack`."""

import pytest

from tests.faults.stolen_session import rob, scene_of

pytestmark = pytest.mark.timeout(480)


@pytest.mark.parametrize("inside", [False, True])
def test_a_stolen_session_and_a_colluder_erase_no_more_than_a_signers_budget(inside):
    """Few tablets are erased, the breaker opens, whoever is on duty is paged; also with the web process's own role."""
    with scene_of(40) as (scene, pager):
        outcome = rob(scene, pager, "with a colluder", seconds=20, seed=1, colluding=True, inside=inside)
    assert outcome.held, outcome
    assert bool(outcome.statements) is inside
