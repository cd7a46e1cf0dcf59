"""Second factors, through the operator API: an app's codes, recovery codes, security keys, and who must have one."""

import pytest
from sqlmodel import select

from mdm import db
from mdm.auth import Role
from mdm.safeguards.breaker_models import Notice
from tests.mdm_auth.people import PASSWORD, answered, new_key, slug, trail

TOKEN = {"label": "x"}


def test_one_factor_opens_only_the_own_account(person):
    """Who may do irreversible things and has one factor sees its own account, and nothing else until it has two."""
    hana = person("hana")
    me = hana.sign_in().json()["operator"]
    assert (me["second_factor_missing"], me["factors"]) == (True, ["password"])
    for method, path in (("GET", "/devices"), ("GET", "/commands"), ("POST", "/tokens"), ("GET", "/policies")):
        answer = hana.ask(method, path, json=TOKEN if method == "POST" else None)
        assert (answer.status_code, slug(answer)) == (403, "second-factor-required"), path
    done = hana.set_up_app().json()
    assert done["operator"]["factors"] == ["password", "totp"]
    assert not done["operator"]["second_factor_missing"]
    assert len(set(done["recovery_codes"])) == 10
    assert hana.ask("GET", "/devices").status_code == 200


def test_viewers_need_one_factor_and_the_setting_decides(person, monkeypatch):
    """A viewer may do with a password; the setting can ask everybody for two, or nobody."""
    mieko = person("mieko", Role.VIEWER)
    mieko.sign_in()
    assert mieko.ask("GET", "/devices").status_code == 200
    for wanted, role_lacks in (("everyone", True), ("optional", False)):
        monkeypatch.setenv("TABANE_SECOND_FACTOR", wanted)
        db.get_settings.cache_clear()
        assert mieko.ask("GET", "/session").json()["second_factor_missing"] is role_lacks


def test_a_code_is_asked_for_and_good_once(hana):
    """After the set-up a password alone opens nothing; a code opens once, and so does its neighbour in time."""
    answer = hana.sign_in()
    assert (answer.status_code, slug(answer)) == (401, "second-factor-needed")
    code = hana.app.code()
    assert hana.sign_in(code=code).status_code == 200
    assert hana.sign_in(code=code).status_code == 401
    # One step back has been passed; one step ahead is a clock that runs fast.
    assert hana.sign_in(code=hana.app.code(-1)).status_code == 401
    assert hana.sign_in(code=hana.app.code(1)).status_code == 200
    assert hana.sign_in(code=hana.app.code(2)).status_code == 401
    assert hana.sign_in(code="").status_code == 401


def test_a_right_code_with_a_wrong_password_is_nothing(hana):
    """The answer to a wrong password does not say that a second factor exists."""
    answer = hana.sign_in(password="wrong", code=hana.app.code())
    assert (answer.status_code, slug(answer)) == (401, "unauthenticated")
    assert hana.sign_in(code=hana.app.code()).status_code == 200


def test_guessing_codes_is_slowed_down(hana):
    """Whoever has the password gets five guesses at the code, and then not even the right one."""
    statuses = [hana.sign_in(code=f"{number:06}").status_code for number in range(6)]
    assert statuses == [401] * 5 + [429]
    assert hana.sign_in(code=hana.app.code()).status_code == 429


def test_codes_are_slowed_down_by_name_too(hana):
    """Ten guesses at an account's codes are the end for a while, from wherever they come."""
    from mdm.operators import factors

    for number in range(10):
        factors.code_throttle.attempt("hana", f"198.51.100.{number}")
    assert hana.sign_in(code=hana.app.code()).status_code == 429


def test_recovery_codes_open_once(hana):
    """A recovery code stands in for the app, once, however it is typed; its use is on record."""
    first, second, *_ = hana.recovery_codes
    assert hana.sign_in(code=first.upper().replace("-", " ")).status_code == 200
    assert hana.sign_in(code=first).status_code == 401
    assert hana.ask("GET", "/session/factors").status_code == 401
    assert hana.sign_in(code=second).status_code == 200
    assert hana.ask("GET", "/session/factors").json()["recovery_codes_left"] == 8
    assert [event.details for event in trail() if event.action == "recovery.use"] == [{"left": 9}, {"left": 8}]
    fresh = hana.ask("POST", "/session/factors/recovery-codes").json()["recovery_codes"]
    assert hana.sign_in(code=hana.recovery_codes[2]).status_code == 401
    assert hana.sign_in(code=fresh[0]).status_code == 200


def test_an_unconfirmed_app_changes_nothing(person):
    """A secret that was shown but never answered for is not asked for at sign-in."""
    hana = person("hana")
    hana.sign_in()
    hana.ask("POST", "/session/factors/totp")
    assert hana.ask("POST", "/session/factors/totp/confirm", json={"code": "000000"}).status_code == 403
    assert hana.sign_in().status_code == 200


def test_a_key_is_registered_and_signs_in_alone(person):
    """A passkey that checks its holder opens a session without name or password; each question is good once."""
    hana, key = person("hana"), new_key()
    hana.sign_in()
    assert hana.add_key(key).status_code == 201
    assert hana.ask("GET", "/devices").status_code == 200
    question = hana.ask("POST", "/session/passkey/options").json()
    assert not question["options"].get("allowCredentials")
    body = {"key": answered(key, question), "bearer": True}
    hana.secret = ""
    answer = hana.ask("POST", "/session/passkey", json=body)
    assert answer.json()["operator"]["factors"] == ["passkey"]
    assert hana.ask("POST", "/session/passkey", json=body).status_code == 401


