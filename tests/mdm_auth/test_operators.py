"""Sign-in, sessions, tokens, roles and accounts, through the operator API."""

from collections.abc import Callable, Iterator

import pytest
from sqlmodel import select
from starlette.testclient import TestClient

from mdm import db
from mdm.app import operator_app
from mdm.audit.models import AuditEvent
from mdm.auth import Principal, Role, Scope, credentials
from mdm.auth.models import Operator
from mdm.auth.passwords import hash_password, verify_password
from mdm.operators import accounts
from mdm.organization.models import School

PASSWORD = "correct horse battery"
SignedIn = Callable[..., TestClient]


@pytest.fixture
def anonymous(database: str) -> Iterator[TestClient]:
    with TestClient(operator_app(), base_url="http://testserver") as client:
        yield client


@pytest.fixture
def schools(database: str) -> dict[str, int]:
    with db.transaction() as session:
        rows = [School(code=code, name=f"School {code}") for code in ("E1", "E2")]
        session.add_all(rows)
        session.flush()
        return {row.code: row.id for row in rows}


@pytest.fixture
def signed_in(anonymous: TestClient) -> SignedIn:
    """Make an operator and return a client with its session: `signed_in("hana", Role.VIEWER, school_ids=[1])`."""

    def make(name: str, role: Role, *, school_ids: list[int] | None = None, token: bool = False) -> TestClient:
        scope = Scope(school_ids is None, frozenset(school_ids or []))
        with db.transaction() as session:
            operator = accounts.add(session, "host", name=name, password=PASSWORD, role=role, scope=scope)
            issued = credentials.open_session(session, operator.id)
            if token:
                issued = credentials.create_token(session, operator.id, label="x", lifetime=credentials.LONGEST_TOKEN)
        client = TestClient(anonymous.app, headers={"Authorization": f"Bearer {issued.secret}"})
        client.operator_id = operator.id
        return client

    return make


def _sign_in(client: TestClient, name: str, password: str = PASSWORD, **more):
    return client.post("/api/v1/session", json={"name": name, "password": password, "bearer": True, **more})


def _actions() -> list[str]:
    with db.transaction() as session:
        return [event.action for event in session.exec(select(AuditEvent).order_by(AuditEvent.id))]


def test_sign_in_and_out(anonymous, signed_in):
    """A right password opens a session that signing out ends."""
    signed_in("hana", Role.SUPPORT)
    answer = _sign_in(anonymous, "hana")
    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    assert anonymous.get("/api/v1/session", headers=headers).json()["role"] == "support"
    assert anonymous.delete("/api/v1/session", headers=headers).status_code == 204
    assert anonymous.get("/api/v1/session", headers=headers).status_code == 401
    assert _actions()[-2:] == ["session.open", "session.close"]


def test_wrong_unknown_and_disabled_look_the_same(anonymous, signed_in):
    """A wrong password, an unknown name and a disabled account get one answer; known names go on record."""
    signed_in("hana", Role.SUPPORT)
    disabled = signed_in("gone", Role.SUPPORT)
    boss = signed_in("boss", Role.ADMINISTRATOR)
    assert boss.patch(f"/api/v1/operators/{disabled.operator_id}", json={"disabled": True}).status_code == 200
    answers = [_sign_in(anonymous, "hana", "wrong"), _sign_in(anonymous, "nobody"), _sign_in(anonymous, "gone")]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.json()["detail"] for answer in answers}) == 1
    assert _actions().count("session.refuse") == 2


def test_guessing_is_slowed_down(anonymous, signed_in):
    """After five wrong passwords even the right one has to wait, and says how long."""
    signed_in("hana", Role.SUPPORT)
    assert [_sign_in(anonymous, "hana", "wrong").status_code for _ in range(6)] == [401] * 5 + [429]
    answer = _sign_in(anonymous, "hana")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 900


def test_behind_a_proxy_each_address_counts_for_itself(anonymous, signed_in, monkeypatch):
    """What a named proxy says of its peer is believed; the same header from anybody else is not."""
    signed_in("hana", Role.SUPPORT)

    def wrong(client: TestClient, address: str) -> int:
        body = {"name": "hana", "password": "wrong", "bearer": True}
        return client.post("/api/v1/session", json=body, headers={"X-Forwarded-For": address}).status_code

    stranger = TestClient(anonymous.app, client=("192.0.2.9", 1))
    assert [wrong(stranger, f"198.51.100.{number}") for number in range(6)] == [401] * 5 + [429]
    monkeypatch.setenv("TABANE_APPLE__CLIENT_CERT_PROXIES", '["10.0.0.0/8"]')
    db.get_settings.cache_clear()
    proxied = TestClient(anonymous.app, client=("10.1.2.3", 1))
    assert [wrong(proxied, "6.6.6.6, 198.51.100.7") for _ in range(6)] == [401] * 5 + [429]
    assert wrong(proxied, "198.51.100.8") == 401


