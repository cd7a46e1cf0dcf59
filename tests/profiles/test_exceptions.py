"""Exceptions: asked by one, agreed by another, over by themselves."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from mdm import clock
from mdm.audit import inspection
from mdm.auth import Role
from mdm.commands import artifacts
from mdm.errors import Conflict, Forbidden, Invalid, NotFound
from mdm.safeguards.approvals import SelfApproval
from profiles import exceptions, policies, rollouts, targets
from profiles.layers import Excepted, Said, effective
from profiles.models import ExceptionState
from profiles.plans import Harmful, Overrides
from profiles.policy import Layer, read
from profiles.sections import Sections

SOON = timedelta(days=30)


def document(name="district", layer="fleet", **sections):
    return read({"version": 1, "name": name, "layer": layer, **sections})


def roll(district, *documents):
    policies.apply(district.session, district.principal, list(documents))
    for each in documents:
        rollouts.start(district.session, district.principal, policy=each.name, target="fleet")


def ask(district, who=None, place="school=0101", without=None, **replacing):
    return exceptions.request(
        district.session,
        who or district.operator("0101", role=Role.SUPPORT),
        place=place,
        replacing=replacing,
        without=without or {},
        reason="a lesson with USB microscopes",
        expires_at=clock.now() + SOON,
    )


def usb(district, serial):
    return targets.effective_of(district.session, district.tablets[serial]).sections.usb.external_storage


@pytest.fixture
def later(monkeypatch):
    """Turn the clock."""

    def turn(delta):
        moment = datetime.now(UTC) + delta
        monkeypatch.setattr(clock, "now", lambda: moment)

    return turn


def say(name, layer, **sections):
    return Said(name, Layer.parse(layer), Sections.model_validate(sections))


def test_an_exception_loosens_wider_layers_and_a_nearer_one_tightens_again():
    """Its own school's policy and the fleet's give way; a class may still forbid."""
    leave = Excepted(
        "exception 1",
        Layer.parse("school=0101"),
        Sections.model_validate({"usb": {"external_storage": "allow"}}),
        Sections.model_validate({"web_filter": {"deny_list": ["a.jp", "not-there.jp"]}}),
    )
    fleet = say("district", "fleet", usb={"external_storage": "deny"}, web_filter={"deny_list": ["a.jp", "b.jp"]})
    school = say("school", "school=0101", usb={"external_storage": "deny"})
    room = say("room", "class=0101/6/1", usb={"external_storage": "deny"}, web_filter={"deny_list": ["a.jp"]})
    merged = effective([leave, school, fleet])
    assert merged.sections.usb.external_storage == "allow"
    assert merged.sections.web_filter.deny_list == ("b.jp",)
    assert dict(merged.decided_by) == {
        "/usb/external_storage": ("exception 1",),
        "/web_filter/deny_list": ("district", "exception 1"),
    }
    again = effective([room, leave, school, fleet])
    assert again.sections.usb.external_storage == "deny"
    assert again.sections.web_filter.deny_list == ("a.jp", "b.jp")
    assert again.decided_by["/usb/external_storage"] == ("room",)


def test_a_list_that_loses_its_last_entry_is_silent():
    """An empty list would mean something else than none."""
    leave = Excepted(
        "x", Layer.parse("school=1"), Sections(), Sections.model_validate({"web_filter": {"deny_list": ["a.jp"]}})
    )
    merged = effective([say("district", "fleet", web_filter={"deny_list": ["a.jp"]}), leave])
    assert (merged.sections.web_filter.deny_list, dict(merged.decided_by)) == (None, {})


def test_it_takes_a_second_person_and_then_reaches_only_its_place(district, session):
    """Asked: nothing changes. Approved: the school's tablets change and are due; the others keep the fleet's."""
    roll(district, document(usb={"external_storage": "deny"}))
    session.execute(text("DELETE FROM wakeup"))
    asked = ask(district, usb={"external_storage": "allow"})
    assert (asked.state, asked.fields) == (ExceptionState.PENDING, ["/usb/external_storage"])
    assert usb(district, "A") == "deny"
    active = exceptions.approve(session, district.principal, asked.id)
    assert (active.state, active.decided_by) == (ExceptionState.ACTIVE, district.principal.name)
    assert [usb(district, serial) for serial in "ABCD"] == ["allow"] * 3 + ["deny"]
    due = session.execute(text("SELECT device_id FROM wakeup ORDER BY 1")).scalars().all()
    assert due == sorted(district.tablets[serial] for serial in "ABC")
    assert inspection.verify(session).intact


def test_nobody_approves_their_own_nor_without_the_whole_districts_right(district, session):
    """It loosens what the district set."""
    roll(district, document(usb={"external_storage": "deny"}))
    own = ask(district, who=district.principal, usb={"external_storage": "allow"})
    with pytest.raises(SelfApproval):
        exceptions.approve(session, district.principal, own.id)
    with pytest.raises(Forbidden):
        exceptions.approve(session, district.operator("0101"), own.id)
    with pytest.raises(NotFound):
        exceptions.end(session, district.operator("0102"), own.id)
    exceptions.approve(session, district.operator(), own.id)
    with pytest.raises(Conflict):
        exceptions.approve(session, district.operator(), own.id)


def test_when_it_runs_out_the_tablets_fall_back_by_themselves(district, session, later):
    """The worker's beat is enough: nobody has to end it."""
    roll(district, document(usb={"external_storage": "deny"}))
    before = district.enrollment("A").desired_manifest
    leave = exceptions.approve(session, district.principal, ask(district, usb={"external_storage": "allow"}).id)
    assert district.enrollment("A").desired_manifest != before
    assert targets.retarget(session) == 0
    assert exceptions.expire(session) == 0
    later(SOON + timedelta(minutes=1))
    assert targets.retarget(session) == 3
    assert district.enrollment("A").desired_manifest == before
    assert exceptions.show(session, district.principal, leave.id).state is ExceptionState.EXPIRED
    assert exceptions.expire(session) == 1
    assert exceptions.overview(session, district.principal, is_open=True) == []
    assert exceptions.overview(session, district.principal, is_open=False)[0].state is ExceptionState.EXPIRED


