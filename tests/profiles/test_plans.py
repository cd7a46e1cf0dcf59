"""The plan on the tablets' side, its hash, and the gate before storing and rolling out."""

import pytest
from sqlalchemy import text

from mdm.audit import inspection
from mdm.errors import Conflict, Invalid
from profiles import contents, drafts, plans, policies, rollouts, targets
from profiles.consequences import Severity
from profiles.lint import Code
from profiles.plans import Harmful, Overrides, Uncounted
from profiles.policy import read

CLASS = {"class": "0101/6/1"}
APN = {"apns": [{"apn": "school.example.jp", "name": "school", "user": "t", "password": "invented-secret"}]}
HARM = {"deny_list": ["login.microsoftonline.com"]}


def document(name="district", layer="fleet", **sections):
    return read({"version": 1, "name": name, "layer": layer, **sections})


def roll(district, *documents):
    policies.apply(district.session, district.principal, list(documents))
    for each in documents:
        rollouts.start(district.session, district.principal, policy=each.name, target="fleet")


def test_a_plan_shows_each_key_and_what_each_school_fetches(district, session):
    """Old and new on the compiled side, dangerous keys marked; the bytes are those of the artifacts, as base64."""
    roll(district, document(usb={"external_storage": "deny"}, web_filter={"deny_list": ["a.jp"]}))
    plan = plans.plan(
        session,
        district.principal,
        [document(usb={"external_storage": "deny"}, web_filter={"deny_list": ["a.jp", "b.jp"]})],
    )
    (key,) = plan.keys
    assert (key.artifact, key.key) == ("tabane.policy.web-filter", "com.apple.webcontent-filter.DenyListURLs")
    assert (key.before, key.after, key.risky, key.tablets) == ([], ["b.jp"], True, 4)
    assert [(school.school, school.tablets) for school in plan.schools] == [("0101", 3), ("0102", 1)]
    (group,) = targets.groups(session, [district.tablets["D"]])
    parcel = next(each for each in group.wanted.parcels if each.identifier == "tabane.policy.web-filter")
    each = plan.schools[1].bytes_each
    assert len(parcel.body) * 4 / 3 <= each <= (len(parcel.body) + 100) * 4 / 3
    assert plan.schools[0].bytes_in_all == 3 * each
    assert (plan.lints, plan.deletions, plan.deletes) == ([], [], 0)


def test_lists_that_differ_from_class_to_class_show_one_difference(district, session):
    """What comes and goes is the same for all, whatever else their layers list."""
    roll(
        district,
        document(web_filter={"deny_list": ["a.jp"]}),
        document("six-one", CLASS, web_filter={"deny_list": ["c.jp"]}),
    )
    plan = plans.plan(session, district.principal, [document(web_filter={"deny_list": ["b.jp"]})])
    assert [(key.before, key.after, key.tablets) for key in plan.keys] == [(["a.jp"], ["b.jp"], 4)]


def test_no_password_shows_in_a_plan(district, session):
    """Neither in the written nor in the compiled difference, and not in the row."""
    plan = plans.plan(session, district.principal, [document(cellular=APN)])
    assert "invented-secret" not in str(plan)
    assert any(key.risky for key in plan.keys)
    policies.apply(session, district.principal, [document(cellular=APN)])
    stored = session.execute(text("SELECT document::text FROM policy_revision")).scalar_one()
    assert "invented-secret" not in stored
    assert "invented-secret" not in str(policies.show(session, district.principal, "district"))
    again = policies.apply(session, district.principal, [document(cellular=APN)])
    assert again[0].revision == 1, "the same password is no change"


def test_a_hash_names_the_outcome_and_not_the_moment(district, session):
    """Planning twice is one hash; one more tablet, or another document, is another."""
    documents = [document(usb={"external_storage": "deny"})]
    first = plans.plan(session, district.principal, documents).hash
    assert plans.plan(session, district.principal, documents).hash == first
    assert plans.plan(session, district.principal, [document(usb={"nfc": "deny"})]).hash != first
    district.add_tablet("NEW", "0102")
    with pytest.raises(Conflict, match="plan again"):
        plans.apply(session, district.principal, documents, plan_hash=first)
    fresh = plans.plan(session, district.principal, documents).hash
    assert plans.apply(session, district.principal, documents, plan_hash=fresh)[0].revision == 1


def test_taking_something_away_needs_its_exact_count(district, session):
    """Who expects twelve and reads four thousand stops in time."""
    roll(district, document(usb={"external_storage": "deny"}, web_filter={"adult_filter": True}))
    withdrawal = [document(usb={"external_storage": "deny"})]
    plan = plans.plan(session, district.principal, withdrawal)
    assert [(each.what, each.tablets) for each in plan.deletions] == [("tabane.policy.web-filter", 4)]
    assert plan.deletes == 4
    for count in (None, 3, 5):
        with pytest.raises(Uncounted, match="allow exactly 4"):
            plans.apply(session, district.principal, withdrawal, allow_delete=count)
    assert plans.apply(session, district.principal, withdrawal, allow_delete=4)[0].revision == 2


