"""Rollouts that stop by themselves: on failures, and on tablets that fall silent after installing."""

import pytest
from sqlalchemy import text

from mdm.devices.models import Lane
from mdm.errors import Conflict
from profiles import rollouts
from profiles.models import RolloutState
from profiles.rollouts.thresholds import Consequence
from tests.profiles.rolling import (
    SHARP,
    SWIFT,
    be_heard,
    go_on,
    holding,
    refuse,
    show,
    start,
    two_revisions,
    waiting,
)

BY_SCHOOL = {"kind": "by_school"}


def later(session, seconds):
    """As if so much time had passed since everything that was noted of rollouts."""
    session.commit()
    for column in ("released_at", "installed_at", "pulsed_at"):
        session.execute(
            text(f"UPDATE rollout_target SET {column} = {column} - make_interval(secs => :s)"), {"s": seconds}
        )
    for table, column in (("rollout_wave", "released_at"), ("enrollment", "last_seen_at")):
        session.execute(text(f"UPDATE {table} SET {column} = {column} - make_interval(secs => :s)"), {"s": seconds})
    session.commit()


def test_failures_halt_it_and_who_has_not_installed_falls_back(district, session):
    """No further wave, nobody is woken for it; who has it keeps it; the tablets' words are kept with the numbers."""
    district.add_tablet("E", "0101")
    two_revisions(district)
    session.execute(text("DELETE FROM wakeup"))
    shown = start(district, waves=BY_SCHOOL, thresholds=SWIFT)
    refuse(district, "A", "B")
    go_on(district, installing="E")
    assert show(district, shown.id).state is RolloutState.RUNNING, "two failures are too few"
    refuse(district, "C")
    go_on(district)
    found = show(district, shown.id)
    assert found.state is RolloutState.HALTED
    assert (found.halt["code"], found.halt["wave"], found.halt["counted"], found.halt["of"]) == ("failures", 1, 3, 4)
    assert [(why["tablets"], why["reason"].split(": ")[1]) for why in found.halt["reasons"]] == [(3, "no room")]
    assert (found.counts["failed"], found.counts["installed"]) == (3, 1)
    assert (holding(district, 1), holding(district, 2)) == ("ABCD", "E")
    assert waiting(district) == "ABC", "they are told to go back"
    go_on(district, installing="ABC")
    assert show(district, shown.id).restored.restored == 3
    with pytest.raises(Conflict, match="start another"):
        rollouts.resume(session, district.principal, shown.id, reason="go on")
    rollouts.roll_back(session, district.principal, shown.id, reason="all of it")
    go_on(district)
    assert holding(district, 1) == "ABCDE"


def test_failures_can_roll_it_back_by_themselves(district, session):
    """Where its thresholds say so; the layer falls back with the tablets."""
    two_revisions(district)
    limits = SWIFT.model_copy(update={"on_failures": Consequence.ROLL_BACK, "failures_min": 1})
    shown = start(district, thresholds=limits)
    refuse(district, "A")
    go_on(district, installing="BCD")
    found = show(district, shown.id)
    assert (found.state, found.halt["code"], found.counts["installed"]) == (RolloutState.ROLLED_BACK, "failures", 3)
    assert holding(district, 1) == "ABCD"
    actions = session.execute(text("SELECT action FROM audit_event WHERE actor = 'job:rollouts' ORDER BY id"))
    assert list(actions.scalars()) == ["rollout.halt", "rollout.roll_back"]


def test_a_failure_that_mends_itself_is_none(district):
    """It was counted as failed, then it installed."""
    two_revisions(district)
    shown = start(district, thresholds=SWIFT)
    refuse(district, "A")
    assert go_on(district) == 0
    assert show(district, shown.id).counts["failed"] == 1
    assert go_on(district, installing="ABCD") == 1
    assert show(district, shown.id).counts["failed"] == 0


