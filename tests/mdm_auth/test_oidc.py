"""Sign-in by an identity provider that shares no code with us: Authlib's, asked in the way that Entra ID is."""

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import jwt
import pytest
from sqlmodel import select
from starlette.testclient import TestClient

from mdm import db
from mdm.auth import Role
from mdm.auth.models import Operator
from mdm.operators import oidc
from mdm.organization.models import School
from tests.mdm_auth.people import ORIGIN, Person, new_key, slug, trail
from tests.mdm_auth.provider import CLIENT, SECRET, TENANT, Provider, running
from tests.mdm_auth.provider import new_key as new_provider_key

CALLBACK = f"{ORIGIN}/api/v1/session/oidc/callback"
ROLES = {"Support": "support", "Viewer": "viewer", "Boss": "administrator", "Loss": "loss_desk"}
OTHER = "7c3a5e0e-2222-4b7e-9a54-000000000002"


def _hanako(**more) -> dict:
    """The claims of an invented person, as Entra ID words them."""
    return {
        "sub": "pairwise-1",
        "oid": "00000000-0000-0000-aaaa-000000000001",
        "tid": TENANT,
        "preferred_username": "Hanako@example.jp",
        "roles": ["Tabane.Support", "school:E1"],
        "amr": ["pwd", "mfa"],
        **more,
    }