def test_cookie_works_from_own_pages_only(anonymous, signed_in):
    """A cookie session acts only for requests from the console's own pages; reading needs no proof."""
    signed_in("hana", Role.VIEWER)
    own = {"Sec-Fetch-Site": "same-origin"}
    answer = anonymous.post("/api/v1/session", json={"name": "hana", "password": PASSWORD}, headers=own)
    assert answer.json()["token"] is None
    flags = answer.headers["set-cookie"].lower()
    assert "httponly" in flags
    assert "samesite=strict" in flags
    assert anonymous.get("/api/v1/session").status_code == 200
    body = {"label": "x"}
    for headers in (
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ):
        assert anonymous.post("/api/v1/tokens", json=body, headers=headers).status_code == 403, headers
    assert anonymous.post("/api/v1/tokens", json=body, headers=own).status_code == 201
    assert anonymous.post("/api/v1/tokens", json=body, headers={"Origin": "http://testserver"}).status_code == 201


def test_https_console_gets_a_host_bound_cookie(anonymous, signed_in, monkeypatch):
    """Behind https the cookie has the __Host- prefix and is Secure."""
    monkeypatch.setenv("TABANE_OPERATOR_URL", "https://tabane.example")
    db.get_settings.cache_clear()
    signed_in("hana", Role.SUPPORT)
    answer = anonymous.post(
        "/api/v1/session", json={"name": "hana", "password": PASSWORD}, headers={"Origin": "https://tabane.example"}
    )
    assert answer.headers["set-cookie"].startswith("__Host-tabane=")
    assert "secure" in answer.headers["set-cookie"].lower()


def test_tokens_live_and_die(anonymous, signed_in):
    """A token opens the API with its owner's rights until it is revoked; its secret is only in the first answer."""
    hana = signed_in("hana", Role.SUPPORT)
    created = hana.post("/api/v1/tokens", json={"label": "import", "days": 7}).json()
    headers = {"Authorization": f"Bearer {created['secret']}"}
    assert anonymous.get("/api/v1/session", headers=headers).json()["credential"] == "token"
    listed = hana.get("/api/v1/tokens").json()["items"]
    assert [(each["key"], each["label"]) for each in listed] == [(created["key"], "import")]
    assert hana.delete(f"/api/v1/tokens/{created['key']}").status_code == 204
    assert anonymous.get("/api/v1/session", headers=headers).status_code == 401
    assert hana.delete(f"/api/v1/tokens/{created['key']}").status_code == 404


def test_tokens_are_short_lived_and_weak(signed_in):
    """No token for more than 90 days; a token makes no tokens and manages no operators."""
    hana = signed_in("hana", Role.ADMINISTRATOR)
    assert hana.post("/api/v1/tokens", json={"label": "x", "days": 91}).status_code == 422
    robot = signed_in("robot", Role.ADMINISTRATOR, token=True)
    assert robot.post("/api/v1/tokens", json={"label": "x"}).status_code == 403
    new = {"name": "puppet", "password": PASSWORD, "role": "administrator", "all_schools": True}
    assert robot.post("/api/v1/operators", json=new).status_code == 403
    assert robot.get("/api/v1/operators").status_code == 200


def test_secrets_are_not_in_the_database(session, signed_in):
    """Neither passwords nor the secrets of sessions and tokens can be read from the tables."""
    hana = signed_in("hana", Role.ADMINISTRATOR)
    secret = hana.post("/api/v1/tokens", json={"label": "x"}).json()["secret"]
    dump = str(session.connection().exec_driver_sql("SELECT o::text, c::text FROM operator o, credential c").all())
    dump += str(session.connection().exec_driver_sql("SELECT a::text FROM audit_event a").all())
    for hidden in (PASSWORD, secret, secret.encode().hex(), secret[4:]):
        assert hidden not in dump
    assert "$argon2id$" in dump


def test_expired_credentials_open_nothing(session, signed_in):
    """A session ends with its time."""
    hana = signed_in("hana", Role.VIEWER)
    session.connection().exec_driver_sql("UPDATE credential SET expires_at = now()")
    session.commit()
    assert hana.get("/api/v1/session").status_code == 401


