"""What operators do with a rollout, and what several rollouts do to each other."""

import pytest
from sqlalchemy import text

from mdm.auth import CredentialKind, Principal, Role
from mdm.auth.models import Operator
from mdm.devices.models import Lane
from mdm.errors import Conflict, Forbidden, Invalid
from mdm.limits import limits
from mdm.limits.values import Name
from mdm.safeguards.approvals import SelfApproval, SubjectChanged
from profiles import policies, rollouts, targets
from profiles.models import RolloutState
from tests.profiles.rolling import (
    SECTIONS,
    SWIFT,
    apply,
    go_on,
    holding,
    show,
    start,
    two_revisions,
    waiting,
)

BY_SCHOOL = {"kind": "by_school"}


def act(district, name, rollout_id, *, reason="an invented reason"):
    found = getattr(rollouts, name)(district.session, district.principal, rollout_id, reason=reason)
    district.session.commit()
    return found


def audited(session, action):
    rows = session.execute(
        text("SELECT details FROM audit_event WHERE action = :action ORDER BY id"), {"action": action}
    )
    return rows.scalars().all()


def test_a_pause_takes_back_what_was_not_sent_and_a_resume_plans_it_again(district, session):
    """No further wave while it is paused, although the one before has settled; both may be asked twice."""
    two_revisions(district)
    session.execute(text("DELETE FROM wakeup"))
    shown = start(district, waves=BY_SCHOOL, thresholds=SWIFT)
    assert waiting(district) == "ABC"
    for _ in range(2):
        assert act(district, "pause", shown.id).state is RolloutState.PAUSED
    assert waiting(district) == ""
    go_on(district, installing="ABC")
    assert (holding(district, 2), show(district, shown.id).state) == ("ABC", RolloutState.PAUSED)
    for _ in range(2):
        assert act(district, "resume", shown.id).state is RolloutState.RUNNING
    go_on(district)
    assert holding(district, 2) == "ABCD"
    assert len(audited(session, "rollout.pause")) == len(audited(session, "rollout.resume")) == 1
    act(district, "pause", shown.id)
    act(district, "resume", shown.id)
    assert waiting(district) == ""
    go_on(district)
    assert waiting(district) == "D"
    assert show(district, shown.id).reason == "an invented reason"


def test_a_pause_leaves_awake_whom_something_else_needs(district, session):
    """An order, or another rollout under way."""
    apply(district, usb=SECTIONS[1])
    shown = start(district)
    apply(district, "six-one", {"class": "0101/6/1"}, web_filter={"adult_filter": True})
    start(district, policy="six-one")
    session.execute(
        text(
            "INSERT INTO command (device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at)"
            " VALUES (:device, 1, 'inventory_device', '{}', 'x', 1, 'queued', now() + interval '1 day')"
        ),
        {"device": district.tablets["C"]},
    )
    act(district, "pause", shown.id)
    assert waiting(district) == "ABC"


def test_an_abort_lets_who_has_not_installed_fall_back(district, session):
    """Who has it keeps it, also against a later look; the numbers freeze; a second abort changes nothing."""
    two_revisions(district)
    shown = start(district)
    assert policies.show(session, district.principal, "district").released == 2
    district.install_everything("A", "D")
    session.execute(text("DELETE FROM wakeup"))
    for _ in range(2):
        assert act(district, "abort", shown.id).state is RolloutState.ABORTED
    late = district.add_tablet("LATE", "0101")
    go_on(district)
    targets.retarget(session, [*district.tablets.values(), late])
    assert (holding(district, 2), holding(district, 1)) == ("AD", "BCLATE")
    found = show(district, shown.id)
    assert (found.counts["installed"], found.restored.asked, found.restored.restored) == (2, 2, 0)
    assert policies.show(session, district.principal, "district").released == 1
    district.install_everything(*"BC")
    assert show(district, shown.id).restored.restored == 2
    assert audited(session, "rollout.abort") == [{"was": "running", "installed": 2, "failed": 0}]
    with pytest.raises(Conflict, match="aborted: only a paused"):
        act(district, "resume", shown.id)