def test_a_count_of_what_is_not_taken_away_is_refused(district, session):
    """The count was meant for another file."""
    with pytest.raises(Uncounted):
        plans.apply(session, district.principal, [document(usb={"nfc": "deny"})], allow_delete=2)


def test_a_harm_stops_until_it_is_overridden_with_a_reason_on_record(district, session):
    """And what was taken upon oneself once is not asked again at the rollout."""
    documents = [document(web_filter=HARM)]
    plan = plans.plan(session, district.principal, documents)
    assert {lint.code for lint in plan.lints} == {Code.SIGN_IN}
    assert all((lint.severity, lint.tablets) == (Severity.STOP, 4) for lint in plan.lints)
    with pytest.raises(Harmful) as refusal:
        plans.apply(session, district.principal, documents)
    assert refusal.value.errors[0]["detail"].startswith("sign-in-blocked: ")
    with pytest.raises(Invalid, match="needs a reason"):
        plans.apply(session, district.principal, documents, overrides=Overrides(["sign-in-blocked"]))
    with pytest.raises(Harmful):
        plans.apply(session, district.principal, documents, overrides=Overrides(["push-blocked"], "not this one"))
    taken = Overrides(["sign-in-blocked"], "a test of the sign-in page")
    plans.apply(session, district.principal, documents, overrides=taken)
    rollouts.start(session, district.principal, policy="district", target="fleet")
    details = session.execute(text("SELECT details FROM audit_event WHERE action = 'policy.override'")).scalar_one()
    assert details == {"codes": ["sign-in-blocked"], "reason": "a test of the sign-in page"}
    assert inspection.verify(session).intact


def test_an_old_harm_does_not_stop_a_new_change(district, session):
    """Only what the change itself does is asked about."""
    taken = Overrides(["sign-in-blocked"], "meant")
    plans.apply(session, district.principal, [document(web_filter=HARM)], overrides=taken)
    rollouts.start(session, district.principal, policy="district", target="fleet")
    assert plans.apply(session, district.principal, [document(web_filter=HARM, usb={"nfc": "deny"})])


def test_a_harm_that_only_the_layers_together_do_is_found(district, session):
    """The fleet lists the only applications, the class requires another: neither file is wrong alone."""
    roll(district, document(apps={"allowlist": [{"bundle_id": "com.apple.Preferences"}]}))
    plan = plans.plan(
        session,
        district.principal,
        [document("six-one", CLASS, apps={"required": [{"bundle_id": "jp.example.drill"}]})],
    )
    assert [(lint.code, lint.tablets) for lint in plan.lints] == [(Code.NO_REQUIRED, 2)]


def test_a_revision_stored_without_the_gate_is_stopped_at_the_rollout(district, session):
    """The gate stands at both doors; the override is on record there too."""
    policies.apply(session, district.principal, [document(web_filter=HARM)])
    start = {"policy": "district", "target": "fleet"}
    with pytest.raises(Harmful):
        rollouts.start(session, district.principal, **start)
    session.rollback()


def test_a_change_of_the_line_goes_to_a_few_tablets_first(district, session):
    """The whole layer only after one tablet has installed it and answered, or by an override."""
    documents = [document(cellular=APN)]
    plan = plans.plan(session, district.principal, documents)
    assert [(lint.severity, lint.code) for lint in plan.lints] == [(Severity.ROLLOUT, Code.NO_CANARY)]
    plans.apply(session, district.principal, documents)

    def start(target):
        with session.begin_nested():
            return rollouts.start(session, district.principal, policy="district", target=target)

    with pytest.raises(Harmful, match="no-canary"):
        start("fleet")
    start("serial=A")
    with pytest.raises(Harmful, match="no-canary"):
        start("fleet")
    district.install_everything("A")
    assert start("fleet").whole_layer


def test_a_change_of_one_class_compiles_only_that_class(district, session, monkeypatch):
    """The others' manifests are known by their content."""
    drafts.forget()  # what another test compiled
    roll(district, document(usb={"external_storage": "deny"}), document("two", {"school": "0102"}, usb={"nfc": "deny"}))
    made = []
    real = drafts.compiled
    monkeypatch.setattr(drafts, "compiled", lambda *what: made.append(what) or real(*what))
    policies.apply(session, district.principal, [document("six-one", CLASS, web_filter={"adult_filter": True})])
    rollouts.start(session, district.principal, policy="six-one", target="fleet")
    everyone = list(district.tablets.values())
    assert targets.retarget(session, everyone) == 0
    assert len(made) == 1
    drafts.forget()
    assert targets.retarget(session, everyone) == 0
    assert len(made) == 4


def test_compiled_json_and_envelopes_are_taken_apart_key_by_key():
    """Names of the envelope are left out, passwords are dots, lists stay whole."""
    body = b'{"usb": {"data": "X"}, "list": [{"Passphrase": "invented", "SSID": "a"}], "empty": {}}'
    assert contents.keys_of(body) == {
        "usb.data": "X",
        "list": [{"Passphrase": "•••", "SSID": "a"}],
        "empty": {},
    }
    assert contents.is_risky("openNetworkConfiguration.NetworkConfigurations")
    assert not contents.is_risky("usbDataAccess")