def test_ending_it_early_and_declining_it(district, session):
    """Ended: tablets fall back at once. Declined by another, withdrawn by oneself: it never held."""
    roll(district, document(usb={"external_storage": "deny"}))
    leave = exceptions.approve(session, district.principal, ask(district, usb={"external_storage": "allow"}).id)
    assert exceptions.end(session, district.principal, leave.id).state is ExceptionState.ENDED
    assert usb(district, "A") == "deny"
    with pytest.raises(Conflict):
        exceptions.end(session, district.principal, leave.id)
    assert exceptions.end(session, district.principal, ask(district, usb={"nfc": "allow"}).id).state == "declined"
    own = ask(district, who=district.principal, usb={"nfc": "allow"})
    assert exceptions.end(session, district.principal, own.id).state is ExceptionState.ENDED


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"usb": {"external_storag": "allow"}}, "/set/usb/external_storag"),
        ({"without": {"usb": {"external_storage": "deny"}}}, "/without/usb/external_storage"),
        ({"place": "fleet", "usb": {"nfc": "allow"}}, "/place"),
        ({}, "/set"),
    ],
)
def test_a_wrong_request_names_the_field(district, asked, pointer):
    """Before a second person has to read it."""
    with pytest.raises(Invalid) as refusal:
        ask(district, who=district.principal, **asked)
    assert refusal.value.errors[0]["pointer"] == pointer


def test_a_request_without_reason_or_end_is_refused(district, session):
    """For ever is a policy, not an exception."""
    with pytest.raises(Invalid) as refusal:
        exceptions.request(
            session,
            district.principal,
            place="school=0101",
            replacing={"usb": {"nfc": "allow"}},
            without={},
            reason=" ",
            expires_at=clock.now() + timedelta(days=4000),
        )
    assert [error["pointer"] for error in refusal.value.errors] == ["/reason", "/expires_at"]


def test_its_passwords_are_sealed_in_the_row_and_dots_for_people(district, session):
    """As those of policies are."""
    shown = ask(district, wifi={"networks": [{"ssid": "event", "password": "invented-secret"}]})
    assert shown.replacing == {"wifi": {"networks": [shown.replacing["wifi"]["networks"][0]]}}
    assert shown.replacing["wifi"]["networks"][0]["password"] == "•••"
    assert "invented-secret" not in session.execute(text("SELECT document::text FROM policy_exception")).scalar_one()
    exceptions.approve(session, district.principal, shown.id)
    manifest = district.enrollment("A").desired_manifest
    bodies = [artifacts.body(session, sha) for sha in artifacts.items(session, manifest).values()] if manifest else []
    merged = targets.effective_of(session, district.tablets["A"]).sections
    assert merged.wifi.networks[0].password.get_secret_value() == "invented-secret"
    assert all(b"\xe2\x80\xa2" not in body for body in bodies), "a tablet gets the password, not the dots"


def test_an_examination_begins_and_ends_by_the_clock(district, session, later):
    """The compilers know no clock: the tablets are retargeted when it turns."""
    start, finish = clock.now() + timedelta(hours=1), clock.now() + timedelta(hours=3)
    sitting = {"app": {"bundle_id": "jp.example.exam"}, "starts_at": start.isoformat(), "ends_at": finish.isoformat()}
    policy = document(exam={"single_app": sitting}, usb={"external_storage": "deny"})
    assert targets.at_this_hour(policy.sections(), clock.now())[0].exam is None
    assert targets.at_this_hour(policy.sections(), start)[0].exam is not None
    roll(district, policy)
    turns = session.execute(text("SELECT DISTINCT at FROM policy_turn")).scalars().all()
    assert turns == [start]
    later(timedelta(hours=2))
    targets.retarget(session)
    assert session.execute(text("SELECT DISTINCT at FROM policy_turn")).scalars().all() == [finish]
    later(timedelta(hours=4))
    targets.retarget(session)
    assert session.execute(text("SELECT count(*) FROM policy_turn")).scalar_one() == 0


def test_an_exception_passes_the_same_gate_as_a_policy(district, session):
    """It mostly loosens, but it can also cut off."""
    asked = ask(district, web_filter={"deny_list": ["login.microsoftonline.com"]})
    with pytest.raises(Harmful), session.begin_nested():
        exceptions.approve(session, district.principal, asked.id)
    session.expire_all()
    taken = Overrides(["sign-in-blocked"], "a drill for the day without sign-in")
    assert exceptions.approve(session, district.principal, asked.id, overrides=taken).state is ExceptionState.ACTIVE
    details = session.execute(text("SELECT details FROM audit_event WHERE action = 'policy.override'")).scalar_one()
    assert details["codes"] == ["sign-in-blocked"]
