"""Applying, planning and showing policies."""

import pytest
from sqlalchemy import text

from mdm.audit import inspection
from mdm.auth import Role
from mdm.errors import Conflict, Forbidden, Invalid, NotFound
from profiles import plans, policies, rollouts
from profiles.policies import Action
from profiles.policy import read


def document(name="district", layer="fleet", **sections):
    return read({"version": 1, "name": name, "layer": layer} | (sections or {"usb": {"external_storage": "deny"}}))


CLASS = {"class": "0101/6/1"}


def test_applying_makes_a_revision_only_when_the_document_differs(district, session):
    """The same file twice is one revision, and an unchanged one is not on record."""
    apply = lambda doc: policies.apply(session, district.principal, [doc])[0].revision  # noqa: E731
    assert [apply(document()), apply(document()), apply(document(usb={"host_pairing": "deny"}))] == [1, 1, 2]
    assert [shown.revision for shown in policies.history(session, district.principal, "district")] == [2, 1]
    assert policies.show(session, district.principal, "district", 1).document == document().body()
    acts = session.execute(text("SELECT details FROM audit_event WHERE action = 'policy.apply' ORDER BY id")).scalars()
    assert [act["revision"] for act in acts] == [1, 2]
    assert inspection.verify(session).intact


def test_applying_reaches_no_tablet(district, session):
    """What reaches tablets is a rollout."""
    policies.apply(session, district.principal, [document()])
    assert {district.enrollment(serial).desired_manifest for serial in "ABCD"} == {None}
    assert session.execute(text("SELECT count(*) FROM wakeup")).scalar_one() == 0


def test_a_plan_says_what_changes_and_for_how_many_and_leaves_no_trace(district, session):
    """Computed by the code that does the work, and rolled back."""
    plan = plans.plan(
        session, district.principal, [document(), document("six-one", CLASS, usb={"host_pairing": "deny"})]
    )
    assert [(step.name, step.action, step.revision, step.tablets, step.touched) for step in plan.steps] == [
        ("district", Action.NEW, 1, 4, 4),
        ("six-one", Action.NEW, 1, 2, 2),
    ]
    assert plan.touched == 4
    assert [(change.pointer, change.before, change.after) for change in plan.steps[0].changes] == [
        ("/usb/external_storage", None, "deny")
    ]
    for table in ("policy", "policy_revision", "rollout", "artifact", "manifest", "audit_event"):
        assert session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 0


def test_a_plan_counts_only_tablets_that_would_hold_something_else(district, session):
    """After a rollout the same file touches nobody; an allowance that changes no profile touches nobody either."""
    policies.apply(session, district.principal, [document()])
    rollouts.start(session, district.principal, policy="district", target="fleet")
    plan = plans.plan(session, district.principal, [document()])
    assert (plan.steps[0].action, plan.touched) == (Action.UNCHANGED, 0)
    labelled = document("six-one", CLASS, usb={"external_storage": "allow"})
    plan = plans.plan(session, district.principal, [labelled])
    assert (plan.steps[0].action, plan.steps[0].tablets, plan.touched) == (Action.NEW, 2, 0), "the fleet denies it"


def test_a_plan_tells_what_some_tablets_cannot_do(district, session):
    """Before it is rolled out, not after."""
    district.add_tablet("OLD", "0102", os_version="14.0")
    plan = plans.plan(
        session, district.principal, [document(apps={"allowlist": [{"bundle_id": "com.apple.Preferences"}]})]
    )
    assert [(gap.pointer, gap.reason, gap.tablets) for gap in plan.cannot] == [
        ("/apps/allowlist", "needs iPadOS 15 or newer", 1)
    ]


def test_a_plan_refuses_layers_that_are_too_long_together(district, session):
    """Each file is fine; the class would get 600 entries."""
    wide = document(web_filter={"deny_list": [f"a{n}.jp" for n in range(300)]})
    near = document("six-one", CLASS, web_filter={"deny_list": [f"b{n}.jp" for n in range(300)]})
    with pytest.raises(Invalid) as refusal:
        plans.plan(session, district.principal, [wide, near])
    assert refusal.value.errors[0]["pointer"] == "/web_filter/deny_list"


def test_someone_faster_between_plan_and_apply_is_noticed(district, session):
    """The revision that a plan showed is the one that is written."""
    plan = plans.plan(session, district.principal, [document()])
    policies.apply(session, district.principal, [document(usb={"host_pairing": "deny"})])
    with pytest.raises(Conflict):
        policies.apply(
            session, district.principal, [document()], expected={step.name: step.revision for step in plan.steps}
        )


@pytest.mark.parametrize(
    ("layer", "error"),
    [({"school": "9999"}, NotFound), ({"class": "0101/5/1"}, NotFound), ({"serial": "ZZZ"}, NotFound)],
)
def test_a_layer_that_is_not_in_the_ledger_is_refused(district, session, layer, error):
    """A typo in a school code would otherwise be a policy for nobody."""
    with pytest.raises(error):
        policies.apply(session, district.principal, [document(layer=layer)])


def test_a_policy_does_not_move_and_a_place_has_one(district, session):
    """Both would silently change what other tablets get."""
    policies.apply(session, district.principal, [document()])
    with pytest.raises(Conflict, match="does not move"):
        policies.apply(session, district.principal, [document(layer={"school": "0101"})])
    with pytest.raises(Conflict, match="already has the policy `district`"):
        policies.apply(session, district.principal, [document("other")])


def test_scope_hides_other_schools_and_keeps_the_fleet_readable(district, session):
    """Outside of its schools an operator neither sees nor writes; the fleet's policy it may read."""
    policies.apply(session, district.principal, [document(), document("two", {"school": "0102"})])
    one = district.operator("0101")
    assert [shown.name for shown in policies.overview(session, one)] == ["district"]
    with pytest.raises(NotFound):
        policies.show(session, one, "two")
    with pytest.raises(NotFound):
        policies.apply(session, one, [document("three", {"class": "0102/6/1"})])
    with pytest.raises(Forbidden):
        policies.apply(session, one, [document(usb={"host_pairing": "deny"})])
    assert policies.apply(session, one, [document("one", {"school": "0101"})])[0].revision == 1


def test_a_serial_is_found_however_it_is_written(district, session):
    """The ledger keeps serials in upper case."""
    shown = policies.apply(session, district.principal, [document("tablet-a", {"serial": "a"})])
    assert shown[0].layer == "serial=A"
    assert policies.overview(session, district.operator("0101", role=Role.VIEWER))[0].name == "tablet-a"
