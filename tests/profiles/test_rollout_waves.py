"""Rollouts in waves: who is told when, who is left out, and what becomes of those who come later."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from mdm import clock
from mdm.devices.models import Device, Lane, LedgerState
from mdm.errors import Conflict, Invalid, NotFound
from profiles import policies, rollouts, targets
from profiles.models import RolloutState
from profiles.rollouts import release, rings
from profiles.rollouts.schedules import Schedule
from profiles.rollouts.waves import Waves
from tests.profiles.rolling import (
    SECTIONS,
    SWIFT,
    apply,
    go_on,
    holding,
    revisions,
    show,
    start,
    two_revisions,
    waiting,
)

HALVES = {"kind": "staged", "shares": [50]}


def waves_of(shown):
    return [(wave.name, wave.state.value, wave.size) for wave in shown.waves]


def test_rings_go_first_then_shares_then_the_rest(district, session):
    """Each wave is told only when the one before it has settled; the layer has the revision with the last."""
    two_revisions(district)
    rings.put(session, district.principal, "office", ["serial=D"])
    rings.put(session, district.principal, "pilots", ["class=0101/6/1", "serial=D"])
    shown = start(district, waves={"kind": "staged", "shares": []}, thresholds=SWIFT)
    assert waves_of(shown) == [("office", "released", 1), ("pilots", "waiting", 2), ("the rest", "waiting", 1)]
    assert (holding(district, 2), holding(district, 1)) == ("D", "ABC")
    assert go_on(district) == 0
    assert holding(district, 2) == "D"
    go_on(district, installing="D")
    assert (holding(district, 2), holding(district, 1)) == ("ABD", "C")
    assert policies.show(session, district.principal, "district").released == 1
    go_on(district, installing="AB")
    assert holding(district, 2) == "ABCD"
    assert policies.show(session, district.principal, "district").released == 2
    assert show(district, shown.id).state is RolloutState.RUNNING
    assert go_on(district, installing="C") == 1
    ended = show(district, shown.id)
    assert (ended.state, ended.counts["installed"]) == (RolloutState.FINISHED, 4)
    assert [wave.counts["installed"] for wave in ended.waves] == [1, 2, 1]


def test_shares_are_strewn_by_tablet_and_rollout(district):
    """A share is about as large as it says, nobody is in two waves, and another rollout tries others first."""
    for number in range(60):
        district.add_tablet(f"M{number}", "0102")
    two_revisions(district)
    first = start(district, waves=HALVES, thresholds=SWIFT)
    assert [wave.name for wave in first.waves] == ["50 %", "the rest"]
    assert sum(wave.size for wave in first.waves) == 64
    assert 12 < first.waves[0].size < 52
    early = {serial for serial, has in revisions(district).items() if has == 2}
    assert len(early) == first.waves[0].size
    rollouts.roll_back(district.session, district.principal, first.id, reason="again")
    go_on(district)
    start(district, waves=HALVES, thresholds=SWIFT)
    assert {serial for serial, has in revisions(district).items() if has == 2} != early


def test_schools_go_one_after_the_other(district):
    """One wave for each, in the order of their codes."""
    two_revisions(district)
    shown = start(district, waves={"kind": "by_school"}, thresholds=SWIFT)
    assert waves_of(shown) == [("0101", "released", 3), ("0102", "waiting", 1)]
    assert holding(district, 2) == "ABC"
    go_on(district, installing="ABC")
    assert holding(district, 2) == "ABCD"


def test_waves_by_hand_wait_for_hands_in_their_order(district, session):
    """Nothing opens by itself, the second not before the first, and opening twice changes nothing."""
    two_revisions(district)
    shown = start(district, waves={"kind": "by_hand", "lists": [["serial=C"], ["school=0101"]]}, thresholds=SWIFT)
    assert waves_of(shown) == [("serial=C", "waiting", 1), ("0101", "waiting", 2), ("the rest", "waiting", 1)]
    go_on(district)
    assert holding(district, 2) == ""
    with pytest.raises(Conflict, match="come first"):
        rollouts.release_wave(session, district.principal, shown.id, 2)
    with pytest.raises(NotFound):
        rollouts.release_wave(session, district.principal, shown.id, 4)
    for _ in range(2):
        rollouts.release_wave(session, district.principal, shown.id, 1)
    assert holding(district, 2) == "C"
    rollouts.release_wave(session, district.principal, shown.id, 2)
    assert holding(district, 2) == "ABC"
    with pytest.raises(Conflict, match="wave 3 has not been told"):
        rollouts.finish(session, district.principal, shown.id)


def test_a_rest_that_is_never_told_keeps_what_it_has(district, session):
    """And such a rollout does not give the revision to the layer."""
    two_revisions(district)
    shown = start(district, waves={"kind": "by_hand", "lists": [["school=0102"]], "rest": "never"}, thresholds=SWIFT)
    assert (shown.whole_layer, shown.counts["excluded"]) == (False, 3)
    rollouts.release_wave(session, district.principal, shown.id, 1)
    go_on(district, installing="D")
    assert show(district, shown.id).state is RolloutState.FINISHED
    assert (holding(district, 1), holding(district, 2)) == ("ABC", "D")
    assert policies.show(session, district.principal, "district").released == 1


def test_who_is_left_out_by_hand_keeps_its_revision_for_good(district, session):
    """Although the layer gets the next one; with the reason shown, until a rollout does not leave it out."""
    two_revisions(district)
    targets.retarget(session, [district.add_tablet("OUT", "0102", active=False)])
    shown = start(district, exclude=("serial=A", "school=0102"))
    assert {(why.reason, why.tablets) for why in shown.reasons} == {
        ("left out: serial=A", 1),
        ("left out: school=0102", 2),
    }
    assert (holding(district, 1), holding(district, 2)) == ("ADOUT", "BC")
    assert policies.show(session, district.principal, "district").released == 2
    targets.retarget(session, list(district.tablets.values()))
    assert holding(district, 1) == "ADOUT"
    late = district.add_tablet("LATE", "0102")
    targets.retarget(session, [late])
    assert holding(district, 2) == "BCLATE"
    start(district)
    assert holding(district, 2) == "ABCDLATEOUT"


def test_who_is_left_out_of_the_first_rollout_gets_nothing(district):
    """There is nothing it could keep."""
    apply(district, usb=SECTIONS[1])
    start(district, exclude=("class=0101/6/1",))
    assert (holding(district, 1), holding(district, None)) == ("CD", "AB")


def test_places_to_leave_out_are_checked_one_by_one(district):
    """Each mistake is named by its place in the list."""
    apply(district, usb=SECTIONS[1])
    with pytest.raises(Invalid) as refusal:
        start(district, exclude=("school=0101", "school=9999", "somebody", "fleet"))
    assert [each["pointer"] for each in refusal.value.errors] == ["/exclude/1", "/exclude/2", "/exclude/3"]

    with pytest.raises(Invalid) as refusal:
        start(district, waves={"kind": "by_hand", "lists": [["school=0101"], ["school=0102", "class=0101/9/9"]]})
    assert [each["pointer"] for each in refusal.value.errors] == ["/waves/lists/1/1"]


def test_a_schedule_that_never_opens_is_refused(district):
    """Nobody would ever be woken."""
    apply(district, usb=SECTIONS[1])
    over = Schedule(not_after=clock.now() - timedelta(days=1), avoid_marks=False, obey_class_hours=False)
    with pytest.raises(Invalid) as refusal:
        start(district, schedule=over)
    assert refusal.value.errors[0]["pointer"] == "/schedule"


def test_tablets_that_cannot_be_reached_are_told_last(district, session):
    """They get it when they come back, whichever share they would have been in."""
    two_revisions(district)
    lost = session.get(Device, district.tablets["A"])
    lost.state = LedgerState.LOST
    session.add(lost)
    shown = start(district, waves={"kind": "by_school"}, thresholds=SWIFT)
    assert [wave.size for wave in shown.waves] == [2, 1]
    assert (holding(district, 2), shown.counts["excluded"]) == ("BC", 1)
    go_on(district, installing="BC")
    assert holding(district, 2) == "ABCD"
    assert go_on(district, installing="D") == 1


def test_tablets_that_come_between_the_waves_get_the_former_and_then_the_new(district, session):
    """The layer has what its last finished rollout brought, until all waves are told."""
    two_revisions(district)
    start(district, waves={"kind": "by_school"}, thresholds=SWIFT)
    targets.retarget(session, [district.add_tablet("LATE", "0101")])
    assert holding(district, 1) == "DLATE"
    go_on(district, installing="ABC")
    changed, more = targets.catch_up(session)
    assert (changed, more) == (1, False)
    assert holding(district, 2) == "ABCDLATE"


def test_many_tablets_are_told_by_the_worker_in_pieces(district, session):
    """The call that starts tells nobody; a worker that dies in between loses and doubles nothing."""
    for number in range(120):
        district.add_tablet(f"M{number}", "0102")
    apply(district, usb=SECTIONS[1])
    shown = start(district, waves=Waves(kind="at_once"), thresholds=SWIFT)
    assert holding(district, 1) == ""
    assert shown.counts["pending"] == 124
    told = release.chunk(session, shown.id, limit=50)
    session.rollback()  # killed before the commit
    assert holding(district, 1) == ""
    assert release.chunk(session, shown.id, limit=50) == told
    session.commit()
    first = _told(session)
    go_on(district)
    assert holding(district, None) == ""
    assert _told(session).items() >= first.items(), "nobody is told twice"
    assert session.execute(text("SELECT count(*), count(DISTINCT lane), min(lane) FROM wakeup")).one() == (
        124,
        1,
        Lane.BULK,
    )
    assert go_on(district, installing=district.tablets) == 1


def _told(session):
    rows = session.execute(text("SELECT device_id, released_at FROM rollout_target WHERE released_at IS NOT NULL"))
    return dict(rows.all())


def test_wake_ups_carry_what_they_will_make_the_tablet_fetch(district, session):
    """Only artifacts that are new to it count, as base64."""
    apply(district, usb=SECTIONS[1])
    start(district)
    (first,) = _payloads(session)
    district.install_everything(*"ABCD")
    session.execute(text("DELETE FROM wakeup"))
    apply(district, usb=SECTIONS[1], web_filter={"adult_filter": True})
    start(district)
    (second,) = _payloads(session)
    sizes = session.execute(
        text("SELECT ceil(octet_length(body) * 4 / 3) FROM artifact ORDER BY created_at, identifier")
    )
    assert [first, second] == list(sizes.scalars())
    assert waiting(district) == "ABCD"


def _payloads(session):
    return session.execute(text("SELECT DISTINCT payload_bytes FROM wakeup")).scalars().all()
