"""The gate before a SIM's suspension: the only way to a tablet is not cut before what is wanted has landed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdm.cellular.sim_gate import SHORTEST_WAIT, Allowed, Landed, Refused, decide

NOW = datetime(2026, 4, 1, tzinfo=UTC)
LANDED = st.sampled_from(Landed)


def decided(lock, wipe, *, reason="", waited=timedelta(0), wait=timedelta(hours=24)):
    return decide(lock=lock, wipe=wipe, reason=reason, waiting_since=NOW - waited, now=NOW, wait=wait)


@pytest.mark.parametrize(
    ("lock", "wipe", "reason", "hours", "allowed"),
    [
        (Landed.LANDED, Landed.LANDED, "", 0, True),
        (Landed.LANDED, Landed.NOT_WANTED, "", 0, True),
        (Landed.LANDED, Landed.UNDER_WAY, "why", 23, False),
        (Landed.LANDED, Landed.UNDER_WAY, "why", 24, True),
        (Landed.LANDED, Landed.UNDER_WAY, " ", 24, False),
        (Landed.UNDER_WAY, Landed.NOT_WANTED, "why", 1, False),
        (Landed.FAILED, Landed.LANDED, "why", 30, True),
        (Landed.NOT_WANTED, Landed.NOT_WANTED, "why", 1000, False),
    ],
)
def test_the_gate(lock, wipe, reason, hours, allowed):
    """What has landed opens it; a reason opens it only after the stated wait; without a lock it stays shut."""
    assert isinstance(decided(lock, wipe, reason=reason, waited=timedelta(hours=hours)), Allowed) == allowed


@given(lock=LANDED, wipe=LANDED, minutes=st.integers(0, 100_000), wait=st.integers(0, 100_000), reason=st.text())
def test_nothing_is_cut_off_in_silence(lock, wipe, minutes, wait, reason):
    """Whenever it opens while something has not landed, there was a reason, a wait, and there is a warning."""
    waited = timedelta(minutes=minutes)
    decision = decided(lock, wipe, reason=reason, waited=waited, wait=timedelta(minutes=wait))
    missing = lock is not Landed.LANDED or wipe not in (Landed.LANDED, Landed.NOT_WANTED)
    if isinstance(decision, Allowed) and missing:
        assert reason.strip()
        assert waited >= SHORTEST_WAIT
        assert decision.warning
    if isinstance(decision, Refused) and decision.until is not None and reason.strip():
        assert decision.until > NOW