@pytest.mark.parametrize(
    "wrong",
    [{"origin": "https://tabane.example.evil.example"}, {"rp_id": "evil.example"}, {"verifies": False}],
    ids=["origin", "site", "unverified"],
)
def test_a_key_that_answers_elsewhere_opens_nothing(person, wrong):
    """What a key signed for another page, another site or an unchecked holder is refused as a sign-in."""
    hana, key = person("hana"), new_key()
    hana.sign_in()
    hana.add_key(key)
    for name, value in wrong.items():
        setattr(key, name, value)
    question = hana.ask("POST", "/session/passkey/options").json()
    answer = hana.ask("POST", "/session/passkey", json={"key": answered(key, question), "bearer": True})
    assert (answer.status_code, slug(answer)) == (401, "unauthenticated")


def test_a_key_stands_beside_a_password(person):
    """A key that only feels a touch is a second factor, not two."""
    hana, key = person("hana"), new_key(verifies=False)
    hana.sign_in()
    hana.add_key(key)
    assert slug(hana.sign_in()) == "second-factor-needed"
    question = hana.ask("POST", "/session/passkey/options").json()
    assert hana.sign_in(key=answered(key, question)).json()["operator"]["factors"] == ["key", "password"]


def test_nobody_uses_anothers_key_or_question(person):
    """A key proves its own holder only, and a question that was asked of one is not answered by another."""
    hana, jiro, key = person("hana"), person("jiro"), new_key()
    for each, own in ((hana, key), (jiro, new_key())):
        each.sign_in()
        each.add_key(own)
    question = hana.ask("POST", "/session/passkey/options").json()
    assert jiro.sign_in(key=answered(key, question)).status_code == 401
    hana.clock.move(minutes=1)
    question = hana.ask("POST", "/session/passkey/options").json()
    hana.sign_in(key=answered(key, question))
    offered = hana.ask("POST", "/session/factors/keys/options").json()
    assert jiro.ask("POST", "/session/step-up", json={"key": answered(key, {**question, **offered})}).status_code == 401


def test_the_last_factor_stays(hana):
    """The last second factor cannot be removed where the role needs one; with another set up it can."""
    assert hana.ask("DELETE", "/session/factors/totp").status_code == 409
    key = new_key()
    hana.add_key(key)
    assert hana.ask("DELETE", "/session/factors/totp").status_code == 204
    shown = hana.ask("GET", "/session/factors").json()
    assert (shown["totp"], [each["label"] for each in shown["keys"]]) == (False, ["blue"])
    assert hana.ask("DELETE", f"/session/factors/keys/{shown['keys'][0]['key']}").status_code == 409
    assert hana.ask("DELETE", "/session/factors/keys/AAAA").status_code == 404


def test_a_stale_session_changes_no_factor(hana):
    """Some minutes after the proof a session adds no key and removes none: a thief of it gets no further."""
    hana.clock.move(minutes=6)
    for method, path in (
        ("POST", "/session/factors/keys/options"),
        ("POST", "/session/factors/recovery-codes"),
        ("DELETE", "/session/factors/totp"),
    ):
        assert slug(hana.ask(method, path)) == "step-up-required", path


def test_the_founders_grace_ends_with_the_first_factor(person):
    """The founding account does everything with its password until it has a second factor, and never again."""
    boss = person("boss", Role.ADMINISTRATOR, founding=True)
    assert not boss.sign_in().json()["operator"]["second_factor_missing"]
    new = {"name": "hana", "password": PASSWORD, "role": "support", "all_schools": True}
    assert boss.ask("POST", "/operators", json=new).status_code == 201
    boss.set_up_app()
    assert slug(boss.sign_in()) == "second-factor-needed"
    added = next(event for event in trail() if event.action == "factor.add")
    assert added.details == {"factor": "totp", "grace_ended": True}


def test_an_administrator_resets_what_was_lost(person, hana):
    """An administrator forgets another's factors, which ends its sessions; nobody does so for itself."""
    boss = person("boss", Role.ADMINISTRATOR)
    boss.sign_in()
    boss.set_up_app()
    rows = {each["name"]: each["id"] for each in boss.ask("GET", "/operators").json()["items"]}
    assert boss.ask("DELETE", f"/operators/{rows['boss']}/factors").status_code == 403
    assert boss.ask("DELETE", f"/operators/{rows['hana']}/factors").status_code == 204
    assert hana.ask("GET", "/session").status_code == 401
    assert hana.sign_in().json()["operator"]["second_factor_missing"]
    assert hana.ask("DELETE", f"/operators/{rows['boss']}/factors").status_code == 403


def test_no_secret_is_on_record(hana, session):
    """Neither the app's secret nor codes can be read from the tables or the trail."""
    hana.ask("POST", "/session/factors/recovery-codes")
    hana.sign_in(code=hana.recovery_codes[0])
    tables = ("operator", "credential", "totp", "recovery_code", "audit_event", "ceremony")
    dump = "".join(str(session.connection().exec_driver_sql(f"SELECT t::text FROM {name} t").all()) for name in tables)
    assert "hana" in dump
    for hidden in (hana.app.secret, PASSWORD, *hana.recovery_codes, *(c.replace("-", "") for c in hana.recovery_codes)):
        assert hidden not in dump


def test_breaking_the_glass_calls_everyone(person, hana):
    """The sign-in of a break-glass account pages whoever is on duty; a wrong password and other accounts do not."""
    glass = person("glass-1", Role.ADMINISTRATOR, break_glass=True)
    glass.sign_in(password="wrong")
    hana.sign_in(code=hana.app.code())
    with db.transaction() as session:
        assert session.exec(select(Notice)).all() == []
    assert glass.sign_in().status_code == 200
    with db.transaction() as session:
        [notice] = session.exec(select(Notice))
    assert (notice.what, notice.details["operator_id"]) == ("session.break_glass", 2)