def test_changing_ones_password(anonymous, signed_in):
    """The present password is needed, weak ones are refused, and the change ends every session."""
    hana = signed_in("hana", Role.VIEWER)
    change = "/api/v1/session/password"
    assert hana.put(change, json={"current": "wrong", "password": "another long one"}).status_code == 403
    for weak in ("short", "hana-hana-hana-1", "aaaaaaaaaaaaaaaa", "x" * 129):
        assert hana.put(change, json={"current": PASSWORD, "password": weak}).status_code == 422, weak
    assert hana.put(change, json={"current": PASSWORD, "password": "another long one"}).status_code == 204
    assert hana.get("/api/v1/session").status_code == 401
    assert _sign_in(anonymous, "hana", "another long one").status_code == 200


def test_scoped_administrators_see_and_give_only_their_own(signed_in, schools):
    """An administrator of one school neither sees nor makes operators with a wider scope."""
    boss = signed_in("boss", Role.ADMINISTRATOR)
    local = signed_in("local", Role.ADMINISTRATOR, school_ids=[schools["E1"]])
    other = signed_in("other", Role.SUPPORT, school_ids=[schools["E2"]])
    assert [each["name"] for each in local.get("/api/v1/operators").json()["items"]] == ["local"]
    assert [each["name"] for each in boss.get("/api/v1/operators").json()["items"]] == ["boss", "local", "other"]
    for hidden in (boss.operator_id, other.operator_id, 999):
        assert local.get(f"/api/v1/operators/{hidden}").status_code == 404
        assert local.patch(f"/api/v1/operators/{hidden}", json={"disabled": True}).status_code == 404
        assert local.put(f"/api/v1/operators/{hidden}/password", json={"password": PASSWORD}).status_code == 404
    new = {"name": "puppet", "password": PASSWORD, "role": "support"}
    assert local.post("/api/v1/operators", json={**new, "all_schools": True}).status_code == 403
    assert local.post("/api/v1/operators", json={**new, "schools": ["E2"]}).status_code == 422
    assert local.post("/api/v1/operators", json={**new, "schools": ["E1", "E9"]}).status_code == 422
    assert local.post("/api/v1/operators", json=new).status_code == 422
    made = local.post("/api/v1/operators", json={**new, "schools": ["E1"]})
    assert (made.status_code, made.json()["schools"]) == (201, ["E1"])
    assert local.patch(f"/api/v1/operators/{made.json()['id']}", json={"all_schools": True}).status_code == 403
    assert local.post("/api/v1/operators", json={**new, "schools": ["E1"]}).status_code == 409
    assert local.get("/api/v1/audit").status_code == 403


def test_nobody_changes_their_own_account(signed_in):
    """Not even an administrator changes its own role, scope or state."""
    boss = signed_in("boss", Role.ADMINISTRATOR)
    signed_in("second", Role.ADMINISTRATOR)
    for change in ({"role": "viewer"}, {"disabled": True}, {"all_schools": True}):
        assert boss.patch(f"/api/v1/operators/{boss.operator_id}", json=change).status_code == 403
    assert boss.put(f"/api/v1/operators/{boss.operator_id}/password", json={"password": PASSWORD}).status_code == 403


def test_one_administrator_of_all_schools_remains(signed_in, schools):
    """The last enabled administrator of all schools can be neither disabled, demoted nor narrowed."""
    boss = signed_in("boss", Role.ADMINISTRATOR)
    second = signed_in("second", Role.ADMINISTRATOR)
    with db.transaction() as session:
        # Whoever acts has been disabled in between, but the session was kept: only then is the other the last one.
        principal = Principal(boss.operator_id, "boss", Role.ADMINISTRATOR, Scope(all_schools=True))
        session.get(Operator, boss.operator_id).role = Role.VIEWER
    changes = ({"disabled": True}, {"role": Role.VIEWER}, {"scope": Scope(False, frozenset([schools["E1"]]))})
    for change in changes:
        with pytest.raises(accounts.Conflict), db.transaction() as session:
            accounts.change(session, principal, second.operator_id, **change)
    assert second.get("/api/v1/session").json()["role"] == "administrator"


def test_a_change_ends_what_was_open(signed_in):
    """When role or state changes, the operator's sessions and tokens end at once."""
    boss = signed_in("boss", Role.ADMINISTRATOR)
    hana = signed_in("hana", Role.SUPPORT)
    assert boss.patch(f"/api/v1/operators/{hana.operator_id}", json={"role": "viewer"}).json()["role"] == "viewer"
    assert hana.get("/api/v1/session").status_code == 401
    assert _actions()[-1] == "operator.change"


def test_passwords_are_normalised():
    """The same password typed in another Unicode form still opens."""
    hashed = hash_password("パスワードは長いほうがよい", name="hana")
    assert verify_password(hashed, "ﾊﾟｽﾜｰﾄﾞは長いほうがよい")
    assert not verify_password(None, "anything at all")
    assert not verify_password("not a hash", "anything at all")