def test_a_roll_back_returns_everybody_also_long_after_the_end(district, session):
    """Those who installed it, those who did not, and those who came later; in the lane of people's requests."""
    two_revisions(district)
    shown = start(district)
    assert go_on(district, installing="ABCD") == 1
    targets.retarget(session, [district.add_tablet("LATE", "0101")])
    assert holding(district, 2) == "ABCDLATE"
    session.execute(text("DELETE FROM wakeup"))
    for _ in range(2):
        assert act(district, "roll_back", shown.id).state is RolloutState.ROLLED_BACK
    go_on(district)
    targets.catch_up(session)
    assert holding(district, 1) == "ABCDLATE"
    assert waiting(district) == "ABCDLATE"
    assert session.execute(text("SELECT DISTINCT lane FROM wakeup")).scalars().all() == [Lane.NORMAL]
    found = show(district, shown.id)
    assert (found.counts["installed"], found.restored.asked, found.restored.restored) == (4, 4, 0)
    with pytest.raises(Conflict, match="rolled_back"):
        act(district, "abort", shown.id)


def test_a_roll_back_of_the_very_first_takes_everything_away(district, session):
    """There was nothing before it."""
    apply(district, usb=SECTIONS[1])
    shown = start(district)
    go_on(district, installing="ABCD")
    act(district, "roll_back", shown.id)
    go_on(district)
    assert holding(district, None) == "ABCD"
    assert policies.show(session, district.principal, "district").released is None


def test_rolling_back_the_middle_of_three_leaves_the_latest_alone(district, session):
    """And rolling the latest back then leads past the middle to the first."""
    two_revisions(district)
    second = start(district)
    apply(district, usb=SECTIONS[3])
    third = start(district)
    go_on(district)
    act(district, "roll_back", second.id)
    go_on(district)
    assert holding(district, 3) == "ABCD"
    act(district, "roll_back", third.id)
    go_on(district)
    assert holding(district, 1) == "ABCD"


def test_a_later_wave_of_an_older_rollout_never_overrides_a_newer_one(district, session):
    """Whatever the order in which the worker comes to them: a class got revision 3 while 2 was going out."""
    two_revisions(district)
    older = start(district, waves={"kind": "by_hand", "lists": [["school=0102"]]}, thresholds=SWIFT)
    apply(district, usb=SECTIONS[3])
    newer = start(district, "class=0101/6/1")
    assert (holding(district, 1), holding(district, 3)) == ("CD", "AB")
    rollouts.release_wave(session, district.principal, older.id, 1)
    rollouts.release_wave(session, district.principal, older.id, 2)
    assert (holding(district, 2), holding(district, 3)) == ("CD", "AB")
    assert show(district, older.id).counts["superseded"] == 2
    go_on(district, installing="ABCD")
    assert show(district, older.id).state is RolloutState.SUPERSEDED
    assert show(district, newer.id).state is RolloutState.FINISHED
    act(district, "roll_back", newer.id)
    go_on(district)
    assert holding(district, 2) == "ABCD", "the older one holds for them too, once the newer is gone"


def test_a_newer_rollout_to_the_whole_layer_ends_an_older_one_between_its_waves(district):
    """Nothing of it would change anything any more."""
    two_revisions(district)
    older = start(district, waves=BY_SCHOOL, thresholds=SWIFT)
    apply(district, usb=SECTIONS[3])
    newer = start(district)
    go_on(district)
    assert show(district, older.id).state is RolloutState.SUPERSEDED
    assert [wave.state.value for wave in show(district, older.id).waves] == ["released", "waiting"]
    assert holding(district, 3) == "ABCD"
    act(district, "roll_back", newer.id)
    go_on(district)
    assert (holding(district, 2), holding(district, 1)) == ("ABC", "D"), "each goes back to what it had"


def test_layers_decide_between_policies_and_not_the_order_of_rollouts(district, session):
    """The class's word stands over the fleet's, whichever of the two is told first."""
    apply(district, screen={"lock_text": "the district's"})
    apply(district, "six-one", {"class": "0101/6/1"}, screen={"lock_text": "the class's"})
    hands = {"kind": "by_hand", "lists": [["school=0101"]]}
    fleet = start(district, waves=hands, thresholds=SWIFT)
    room = start(district, policy="six-one", waves={**hands, "rest": "never"}, thresholds=SWIFT)
    for rollout_id in (room.id, fleet.id):
        rollouts.release_wave(session, district.principal, rollout_id, 1)
    assert targets.effective_of(session, district.tablets["A"]).sections.screen.lock_text == "the class's"
    act(district, "roll_back", room.id)
    go_on(district)
    assert targets.effective_of(session, district.tablets["A"]).sections.screen.lock_text == "the district's"


