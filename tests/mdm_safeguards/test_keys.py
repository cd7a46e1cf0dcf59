"""Approver keys: registered by their holders, worth nothing until the host pins them."""

import pytest
from sqlmodel import Session

from mdm import db
from mdm.auth import Role
from mdm.errors import NotFound
from mdm.safeguards import keys
from mdm.settings import get_settings
from simulator.authenticator import SoftwareAuthenticator
from tests.signer import Signer, challenge, digest_shown, encode


@pytest.fixture
def hana(sign_in):
    return sign_in("hana")


@pytest.fixture
def jiro(sign_in):
    return sign_in("jiro")


def _pin(fingerprint: str) -> str:
    with db.transaction() as session:
        return keys.pin(session, fingerprint)


def _authenticator(**more) -> SoftwareAuthenticator:
    url = get_settings().operator_url
    return SoftwareAuthenticator(**{"origin": url, "rp_id": "127.0.0.1"} | more)


def _register(person, key: SoftwareAuthenticator, label: str = "at the desk"):
    options = person.post("/keys/options", {"label": label}).json()
    said = key.create(options["challenge"])["response"]
    body = {"kind": "webauthn", "label": label}
    return person.post(
        "/keys", body | {"client_data": said["clientDataJSON"], "attestation": said["attestationObject"]}
    )


def test_a_software_key_signs_once_it_is_pinned(district, hana, jiro, sql):
    """Registered with a proof that its private half is there; until the host has pinned it, it approves nothing."""
    placed = hana.wipe(district.tablets["a"])
    jiro.signer = Signer("jiro")
    answer = jiro.post("/keys", jiro.signer.registration("at home"))
    assert answer.status_code == 201, answer.text
    key = answer.json()
    jiro.signer.id = key["id"]
    assert (key["pinned_at"], key["fingerprint"][:7]) == (None, "SHA256:")
    refused = jiro.approve(placed["approval_id"])
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:tabane:problem:key-not-pinned")
    assert _pin(key["fingerprint"]) == "jiro"
    with pytest.raises(NotFound):
        _pin(key["fingerprint"])
    assert jiro.approve(placed["approval_id"]).status_code == 200
    actions = [row[0] for row in sql("SELECT action FROM audit_event WHERE starts_with(action, 'key.') ORDER BY id")]
    assert actions == ["key.register", "key.pin"]


def test_a_security_key_signs_what_was_asked(district, hana, jiro, sql):
    """Its assertion is over the request; a copy of an older count, another origin or no PIN is refused."""
    placed = hana.wipe(district.tablets["a"])
    key = _authenticator()
    registered = _register(jiro, key).json()
    assert registered["credential_id"] == encode(key.credential_id)
    _pin(registered["fingerprint"])
    request = jiro.get(f"/approvals/{placed['approval_id']}").json()

    def approve(*, urgent: bool = True, signed: bool = True, number: int = registered["id"]):
        said = key.get(encode(challenge(digest_shown(request), "jiro", urgent=signed)))["response"]
        body = {
            "key": number,
            "urgent": urgent,
            "signature": said["signature"],
            "client_data": said["clientDataJSON"],
            "authenticator_data": said["authenticatorData"],
        }
        return jiro.post(f"/approvals/{placed['approval_id']}/approve", body)

    # Each refusal is counted, and more than three would freeze what is approved here.
    insert = "INSERT INTO safeguard_threshold (name, value, set_by, reason) VALUES ('breaker.refused', 100, 'host', '')"
    sql(insert)
    assert approve(signed=False).status_code == 403
    for name, wrong in (("origin", "http://evil.example"), ("verifies", False), ("sign_count", -1)):
        right = getattr(key, name)
        setattr(key, name, wrong)
        assert approve().status_code == 403, name
        setattr(key, name, right)
    answer = approve()
    assert (answer.status_code, answer.json()["state"], answer.json()["urgent"]) == (200, "approved", True)
    assert sql("SELECT sign_count FROM approver_key") == [(key.sign_count,)]


def test_what_registers_no_key(hana, jiro, sign_in):
    """Another person's registration, one that nothing signed, a token's or a viewer's, a key twice, a sixth key."""
    stolen = Signer("jiro").registration("x")
    assert hana.post("/keys", stolen).status_code == 403
    assert hana.post("/keys", Signer("hana").registration("x") | {"label": "y"}).status_code == 403
    assert hana.post("/keys", Signer("hana").registration("x") | {"public_key": "AA"}).status_code == 422
    assert hana.post("/keys", Signer("hana").registration("x") | {"signature": ""}).status_code == 403
    for url in ("http://evil.example", get_settings().operator_url + "0"):
        assert _register(hana, _authenticator(origin=url)).status_code == 403
    viewer, robot = sign_in("viewer", Role.VIEWER), sign_in("robot", Role.ADMINISTRATOR, token=True)
    for who in (viewer, robot):
        assert who.post("/keys", Signer(who.name).registration("x")).status_code == 403
    mine = Signer("hana").registration("x")
    assert hana.post("/keys", mine).status_code == 201
    assert hana.post("/keys", mine).status_code == 409
    for _ in range(keys.MOST - 1):
        assert _register(hana, _authenticator()).status_code == 201
    assert _register(hana, _authenticator()).status_code == 409
    assert jiro.get("/keys").json()["items"] == []


def test_a_revoked_key_stays_revoked(district, hana, jiro):
    """Its holder or the host ends it for good; nobody else's can be revoked by the API."""
    placed = hana.wipe(district.tablets["a"])
    first, second = (jiro.post("/keys", Signer("jiro").registration(str(each))).json() for each in range(2))
    assert hana.client.delete(f"/api/v1/keys/{first['id']}").status_code == 404
    assert jiro.client.delete(f"/api/v1/keys/{first['id']}").status_code == 204
    with pytest.raises(NotFound):
        _pin(first["fingerprint"])
    with Session(db.engine()) as session:
        keys.revoke_by_host(session, second["fingerprint"])
        session.commit()
    assert all(each["revoked_at"] for each in jiro.get("/keys").json()["items"])
    jiro.signer.pinned(get_settings().database_url)
    jiro.client.delete(f"/api/v1/keys/{jiro.signer.id}")
    assert jiro.approve(placed["approval_id"]).status_code == 403
