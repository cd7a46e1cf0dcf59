"""Rollouts: pins and releases, and numbers that say what is true."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from mdm import db
from mdm.auth import Role
from mdm.devices.models import Device, LedgerState
from mdm.errors import Conflict, Forbidden, Invalid, NotFound
from profiles import policies, rollouts, targets
from profiles.models import RolloutState
from profiles.policy import read

STAGES = ("pending", "woken", "installed", "failed", "superseded", "excluded")


def document(name="district", layer="fleet", **sections):
    return read({"version": 1, "name": name, "layer": layer} | (sections or {"usb": {"external_storage": "deny"}}))


def apply(district, **sections):
    return policies.apply(district.session, district.principal, [document(**sections)])[0].revision


def start(district, target="fleet", **more):
    return rollouts.start(district.session, district.principal, policy="district", target=target, **more)


def counts(district, rollout_id, principal=None):
    found = rollouts.show(district.session, principal or district.principal, rollout_id).counts
    assert set(found) == set(STAGES)
    return {stage: number for stage, number in found.items() if number}


def test_every_stage_is_derived_from_what_tablets_said(district, session):
    """Pending, woken, installed, failed with its reason, excluded: counted, never stored."""
    district.add_tablet("OUT", "0101", active=False)
    lost = session.get(Device, district.add_tablet("LOST", "0101"))
    lost.state = LedgerState.LOST
    session.add(lost)
    apply(district)
    shown = start(district)
    assert counts(district, shown.id) == {"pending": 4, "excluded": 2}
    session.execute(
        text("UPDATE enrollment SET last_push_at = now() WHERE device_id = :a"), {"a": district.tablets["A"]}
    )
    district.install_everything("B")
    wanted = session.execute(text("SELECT artifact FROM manifest_item")).scalar_one()
    session.execute(
        text(
            "INSERT INTO device_profile (device_id, identifier, wanted, status, error)"
            " VALUES (:c, 'tabane.policy.usb', :wanted, 'failed', CAST(:error AS jsonb))"
        ),
        {"c": district.tablets["C"], "wanted": wanted, "error": json.dumps([{"USEnglishDescription": "no room"}])},
    )
    assert counts(district, shown.id) == {"pending": 1, "woken": 1, "installed": 1, "failed": 1, "excluded": 2}
    reasons = rollouts.show(session, district.principal, shown.id).reasons
    assert [(why.stage, why.reason, why.tablets) for why in reasons] == [
        ("excluded", "lost", 1),
        ("excluded", "not enrolled", 1),
        ("failed", "tabane.policy.usb: no room", 1),
    ]
    assert rollouts.show(session, district.principal, shown.id).expected_end is not None


def test_a_rollout_ends_when_no_tablet_is_under_way(district, session):
    """And its numbers freeze."""
    apply(district)
    shown = start(district)
    district.install_everything("A", "B", "C")
    assert rollouts.advance(session) == 0
    district.install_everything("D")
    assert rollouts.advance(session) == 1
    assert rollouts.advance(session) == 0
    ended = rollouts.show(session, district.principal, shown.id)
    assert (ended.state, ended.counts["installed"]) == (RolloutState.FINISHED, 4)
    apply(district, usb={"host_pairing": "deny"})
    start(district)
    assert counts(district, shown.id) == {"installed": 4}


def test_a_tablet_that_was_off_for_two_rollouts_wants_only_the_latest(district, session):
    """The earlier rollout says superseded, and nothing piles up."""
    apply(district)
    first = start(district)
    district.install_everything("A", "B", "C")
    apply(district, usb={"host_pairing": "deny"})
    second = start(district)
    assert session.execute(text("SELECT count(*) FROM wakeup")).scalar_one() == 4
    assert counts(district, second.id) == {"pending": 4}
    assert counts(district, first.id) == {"superseded": 4}
    rollouts.advance(session)
    assert rollouts.show(session, district.principal, first.id).state is RolloutState.SUPERSEDED


def test_a_rollout_to_a_part_pins_and_one_to_all_releases(district, session):
    """The class tries revision 2 first; a tablet that comes later gets what is released; the fleet then gets 2."""
    apply(district)
    start(district)
    one = district.enrollment("D").desired_manifest
    apply(district, usb={"host_pairing": "deny"})
    pinned = start(district, "class=0101/6/1")
    two = district.enrollment("A").desired_manifest
    assert (pinned.whole_layer, counts(district, pinned.id)) == (False, {"pending": 2})
    assert district.enrollment("B").desired_manifest == two != one
    assert district.enrollment("C").desired_manifest == district.enrollment("D").desired_manifest == one
    assert policies.show(session, district.principal, "district").released == 1
    targets.retarget(session, [district.add_tablet("LATE", "0101")])
    assert district.enrollment("LATE").desired_manifest == one
    start(district)
    assert {district.enrollment(serial).desired_manifest for serial in [*"ABCD", "LATE"]} == {two}
    assert policies.show(session, district.principal, "district").released == 2


def test_going_back_is_a_rollout_of_an_older_revision(district, session):
    """Nothing is special about it."""
    apply(district)
    start(district)
    before = district.enrollment("A").desired_manifest
    apply(district, usb={"host_pairing": "deny"})
    start(district)
    assert district.enrollment("A").desired_manifest != before
    assert start(district, revision=1).revision == 1
    assert district.enrollment("A").desired_manifest == before
    with pytest.raises(NotFound):
        start(district, revision=7)


def test_a_rollout_of_another_layer_does_not_supersede(district, session):
    """The class's own policy changes the manifest, but the fleet's revision is still in it."""
    apply(district)
    fleet = start(district)
    policies.apply(
        session, district.principal, [document("six-one", {"class": "0101/6/1"}, usb={"host_pairing": "deny"})]
    )
    rollouts.start(session, district.principal, policy="six-one", target="fleet")
    assert counts(district, fleet.id) == {"pending": 4}
    district.install_everything(*"ABCD")
    assert counts(district, fleet.id) == {"installed": 4}


@pytest.mark.parametrize(
    ("target", "expected"), [("fleet", 4), ("school=0101", 3), ("class=0101/6/1", 2), ("serial=D", 1), ("serial=d", 1)]
)
def test_targets_are_read_from_the_ledger(district, target, expected):
    """Fleet, school, class, one tablet."""
    apply(district)
    assert sum(start(district, target).counts.values()) == expected


def test_a_target_that_the_policy_does_not_speak_to_is_refused(district, session):
    """A rollout that reaches nobody is a mistake; a target in another form is named."""
    policies.apply(session, district.principal, [document("two", {"school": "0102"})])
    with pytest.raises(Invalid, match="no tablet of school=0101"):
        rollouts.start(session, district.principal, policy="two", target="school=0101")
    with pytest.raises(Invalid) as refusal:
        rollouts.start(session, district.principal, policy="two", target="everyone")
    assert refusal.value.errors[0]["pointer"] == "/target"


def test_a_whole_layer_without_tablets_is_released_for_those_to_come(district, session):
    """A class that is filled next week."""
    district.add_school("0103")
    policies.apply(session, district.principal, [document("three", {"class": "0103/6/1"})])
    shown = rollouts.start(session, district.principal, policy="three", target="class=0103/6/1")
    assert (shown.whole_layer, sum(shown.counts.values())) == (True, 0)
    rollouts.advance(session)
    assert rollouts.show(session, district.principal, shown.id).state is RolloutState.FINISHED
    targets.retarget(session, [district.add_tablet("NEW", "0103")])
    assert district.enrollment("NEW").desired_manifest is not None


def test_scope_limits_who_is_reached_and_what_is_counted(district, session):
    """An operator of one school rolls out to its school, sees its own numbers, and cannot end another's rollout."""
    apply(district)
    one = district.operator("0101")
    with pytest.raises(Forbidden):
        rollouts.start(session, one, policy="district", target="fleet")
    with pytest.raises(NotFound):
        rollouts.start(session, one, policy="district", target="school=0102")
    own = rollouts.start(session, one, policy="district", target="school=0101")
    assert (own.whole_layer, sum(own.counts.values())) == (False, 3)
    everyone = start(district)
    assert counts(district, everyone.id, one) == {"pending": 3}
    with pytest.raises(Forbidden):
        rollouts.finish(session, one, everyone.id)


