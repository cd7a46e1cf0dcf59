"""Sessions that go stale, are proved anew, listed and ended; and API tokens that are narrower than their owner."""

import pytest

from mdm import db
from mdm.auth import Role, Scope, credentials
from mdm.auth.models import Credential
from mdm.auth.principal import CredentialKind
from mdm.auth.rights import READ_ONLY, RIGHTS, Action
from mdm.errors import Forbidden
from mdm.organization.models import School
from tests.mdm_auth.people import PASSWORD, answered, new_key, slug, trail

NEW = {"name": "puppet", "password": PASSWORD, "role": "viewer", "all_schools": True}


@pytest.fixture
def boss(person):
    made = person("boss", Role.ADMINISTRATOR)
    made.sign_in()
    made.set_up_app()
    return made


def test_the_irreversible_needs_a_fresh_proof(boss):
    """Five minutes after the proof an administrator makes no account but still reads; a new proof opens it."""
    boss.clock.move(minutes=5.1)
    answer = boss.ask("POST", "/operators", json=NEW)
    assert (answer.status_code, slug(answer)) == (403, "step-up-required")
    assert "/api/v1/session/step-up" in answer.json()["detail"]
    assert boss.ask("GET", "/operators").status_code == 200
    proof = {"password": PASSWORD, "code": boss.app.code()}
    assert boss.ask("POST", "/session/step-up", json=proof).status_code == 200
    assert boss.ask("POST", "/operators", json=NEW).status_code == 201
    assert [event.details for event in trail() if event.action == "session.step_up"][-1] == {
        "factors": ["password", "totp"]
    }


def test_half_a_proof_is_none(boss):
    """The password or the code alone, a used code and a wrong password prove nothing; the session stays as it was."""
    boss.clock.move(minutes=6)
    code = boss.app.code()
    for proof in ({}, {"password": PASSWORD}, {"code": code}, {"password": PASSWORD, "code": code}):
        answer = boss.ask("POST", "/session/step-up", json=proof)
        assert (answer.status_code, slug(answer)) == (403, "not-proved"), proof
    wrong = {"password": "wrong", "code": boss.app.code(1)}
    assert boss.ask("POST", "/session/step-up", json=wrong).status_code == 403
    assert slug(boss.ask("POST", "/operators", json=NEW)) == "step-up-required"


def test_a_passkey_proves_alone(boss):
    """A passkey that checks its holder is proof enough; one question proves once."""
    key = new_key()
    boss.add_key(key)
    boss.clock.move(minutes=6)
    question = boss.ask("POST", "/session/step-up/options").json()
    assert [each["id"] for each in question["options"]["allowCredentials"]] == [key.get("AA")["id"]]
    body = {"key": answered(key, question)}
    assert boss.ask("POST", "/session/step-up", json=body).status_code == 200
    assert boss.ask("POST", "/session/step-up", json=body).status_code == 403


def test_a_copied_session_does_not_become_fresh(boss):
    """Proving anew gives a new secret and ends the old one: whoever had copied it is outside."""
    stolen = boss.secret
    ends = boss.ask("GET", "/sessions").json()["items"][0]["expires_at"]
    boss.clock.move(minutes=6)
    boss.ask("POST", "/session/step-up", json={"password": PASSWORD, "code": boss.app.code()})
    assert boss.secret != stolen
    assert boss.client.get("/api/v1/session", headers={"Authorization": f"Bearer {stolen}"}).status_code == 401
    assert [each["expires_at"] for each in boss.ask("GET", "/sessions").json()["items"]] == [ends]


def test_step_up_by_cookie_sets_a_new_cookie(boss):
    """A browser's session is renewed in its cookie, and no secret stands in the body."""
    own = {"Sec-Fetch-Site": "same-origin"}
    body = {"name": "boss", "password": PASSWORD, "code": boss.app.code()}
    assert boss.client.post("/api/v1/session", json=body, headers=own).status_code == 200
    former = boss.client.cookies["tabane"]
    boss.clock.move(seconds=30)
    proof = {"password": PASSWORD, "code": boss.app.code()}
    assert boss.client.post("/api/v1/session/step-up", json=proof).status_code == 403
    answer = boss.client.post("/api/v1/session/step-up", json=proof, headers=own)
    assert answer.json()["token"] is None
    assert boss.client.cookies["tabane"] != former
    assert boss.client.get("/api/v1/session").status_code == 200


def test_guessing_at_the_proof_is_slowed_down(boss):
    """A stolen session gets five guesses at the password."""
    boss.clock.move(minutes=6)
    guesses = [boss.ask("POST", "/session/step-up", json={"password": f"guess {n}"}).status_code for n in range(6)]
    assert guesses == [403] * 5 + [429]


def test_an_unused_session_ends(hana, monkeypatch):
    """A session that nobody used for an hour has ended; use keeps it, up to its end."""
    monkeypatch.setenv("TABANE_SESSION_HOURS", "2")
    db.get_settings.cache_clear()
    hana.sign_in(code=hana.app.code())
    for _ in range(2):
        hana.clock.move(minutes=50)
        assert hana.ask("GET", "/session").status_code == 200
    with db.transaction() as session:
        assert len(credentials.live(session, 1, CredentialKind.SESSION)) == 1
    hana.clock.move(minutes=61)
    assert hana.ask("GET", "/session").status_code == 401


def test_sessions_are_listed_and_ended(hana):
    """One sees where one is signed in and ends any of them; others' do not exist."""
    first = hana.secret
    hana.sign_in(code=hana.app.code())
    lines = hana.ask("GET", "/sessions").json()["items"]
    assert [each["current"] for each in lines] == [False, True]
    assert lines[1]["factors"] == ["password", "totp"]
    assert lines[1]["address"]
    assert hana.ask("DELETE", f"/sessions/{lines[0]['key']}").status_code == 204
    assert hana.client.get("/api/v1/session", headers={"Authorization": f"Bearer {first}"}).status_code == 401
    assert hana.ask("DELETE", f"/sessions/{lines[0]['key']}").status_code == 404