def test_each_tablet_is_woken_once_to_show_that_it_lives(district, session):
    """Some time after installing, in the lane of people's requests; the next wave waits for it."""
    two_revisions(district)
    limits = SHARP.model_copy(update={"pulse_after_s": 600, "silent_after_s": 1800})
    shown = start(district, waves=BY_SCHOOL, thresholds=limits)
    session.execute(text("DELETE FROM wakeup"))
    be_heard(district, *"ABC")
    go_on(district, installing="ABC")
    assert waiting(district) == ""
    later(session, 601)
    go_on(district)
    assert waiting(district) == "ABC"
    assert session.execute(text("SELECT DISTINCT lane FROM wakeup")).scalars().all() == [Lane.NORMAL]
    session.execute(text("DELETE FROM wakeup"))
    go_on(district)
    assert (waiting(district), holding(district, 1)) == ("", "D")
    be_heard(district, *"ABC")
    go_on(district)
    assert holding(district, 2) == "ABCD"
    assert show(district, shown.id).state is RolloutState.RUNNING


def test_silence_after_installing_rolls_it_back(district, session):
    """In the first wave, before anybody else is touched; whoever still answers is brought back."""
    two_revisions(district)
    limits = SHARP.model_copy(update={"pulse_after_s": 600, "silent_after_s": 1800})
    session.execute(text("DELETE FROM wakeup"))
    shown = start(district, waves=BY_SCHOOL, thresholds=limits)
    go_on(district, installing="ABC")
    later(session, 601)
    go_on(district)
    be_heard(district, "A", "B")
    go_on(district)
    assert show(district, shown.id).state is RolloutState.RUNNING
    later(session, 1200)
    go_on(district)
    found = show(district, shown.id)
    assert found.state is RolloutState.ROLLED_BACK
    assert (found.halt["code"], found.halt["counted"], found.halt["of"]) == ("silence", 1, 3)
    assert holding(district, 1) == "ABCD"
    assert waiting(district) == "ABC"
    be_heard(district, "A", "B")
    district.install_everything("A", "B")
    assert (found.restored.asked, show(district, shown.id).restored.answered) == (3, 2)
    assert show(district, shown.id).restored.restored == 2


def test_a_tablet_that_was_only_off_for_a_while_is_not_silent_any_more(district, session):
    """Silence is what is so now."""
    two_revisions(district)
    limits = SHARP.model_copy(update={"silent": 0.5, "silent_after_s": 600})
    shown = start(district, waves=BY_SCHOOL, thresholds=limits)
    go_on(district, installing="ABC")
    be_heard(district, "A", "B")
    later(session, 601)
    go_on(district)
    assert session.execute(text("SELECT count(*) FROM rollout_target WHERE silent_at IS NOT NULL")).scalar_one() == 1
    be_heard(district, "C")
    go_on(district)
    assert session.execute(text("SELECT count(*) FROM rollout_target WHERE silent_at IS NOT NULL")).scalar_one() == 0
    assert show(district, shown.id).state is RolloutState.RUNNING


def test_the_last_wave_is_watched_as_the_others_are(district, session):
    """A rollout is finished when its last tablets have shown that they live, and not before."""
    two_revisions(district)
    shown = start(district, thresholds=SHARP)
    assert go_on(district, installing="ABCD") == 0
    be_heard(district, *"ABC")
    found = None
    for _ in range(3):
        go_on(district)
        found = show(district, shown.id)
    assert (found.state, found.halt["code"]) == (RolloutState.ROLLED_BACK, "silence")


def test_a_wake_up_whose_window_closed_gets_the_next_one(district, session):
    """And one that was pushed and stays silent keeps its pause."""
    two_revisions(district)
    session.execute(text("DELETE FROM wakeup"))
    start(district, thresholds=SWIFT)
    session.execute(text("UPDATE wakeup SET closes_at = now() - interval '1 s'"))
    pause = "UPDATE wakeup SET due_at = now() + interval '1 hour', attempts = 2 WHERE device_id = :id"
    session.execute(text(pause), {"id": district.tablets["A"]})
    go_on(district)
    assert waiting(district) == "ABCD"
    rows = session.execute(
        text("SELECT device_id, attempts, due_at > now() + interval '50 min' FROM wakeup ORDER BY device_id")
    )
    assert [tuple(row)[1:] for row in rows] == [(2, True), (0, False), (0, False), (0, False)]