def test_ending_by_hand_freezes_the_numbers_once(district, session):
    """For the tablets that never come back."""
    apply(district)
    shown = start(district)
    district.install_everything("A")
    assert rollouts.finish(session, district.principal, shown.id).counts == {
        "pending": 3,
        "woken": 0,
        "installed": 1,
        "failed": 0,
        "superseded": 0,
        "excluded": 0,
    }
    with pytest.raises(Conflict):
        rollouts.finish(session, district.principal, shown.id)


def test_the_list_shows_the_newest_first_and_continues(district, session):
    """Pages follow the ids, which order by time."""
    apply(district)
    ids = [start(district).id for _ in range(3)]
    viewer = district.operator("0101", role=Role.VIEWER)
    first = rollouts.overview(session, viewer, limit=2)
    assert [shown.id for shown in first] == [ids[2], ids[1]]
    assert [shown.id for shown in rollouts.overview(session, viewer, limit=2, before=ids[1])] == [ids[0]]


def test_a_rollout_says_what_its_tablets_cannot_do(district, session):
    """Installed is only as much as the tablet can take; the rest is counted beside it."""
    district.add_tablet("OLD", "0102", os_version="14.0")
    apply(district, apps={"allowlist": [{"bundle_id": "com.apple.Preferences"}]}, usb={"external_storage": "deny"})
    shown = start(district, "school=0102")
    assert [(gap.pointer, gap.reason, gap.tablets) for gap in shown.cannot] == [
        ("/apps/allowlist", "needs iPadOS 15 or newer", 1)
    ]