def test_all_that_is_open_ends_at_once(hana):
    """Ending everything ends the tokens and this session too."""
    token = hana.ask("POST", "/tokens", json={"label": "x"}).json()["secret"]
    assert hana.ask("DELETE", "/sessions").json() == {"sessions": 1, "tokens": 1}
    assert hana.ask("GET", "/session").status_code == 401
    assert hana.client.get("/api/v1/session", headers={"Authorization": f"Bearer {token}"}).status_code == 401


def _with_token(owner, **more):
    answer = owner.ask("POST", "/tokens", json={"label": "robot", **more})
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Bearer {answer.json()['secret']}"}, answer.json()


def test_a_token_reads_and_nothing_else_unless_said(boss):
    """Without bounds of its own a token reads what names nobody and no place."""
    headers, made = _with_token(boss)
    assert set(made["allow"]) == READ_ONLY
    assert boss.client.get("/api/v1/devices", headers=headers).status_code == 200
    assert boss.client.get("/api/v1/operators", headers=headers).status_code == 403
    assert boss.client.post("/api/v1/tokens", headers=headers, json={"label": "x"}).status_code == 403
    assert boss.client.get("/api/v1/session", headers=headers).json()["actions"] == made["allow"]


def test_a_token_does_what_it_was_made_for(boss):
    """A token that may read operators reads them, and does not read the trail."""
    headers, made = _with_token(boss, allow=["operator.read"])
    assert made["allow"] == ["operator.read", "session.self"]
    assert boss.client.get("/api/v1/operators", headers=headers).status_code == 200
    assert boss.client.get("/api/v1/audit", headers=headers).status_code == 403


@pytest.mark.parametrize("action", [each for each, right in RIGHTS.items() if right.person or right.safety == "A"])
def test_no_token_for_what_needs_a_person(boss, action):
    """What needs a person who has signed in cannot be put into a token."""
    assert boss.ask("POST", "/tokens", json={"label": "x", "allow": [action.value]}).status_code == 422


def test_even_an_unbounded_token_asks_for_no_wipe(boss):
    """A token of before tokens had bounds does nothing irreversible either: no person has just been there."""
    with db.transaction() as session:
        old = credentials.create_token(session, 1, label="old", lifetime=credentials.LONGEST_TOKEN)
        assert session.get(Credential, credentials.digest(old.secret)).actions is None
    with db.transaction() as session:
        principal = credentials.authenticate(session, old.secret)
    for action in (Action.REQUEST_WIPE, Action.RETIRE_DEVICE, Action.MANAGE_OPERATORS, Action.APPROVE):
        with pytest.raises(Forbidden):
            principal.must(action)


def test_nobody_gives_a_token_more_than_they_have(hana, person):
    """A token's actions and schools lie within its owner's."""
    assert hana.ask("POST", "/tokens", json={"label": "x", "allow": ["operator.read"]}).status_code == 403
    with db.transaction() as session:
        rows = [School(code=code, name=code) for code in ("E1", "E2")]
        session.add_all(rows)
        session.flush()
        own = rows[0].id
    local = person("local", scope=Scope(False, frozenset([own])))
    local.sign_in()
    local.set_up_app()
    assert local.ask("POST", "/tokens", json={"label": "x", "schools": ["E2"]}).status_code == 422
    assert local.ask("POST", "/tokens", json={"label": "x", "schools": ["E9"]}).status_code == 422
    headers, _ = _with_token(hana, schools=["E1"])
    me = hana.client.get("/api/v1/session", headers=headers).json()
    assert (me["all_schools"], me["school_ids"]) == (False, [own])
    assert [each["code"] for each in hana.client.get("/api/v1/schools", headers=headers).json()["items"]] == ["E1"]


def test_a_stale_session_makes_no_token(hana):
    """A quarter of an hour after the proof a session makes no token: a thief of it would keep that."""
    hana.clock.move(minutes=16)
    assert slug(hana.ask("POST", "/tokens", json={"label": "x"})) == "step-up-required"


def test_how_fresh_is_a_threshold(boss):
    """One administrator tightens how lately the proof must have been given, and it holds at once."""
    boss.clock.move(minutes=3)
    assert boss.ask("POST", "/operators", json=NEW).status_code == 201
    assert boss.ask("PUT", "/safeguards/thresholds/step_up.a_minutes", json={"value": 2}).status_code == 200
    assert slug(boss.ask("POST", "/operators", json={**NEW, "name": "second"})) == "step-up-required"


def test_the_disruptive_in_bulk_needs_a_proof_too(hana):
    """A quarter of an hour after the proof a session locks ten tablets still, but not eleven at once."""
    with db.transaction() as session:
        school = School(code="E1", name="E1")
        session.add(school)
        session.flush()
        add = (
            "INSERT INTO device (control_number, serial, platform, model, school_id, lease_contract, state)"
            " SELECT 'T' || n, 'T' || n, 'apple', 'm', %s, 'L', 'issued' FROM generate_series(1, 11) n"
        )
        session.connection().exec_driver_sql(add, (school.id,))
    hana.clock.move(minutes=16)

    def lock(count: int):
        body = {"kind": "lock", "serials": [f"T{number}" for number in range(1, count + 1)], "reason": "r"}
        return hana.ask("POST", "/commands", json=body, headers={"Idempotency-Key": str(count)})

    assert lock(10).status_code < 300
    assert slug(lock(11)) == "step-up-required"