@pytest.fixture
def provider(door: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    secret = tmp_path / "client-secret"
    secret.write_text(SECRET + "\n")
    with running(Provider(CALLBACK, _hanako())) as opened:
        settings = {
            "ISSUER": opened.issuer,
            "TENANT": TENANT,
            "CLIENT_ID": CLIENT,
            "CLIENT_SECRET_FILE": str(secret),
            "ROLES": json.dumps({f"Tabane.{said}": role for said, role in ROLES.items()}),
        }
        for name, value in settings.items():
            monkeypatch.setenv(f"TABANE_OIDC__{name}", value)
        db.get_settings.cache_clear()
        oidc.known.cache_clear()
        with db.transaction() as session:
            session.add_all(School(code=code, name=code) for code in ("E1", "E2"))
        yield opened


@pytest.fixture
def browser(door: TestClient, provider: Provider) -> TestClient:
    return TestClient(door.app, base_url=ORIGIN, follow_redirects=False)


def _there(browser: TestClient, **query) -> str:
    """Go to the provider, sign in there, and return the address that it sends the browser back to."""
    begun = browser.get("/api/v1/session/oidc", params=query)
    assert begun.status_code == 302, begun.text
    back = httpx2.get(begun.headers["location"], follow_redirects=False)
    assert back.status_code == 302, back.text
    assert back.headers["location"].startswith(CALLBACK)
    return back.headers["location"]


def _through(browser: TestClient, **query):
    return browser.get(_there(browser, **query))


def _operators() -> list[Operator]:
    with db.transaction() as session:
        return list(session.exec(select(Operator).order_by(Operator.id)))


def test_a_person_comes_in_by_the_provider(browser, provider):
    """The way there has PKCE, state and nonce; the way back makes an account with the provider's role and school."""
    answer = _through(browser, next="/devices")
    assert answer.status_code == 200, answer.text
    assert "url=/devices" in answer.text
    asked = provider.asked[0]
    assert (asked["response_type"], asked["code_challenge_method"], asked["scope"]) == (
        "code",
        "S256",
        "openid profile",
    )
    assert len({asked[name] for name in ("state", "nonce", "code_challenge")}) == 3
    me = browser.get("/api/v1/session").json()
    assert (me["name"], me["role"], me["all_schools"], len(me["school_ids"])) == ("hanako", "support", False, 1)
    assert me["factors"] == ["sso", "sso_mfa"]
    assert me["proved_at"] is None
    assert browser.get("/api/v1/devices").status_code == 200
    [made] = _operators()
    assert made.password_hash == ""
    assert [event.action for event in trail()][:2] == ["operator.add", "session.open"]


def test_cookies_are_bound(browser):
    """The cookie of the way there is Lax and gone afterwards; the session's is Strict; neither is a script's."""
    begun = browser.get("/api/v1/session/oidc").headers["set-cookie"].lower()
    assert "samesite=lax" in begun
    assert "httponly" in begun
    answer = _through(browser)
    ours = [value.lower() for value in answer.headers.get_list("set-cookie")]
    assert any(value.startswith("tabane=") and "samesite=strict" in value and "httponly" in value for value in ours)
    assert any(value.startswith("tabane-sso=") and "max-age=0" in value for value in ours)


def test_identity_is_the_tenants_object_not_the_address(browser, provider, person):
    """The same address with another object id is another person; a local account of that name stays apart."""
    person("hanako")
    _through(browser)
    provider.person = _hanako(oid="00000000-0000-0000-aaaa-000000000002", sub="pairwise-2")
    _through(browser)
    provider.person = _hanako(preferred_username="renamed@example.jp")
    _through(browser)
    names = [each.name for each in _operators()]
    assert len(names) == 3
    assert names[0] == "hanako"
    assert all(name.startswith("hanako-") for name in names[1:])


@pytest.mark.parametrize(
    "values",
    [[], ["Tabane.Unknown", "school:E1"], ["Tabane.Support"], ["Tabane.Support", "school:E9"],
     ["Tabane.Support", "Tabane.Viewer", "school:E1"], "Tabane.Support school:E1",
     ["Tabane.Loss", "school:E1"]],
    ids=["nothing", "unknown", "no-school", "unknown-school", "two", "text", "contractor"],
)  # fmt: skip
def test_no_known_role_is_no_entry(browser, provider, values):
    """Without one role and schools that are known here nobody comes in, and no account is made."""
    provider.person = _hanako(roles=values)
    answer = _through(browser)
    assert (answer.status_code, slug(answer)) == (403, "no-entry")
    assert browser.get("/api/v1/session").status_code == 401
    assert _operators() == []


def test_what_the_provider_takes_away_ends(browser, provider):
    """At the next sign-in another role ends what was open; none at all ends everything and lets nobody in."""
    _through(browser)
    first = browser.cookies["tabane"]
    provider.person = _hanako(roles=["Tabane.Viewer", "school:*"])
    _through(browser)
    me = browser.get("/api/v1/session").json()
    assert (me["role"], me["all_schools"]) == ("viewer", True)
    bearer = {"Authorization": f"Bearer {first}"}
    assert TestClient(browser.app, base_url=ORIGIN).get("/api/v1/session", headers=bearer).status_code == 401
    provider.person = _hanako(roles=[])
    assert _through(browser).status_code == 403
    assert browser.get("/api/v1/session").status_code == 401
    assert "operator.lost_role" in [event.action for event in trail()]


def test_a_disabled_account_stays_outside(browser, provider):
    """What is disabled here does not come in by the provider either."""
    _through(browser)
    with db.transaction() as session:
        session.exec(select(Operator)).one().disabled_at = oidc.datetime.now(oidc.UTC)
    answer = _through(browser)
    assert (answer.status_code, slug(answer)) == (403, "no-entry")


def test_no_password_opens_such_an_account(browser, person, provider):
    """An account of the provider's has no password, and nobody gives it one."""
    _through(browser)
    for guess in ("", "the hash that unknown names are compared with"):
        body = {"name": "hanako", "password": guess, "bearer": True}
        stranger = TestClient(browser.app, base_url=ORIGIN)
        assert stranger.post("/api/v1/session", json=body).status_code == 401
    boss = person("boss", Role.ADMINISTRATOR)
    boss.sign_in()
    boss.set_up_app()
    hanako = next(each.id for each in _operators() if each.name == "hanako")
    assert (
        boss.ask("PUT", f"/operators/{hanako}/password", json={"password": "a long enough password"}).status_code == 409
    )


def _changed(**wrong):
    return lambda claims, key: Provider.sign(None, {**claims, **wrong}, key)


def _without(name):
    return lambda claims, key: Provider.sign(None, {n: v for n, v in claims.items() if n != name}, key)


def _hs256(claims, key):
    """Sign with the provider's public key as if it were a shared secret."""
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": key.kid}).encode()).rstrip(b"=")
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
    secret = key.as_pem(private=False)
    import hmac

    mac = hmac.digest(secret, header + b"." + body, "sha256")
    return (header + b"." + body + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


def _bent(claims, key):
    head, _, signature = Provider.sign(None, claims, key).split(".")
    changed = base64.urlsafe_b64encode(json.dumps({**claims, "roles": ["Tabane.Boss", "school:*"]}).encode())
    return ".".join((head, changed.rstrip(b"=").decode(), signature))


FORGERIES = {
    "nonce": _changed(nonce="another"),
    "no nonce": _without("nonce"),
    "issuer": _changed(iss="https://login.example/other/v2.0"),
    "audience": _changed(aud="another-client"),
    "two audiences": _changed(aud=[CLIENT, "another-client"]),
    "authorized party": _changed(azp="another-client"),
    "tenant": _changed(tid=OTHER),
    "no tenant": _without("tid"),
    "no object": _without("oid"),
    "expired": _changed(iat=int(time.time()) - 7200, exp=int(time.time()) - 3600),
    "no end": _without("exp"),
    "from the future": _changed(iat=int(time.time()) + 3600, exp=int(time.time()) + 7200),
    "unsigned": lambda claims, key: jwt.encode(claims, None, algorithm="none", headers={"kid": key.kid}),
    "shared secret": _hs256,
    "changed": _bent,
    "foreign key": lambda claims, key: Provider.sign(None, claims, new_provider_key(key.kid)),
    "unknown key": lambda claims, _key: Provider.sign(None, claims, new_provider_key("k9")),
    "no token": lambda _claims, _key: "",
    "noise": lambda _claims, _key: "a.b.c",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_what_is_not_believed(browser, provider, name):
    """A token of another issuer, tenant, client, sign-in, time or key opens nothing, and no account is made."""
    provider.forge = FORGERIES[name]
    answer = _through(browser)
    assert (answer.status_code, slug(answer)) == (401, "unauthenticated"), answer.text
    assert browser.get("/api/v1/session").status_code == 401
    assert _operators() == []


def test_the_answer_of_another_sign_in_is_refused(browser, provider, door):
    """A wrong state, no cookie, another browser's cookie and another issuer's answer open nothing."""
    back = _there(browser)
    stranger = TestClient(door.app, base_url=ORIGIN, follow_redirects=False)
    assert stranger.get(back).status_code == 403
    stranger.get("/api/v1/session/oidc")
    assert stranger.get(back).status_code == 401
    state = parse_qs(urlsplit(back).query)["state"][0]
    assert browser.get(back.replace(state, "x" * len(state))).status_code == 401
    assert browser.get(_there(browser) + "&iss=https://evil.example").status_code == 401
    assert browser.get(f"{CALLBACK}?error=access_denied&state=x").status_code == 403
    assert _operators() == []


def test_a_code_is_good_once(browser, provider, door):
    """The same way back opens nothing a second time, nor does the code in another sign-in: PKCE binds it."""
    back = _there(browser)
    assert browser.get(back).status_code == 200
    assert TestClient(door.app, base_url=ORIGIN, cookies=dict(browser.cookies)).get(back).status_code == 403
    thief = TestClient(door.app, base_url=ORIGIN, follow_redirects=False)
    stolen = parse_qs(urlsplit(_there(browser)).query)["code"][0]
    own = _there(thief)
    swapped = own.replace(parse_qs(urlsplit(own).query)["code"][0], stolen)
    answer = thief.get(swapped)
    assert (answer.status_code, slug(answer)) == (502, "identity-provider-failed")


@pytest.mark.parametrize(
    "place", ["//evil.example", "https://evil.example", "/\\evil.example", "devices", "/a\nb", "/a b"]
)
def test_there_is_no_way_on_to_other_sites(browser, place):
    """Where to go afterwards is a path of this site."""
    assert browser.get("/api/v1/session/oidc", params={"next": place}).status_code == 422


def test_what_is_shown_of_the_place_is_harmless(browser):
    """A path with marks of HTML in it is written out as text."""
    answer = _through(browser, next='/"><script>alert(1)</script>')
    assert "<script>" not in answer.text


def test_keys_change(browser, provider, monkeypatch):
    """A key that is new at the provider is fetched when it first signs; unknown keys do not make us ask at will."""
    _through(browser)
    provider.keys = [*provider.keys, new_provider_key("k2")]
    assert _through(browser).status_code == 401, "asked within the last minute"
    monkeypatch.setattr(oidc, "_ASKED_EVERY_S", 0.0)
    assert _through(browser).status_code == 200
    monkeypatch.setattr(oidc, "_ASKED_EVERY_S", 60.0)
    read = provider.keys_read
    provider.forge = FORGERIES["unknown key"]
    for _ in range(3):
        assert _through(browser).status_code == 401
    assert provider.keys_read == read


def test_without_a_provider_there_is_no_way(door):
    """Where none is set up the routes are not there."""
    assert door.get("/api/v1/session/oidc", follow_redirects=False).status_code == 404


def test_a_provider_that_is_away_or_another(browser, provider, monkeypatch):
    """A provider that does not answer, or names itself otherwise, is a plain failure and no sign-in."""
    monkeypatch.setenv("TABANE_OIDC__ISSUER", provider.issuer + "/x")
    db.get_settings.cache_clear()
    assert slug(browser.get("/api/v1/session/oidc")) == "identity-provider-failed"
    monkeypatch.setenv("TABANE_OIDC__ISSUER", "http://127.0.0.1:9/x")
    db.get_settings.cache_clear()
    assert browser.get("/api/v1/session/oidc").status_code == 502


def test_the_second_factor_may_be_ours(browser, provider):
    """Where the provider does not say that it asked for two, the person sets up the second one here."""
    provider.person = _hanako(amr=["pwd"])
    provider.says_when = True
    _through(browser)
    assert browser.get("/api/v1/session").json()["second_factor_missing"]
    assert slug(browser.get("/api/v1/devices")) == "second-factor-required"
    hanako = Person(browser, "hanako", None, secret=browser.cookies["tabane"])
    assert hanako.add_key(new_key()).status_code == 201
    assert hanako.ask("GET", "/devices").status_code == 200


def test_proving_anew_at_the_provider(browser, provider):
    """The provider asks again, and says so: then the session is fresh, under a new secret."""
    provider.person = _hanako(roles=["Tabane.Boss", "school:*"])
    _through(browser)
    own = {"Sec-Fetch-Site": "same-origin"}
    new = {"name": "puppet", "password": "a long enough password", "role": "viewer", "all_schools": True}
    assert slug(browser.post("/api/v1/operators", json=new, headers=own)) == "step-up-required"
    former = browser.cookies["tabane"]
    assert _through(browser, step_up="true").status_code == 200
    assert (provider.asked[-1]["prompt"], provider.asked[-1]["max_age"]) == ("login", "0")
    assert browser.cookies["tabane"] != former
    assert browser.post("/api/v1/operators", json=new, headers=own).status_code == 201


@pytest.mark.parametrize("how", ["old", "unsaid", "other"])
def test_what_proves_nothing_anew(browser, provider, how):
    """An old sign-in, one of an unknown time, or another person's leaves the session as it was."""
    _through(browser)
    former = browser.cookies["tabane"]
    if how == "other":
        provider.person = _hanako(oid="00000000-0000-0000-aaaa-000000000009")
    else:
        said = {"auth_time": int(time.time()) - 3600} if how == "old" else {"auth_time": None}
        provider.forge = _changed(**said)
    assert _through(browser, step_up="true").status_code == 401
    assert browser.cookies["tabane"] == former
    assert len(_operators()) == 1


def test_a_program_takes_over(browser, provider):
    """A program on the same machine gets a session by a code that is good once, for whoever holds the secret."""
    verifier = "v" * 43
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()

    def code() -> str:
        answer = _through(browser, port=40000, challenge=challenge)
        assert answer.status_code == 302
        place = urlsplit(answer.headers["location"])
        assert (place.scheme, place.netloc) == ("http", "127.0.0.1:40000")
        return parse_qs(place.query)["code"][0]

    body = {"code": code(), "verifier": verifier}
    taken = browser.post("/api/v1/session/handoff", json=body)
    assert (taken.status_code, taken.json()["operator"]["name"]) == (200, "hanako")
    assert browser.post("/api/v1/session/handoff", json=body).status_code == 403
    stolen = {"code": code(), "verifier": "w" * 43}
    assert browser.post("/api/v1/session/handoff", json=stolen).status_code == 401
    assert browser.post("/api/v1/session/handoff", json={**stolen, "verifier": verifier}).status_code == 403
    assert browser.get("/api/v1/session/oidc", params={"port": 40000}).status_code == 422