def test_rolling_out_again_tries_again_what_had_failed(district, session):
    """A failure is not repeated by itself, only because somebody asks."""
    apply(district)
    start(district)
    district.install_everything("B", "C", "D")
    wanted = session.execute(text("SELECT artifact FROM manifest_item")).scalar_one()
    for serial, installed in (("A", None), ("B", b"older")):
        session.execute(
            text(
                "INSERT INTO device_profile (device_id, identifier, installed, wanted, status)"
                " VALUES (:device, 'tabane.policy.usb', :installed, :wanted, 'failed')"
            ),
            {"device": district.tablets[serial], "installed": installed, "wanted": wanted},
        )
    session.execute(text("DELETE FROM wakeup"))
    again = start(district)
    assert again.counts["failed"] == 0
    rows = session.execute(text("SELECT device_id, installed, wanted, status FROM device_profile")).all()
    assert [tuple(row) for row in rows] == [(district.tablets["B"], b"older", b"older", "installed")]
    due = session.execute(text("SELECT device_id FROM wakeup ORDER BY device_id")).scalars().all()
    assert due == [district.tablets["A"], district.tablets["B"]]


def test_going_back_half_way_is_not_called_installed_before_the_tablet_says_so(district, session):
    """It held revision 1, was told 2, then 1 again: what it holds now only it knows."""
    apply(district)
    start(district)
    district.install_everything(*"ABCD")
    apply(district, usb={"host_pairing": "deny"})
    start(district)
    back = start(district, revision=1)
    assert counts(district, back.id) == {"pending": 4}


def test_two_rollouts_at_once_leave_every_tablet_with_the_later_one(district, session):
    """They wait for each other instead of mixing or blocking."""
    for number in range(60):
        district.add_tablet(f"M{number}", "0102")
    apply(district)
    apply(district, usb={"host_pairing": "deny"})
    session.commit()
    gate = threading.Barrier(6)

    def go(revision):
        gate.wait(timeout=10)
        with db.transaction() as own:
            return rollouts.start(own, district.principal, policy="district", target="fleet", revision=revision).id

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(go, [1, 2, 1, 2, 1, 2]))
    session.expire_all()
    latest = session.execute(text("SELECT revision FROM rollout ORDER BY id DESC LIMIT 1")).scalar_one()
    assert policies.show(session, district.principal, "district").released == latest
    manifests = session.execute(text("SELECT DISTINCT desired_manifest FROM enrollment")).scalars().all()
    assert len(manifests) == 1
    (group,) = {each.chain for each in targets.groups(session, list(district.tablets.values()))}
    assert group[0][1] == latest


def test_starting_is_on_record(district, session):
    """Who rolled what out to whom, and how many."""
    apply(district)
    shown = start(district)
    row = session.execute(text("SELECT actor, subject, details FROM audit_event WHERE action = 'rollout.start'")).one()
    assert row.subject == f"rollout:{shown.id}"
    assert row.details == {"policy": "district", "revision": 1, "target": "fleet", "tablets": 4, "changed": 4}
