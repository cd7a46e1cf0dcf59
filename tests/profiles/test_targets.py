"""From policies and the ledger to desired manifests."""

from sqlalchemy import text

from mdm.commands import artifacts
from mdm.devices.models import Device, Lane
from profiles import policies, rollouts, targets
from profiles.policy import read


def document(name="district", layer="fleet", **sections):
    return read({"version": 1, "name": name, "layer": layer} | (sections or {"usb": {"external_storage": "deny"}}))


def roll(district, *documents, target="fleet"):
    policies.apply(district.session, district.principal, list(documents))
    return [
        rollouts.start(district.session, district.principal, policy=doc.name, target=target).id for doc in documents
    ]


def identifiers(district, serial):
    manifest = district.enrollment(serial).desired_manifest
    return None if manifest is None else list(artifacts.items(district.session, manifest))


def waiting(session):
    rows = session.execute(text("SELECT device_id, lane FROM wakeup ORDER BY device_id"))
    return {device_id: Lane(lane) for device_id, lane in rows}


def test_tablets_of_one_chain_share_one_manifest(district, session):
    """Four tablets, two layers: two manifests."""
    roll(
        district,
        document(),
        document("six-one", {"class": "0101/6/1"}, web_filter={"adult_filter": True}),
    )
    assert identifiers(district, "A") == identifiers(district, "B") == ["tabane.policy.usb", "tabane.policy.web-filter"]
    assert identifiers(district, "C") == identifiers(district, "D") == ["tabane.policy.usb"]
    assert session.execute(text("SELECT count(DISTINCT desired_manifest) FROM enrollment")).scalar_one() == 2


def test_many_tablets_compile_a_handful_of_manifests(district, session):
    """Point releases of the system do not multiply manifests."""
    for number in range(30):
        district.add_tablet(f"M{number}", "0102", os_version=f"26.{number % 5}.{number}")
    found = policies.apply(session, district.principal, [document()])
    assert found[0].revision == 1
    rollouts.start(session, district.principal, policy="district", target="fleet")
    assert session.execute(text("SELECT count(DISTINCT desired_manifest) FROM enrollment")).scalar_one() == 1


def test_only_active_tablets_that_change_are_woken(district, session):
    """Nobody is woken for nothing, and one that is not enrolled cannot be."""
    district.add_tablet("OUT", "0101", active=False)
    roll(district, document())
    everyone = {district.tablets[serial]: Lane.NORMAL for serial in "ABCD"}
    assert waiting(session) == everyone
    assert identifiers(district, "OUT") == ["tabane.policy.usb"], "it is ready when the tablet enrols"
    session.execute(text("DELETE FROM wakeup"))
    rollouts.start(session, district.principal, policy="district", target="fleet")
    assert waiting(session) == {}


def test_a_changed_fact_recomputes_only_what_is_stale(district, session):
    """The inventory says unsupervised: the profile that needs supervision goes, and the reason is on the manifest."""
    roll(district, document())
    session.execute(text("DELETE FROM wakeup"))
    row = district.enrollment("A")
    row.supervised, row.desired_stale = False, True
    session.add(row)
    session.flush()
    assert targets.retarget(session) == 1
    assert identifiers(district, "A") == []
    assert artifacts.cannot(session, district.enrollment("A").desired_manifest) == [
        {"pointer": "/usb/external_storage", "reason": "only a supervised tablet can do this"}
    ]
    assert waiting(session) == {district.tablets["A"]: Lane.NORMAL}
    assert not district.enrollment("A").desired_stale
    assert targets.retarget(session) == 0


def test_moving_to_another_school_changes_the_layers(district, session):
    """The ledger decides which school speaks."""
    roll(
        district, document("one", {"school": "0101"}), document("two", {"school": "0102"}, usb={"host_pairing": "deny"})
    )
    before = district.enrollment("C").desired_manifest
    moved = session.get(Device, district.tablets["C"])
    moved.school_id = district.schools["0102"]
    session.add(moved)
    session.flush()
    assert targets.retarget(session, [district.tablets["C"]]) == 1
    assert before != district.enrollment("C").desired_manifest == district.enrollment("D").desired_manifest


def test_a_tablet_that_comes_later_gets_what_is_released(district, session):
    """A released policy needs no second rollout."""
    roll(district, document())
    late = district.add_tablet("LATE", "0102", active=False)
    assert targets.retarget(session, [late]) == 1
    assert identifiers(district, "LATE") == ["tabane.policy.usb"]


def test_a_tablet_without_any_policy_is_told_nothing(district, session):
    """No manifest, no wake-up."""
    assert targets.retarget(session, list(district.tablets.values())) == 0
    assert district.enrollment("A").desired_manifest is None


def test_a_policy_emptied_takes_its_profiles_away(district, session):
    """A section that says nothing is how a policy is withdrawn."""
    roll(district, document())
    roll(district, document(usb={}))
    assert identifiers(district, "A") == []
    assert district.enrollment("A").desired_manifest is not None


def test_the_effective_policy_of_a_tablet_names_who_decided(district, session):
    """For the support desk, which is asked why something is closed."""
    roll(district, document(), document("six-one", {"class": "0101/6/1"}))
    merged = targets.effective_of(session, district.tablets["A"])
    assert dict(merged.decided_by) == {"/usb/external_storage": ("district", "six-one")}
    assert targets.effective_of(session, 0).decided_by == {}


def test_storing_a_manifest_twice_changes_nothing(session):
    """Content-addressed: equal wishes are one row."""
    from mdm.platform import Platform

    parcels = [artifacts.Parcel("b", b"two"), artifacts.Parcel("a", b"one")]
    first = artifacts.put(session, artifacts.draft(Platform.APPLE, parcels))
    assert artifacts.put(session, artifacts.draft(Platform.APPLE, reversed(parcels))) == first
    assert list(artifacts.items(session, first)) == ["a", "b"]
    assert artifacts.body(session, artifacts.items(session, first)["a"]) == b"one"
    assert artifacts.put(session, artifacts.draft(Platform.APPLE, parcels, [("/x", "no")])) != first


def test_a_text_that_names_the_tablet_gives_each_its_own_and_leaves_the_rest_shared(district, session):
    """Only the lock screen's profile multiplies; who is woken stays the same."""
    roll(district, document(screen={"lock_text": "{control_number}"}, usb={"external_storage": "deny"}))
    held = {serial: artifacts.items(session, district.enrollment(serial).desired_manifest) for serial in "AB"}
    assert held["A"]["tabane.policy.usb"] == held["B"]["tabane.policy.usb"]
    (own,) = [name for name in held["A"] if held["A"][name] != held["B"][name]]
    assert b"N-A" in artifacts.body(session, held["A"][own])
    assert sorted(waiting(session)) == sorted(district.tablets.values())
    assert targets.retarget(session, list(district.tablets.values())) == 0