def test_acts_need_a_reason_and_all_the_schools(district, session):
    """Whoever stops a rollout says why, and may act wherever it reaches."""
    two_revisions(district)
    shown = start(district)
    with pytest.raises(Invalid):
        act(district, "pause", shown.id, reason="  ")
    for name in ("pause", "resume", "abort", "roll_back"):
        with pytest.raises(Forbidden):
            getattr(rollouts, name)(session, district.operator("0101"), shown.id, reason="mine")
    with pytest.raises(Forbidden):
        rollouts.pause(session, district.operator(role=Role.SUPPORT), shown.id, reason="mine")


@pytest.fixture
def narrow(district, session):
    """A gate that lets nothing through, and a policy to bring through it."""
    two_revisions(district)
    limits.set_limit(session, district.principal, Name.GATE, {"gb": 0})
    session.commit()
    return start(district)


def test_above_the_gate_a_second_operator_decides(district, session, narrow):
    """Until then nothing is told to anybody; asking oneself, by a token or twice does not help."""
    assert (narrow.state, narrow.estimate.needs_approval, holding(district, 1)) == (RolloutState.HELD, True, "ABCD")
    assert go_on(district) == 0
    assert holding(district, 1) == "ABCD"
    with pytest.raises(SelfApproval):
        rollouts.approve(session, district.principal, narrow.id)
    second = district.operator()
    token = Principal(second.id, second.name, second.role, second.scope, CredentialKind.TOKEN)
    with pytest.raises(Forbidden, match="token"):
        rollouts.approve(session, token, narrow.id)
    with pytest.raises(Forbidden):
        rollouts.approve(session, district.operator(role=Role.SUPPORT), narrow.id)
    shown = rollouts.approve(session, second, narrow.id)
    assert (shown.state, shown.approved_by, shown.started_by) == (
        RolloutState.RUNNING,
        second.name,
        district.principal.name,
    )
    assert holding(district, 2) == "ABCD"
    with pytest.raises(Conflict):
        rollouts.approve(session, second, narrow.id)
    assert [each["digest"] for each in audited(session, "rollout.approve")] != [""]


def test_what_is_approved_is_what_was_held(district, session, narrow):
    """A snapshot that is not the same any more is not agreed to; nor is one whose starter left."""
    session.execute(text("DELETE FROM rollout_target WHERE device_id = :id"), {"id": district.tablets["A"]})
    with pytest.raises(SubjectChanged):
        rollouts.approve(session, district.operator(), narrow.id)
    session.rollback()
    row = session.get_one(Operator, district.principal.id)
    row.disabled_at = row.created_at
    session.add(row)
    with pytest.raises(Conflict, match="may no longer sign in"):
        rollouts.approve(session, district.operator(), narrow.id)


def test_a_held_rollout_can_be_declined_and_runs_out(district, session, narrow):
    """Nothing has to fall back."""
    again = start(district)
    assert act(district, "abort", again.id).state is RolloutState.ABORTED
    session.execute(text("UPDATE rollout SET expires_at = now() - interval '1 s' WHERE state = 'held'"))
    with pytest.raises(Conflict, match="in time"):
        rollouts.approve(session, district.operator(), narrow.id)
    go_on(district)
    assert show(district, narrow.id).state is RolloutState.EXPIRED
    assert holding(district, 1) == "ABCD"


def test_an_estimate_says_what_a_rollout_would_do_and_leaves_nothing(district, session):
    """By the code that does the work: schools, exclusions, waves, bytes."""
    district.add_tablet("OUT", "0101", active=False)
    apply(district, usb=SECTIONS[1])
    before = session.execute(text("SELECT count(*) FROM rollout_target")).scalar_one()
    found = rollouts.estimate(
        session,
        district.principal,
        policy="district",
        target="fleet",
        options=rollouts.Options(exclude=("serial=B",)),
    )
    assert (found.tablets, [(each.reason, each.tablets) for each in found.left_out]) == (
        3,
        [("left out: serial=B", 1), ("not enrolled", 1)],
    )
    assert [(each.school, each.tablets) for each in found.schools] == [("0101", 2), ("0102", 1)]
    assert [(wave.name, wave.size) for wave in found.waves] == [("everyone", 3)]
    assert (found.busiest.school, found.busiest.tablets) == ("0101", 2)
    assert found.finishes_at is not None
    assert found.gb == pytest.approx(sum(each.bytes for each in found.schools) / 1e9)
    assert (found.gate, found.needs_approval) == ([], False)
    assert session.execute(text("SELECT count(*) FROM rollout_target")).scalar_one() == before
    assert session.execute(text("SELECT count(*) FROM rollout")).scalar_one() == 0
