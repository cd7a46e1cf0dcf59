"""What holds on every route of the operator API, whichever room it is in: the document lists them."""

import re

import pytest
from sqlmodel import select
from starlette.testclient import TestClient

from mdm import db, vault
from mdm.app import operator_app
from mdm.auth import Role, credentials
from mdm.auth.access import cookie_name
from mdm.auth.models import Operator
from mdm.commands import queue
from mdm.commands.kinds import Kind
from mdm.devices.models import Device

DOORS = {("/api/v1/session", "post"), ("/api/v1/session/passkey", "post"), ("/api/v1/session/passkey/options", "post")}
DOORS |= {("/api/v1/session/oidc", "get"), ("/api/v1/session/oidc/callback", "get")}
DOORS |= {("/api/v1/session/handoff", "post")}
"""Where strangers come in."""
OWN = re.compile(r"/api/v1/(session|sessions|tokens|keys)(/.*)?")
"""What every operator may change: the own sessions, factors, password, tokens and keys."""
PURE = {("/api/v1/policies/validate", "post")}
"""Changes nothing, though it takes a body."""


@pytest.fixture
def client(database: str):
    with TestClient(operator_app()) as opened:
        yield opened


@pytest.fixture
def operations(client) -> list[tuple[str, str]]:
    document = client.get("/api/v1/openapi.json").json()
    found = [(path, method) for path, methods in document["paths"].items() for method in methods]
    assert len(found) > 30
    return [each for each in found if each not in DOORS]


def _secret(name: str, role: Role, *, all_schools: bool = True) -> str:
    with db.transaction() as session:
        operator = Operator(name=name, password_hash="", role=role, all_schools=all_schools, made_on_host=True)
        session.add(operator)
        session.flush()
        return credentials.open_session(session, operator.id).secret


def _send(client: TestClient, path: str, method: str, **headers: str) -> int:
    url = re.sub(r"\{[^}]+\}", "1", path)
    given = {"Idempotency-Key": "k", **headers}
    body = None if method == "get" else {}
    return client.request(method, url, json=body, headers=given).status_code


def test_strangers(client, operations):
    """Everything but signing in is closed to strangers, before anything else about the request is looked at."""
    assert {each: _send(client, *each) for each in operations} == dict.fromkeys(operations, 401)


def test_viewers_change_nothing(client, operations):
    """A viewer is refused on every route that changes something, in every room."""
    secret = _secret("mieko", Role.VIEWER)
    writes = [each for each in operations if each[1] != "get" and each not in PURE and not OWN.fullmatch(each[0])]
    answers = {each: _send(client, *each, Authorization=f"Bearer {secret}") for each in writes}
    assert answers == dict.fromkeys(writes, 403)


def test_other_sites_change_nothing(client, operations):
    """A request that another site makes an administrator's browser send is refused on every route that changes."""
    client.cookies.set(cookie_name(), _secret("boss", Role.ADMINISTRATOR))
    writes = [each for each in operations if each[1] != "get"]
    answers = {each: _send(client, *each, **{"Sec-Fetch-Site": "cross-site"}) for each in writes}
    assert answers == dict.fromkeys(writes, 403)


def _plant() -> dict[str, str]:
    """Write one row of each kind that belongs to a school, all with ZEBRA in them; return the path parameters."""
    with db.engine().begin() as connection:
        run = connection.exec_driver_sql
        run("INSERT INTO school (code, name) VALUES ('ZEBRA1', 'ZEBRA school')")
        run("INSERT INTO school_class (school_id, year, name) SELECT id, 1, 'ZEBRA' FROM school")
        run(
            "INSERT INTO holder (school_id, user_id, name_sealed) SELECT id, 'ZEBRA', %s FROM school",
            (vault.seal("holder.name", b"ZEBRA"),),
        )
        run(
            "INSERT INTO device (control_number, serial, platform, model, school_id, holder_id, lease_contract, state)"
            " SELECT 'ZEBRA', 'ZEBRA', 'apple', 'ZEBRA', h.school_id, h.id, 'ZEBRA', 'issued' FROM holder h"
        )
        run(
            "INSERT INTO enrollment (device_id, status, epoch, udid, supervised)"
            " SELECT id, 'active', 1, 'ZEBRA', true FROM device"
        )
        run(
            "INSERT INTO operator (name, password_hash, role, all_schools, created_at)"
            " VALUES ('zebra', '', 'support', true, 'epoch')"
        )
    with db.transaction() as session:
        zebra = session.exec(select(Operator).where(Operator.name == "zebra")).one()
        principal = credentials.principal_of(session, zebra)
        [device_id] = session.exec(select(Device.id)).all()
        [wiped] = queue.enqueue(session, principal, [device_id], Kind.WIPE, {}, reason="ZEBRA")
        parameters = {"device_id": str(device_id), "code": "ZEBRA1", "serial": "ZEBRA", "operator_id": str(zebra.id)}
        return parameters | {"command_id": str(wiped.command.id), "approval_id": str(wiped.command.approval_id)}


def test_other_schools_do_not_exist(client, operations):
    """Nothing of a school outside the scope shows in any answer, not even to an administrator who knows the ids."""
    parameters = _plant()
    paths = [path for path, method in operations if method == "get"]

    def answers(secret: str) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {secret}"}
        urls = {path: re.sub(r"\{([^}]+)\}", lambda found: parameters.get(found[1], "1"), path) for path in paths}
        return {path: client.get(url, headers=headers).text for path, url in urls.items()}

    def showing(secret: str) -> set[str]:
        return {path for path, text in answers(secret).items() if "zebra" in text.lower()}

    seen = showing(_secret("boss", Role.ADMINISTRATOR))
    must = {"/devices", "/devices/{device_id}", "/commands", "/commands/{command_id}", "/approvals", "/schools"}
    assert {f"/api/v1{path}" for path in must} <= seen
    assert showing(_secret("nobody", Role.ADMINISTRATOR, all_schools=False)) == set()


def test_every_operation_is_documented(client, operations):
    """Each operation has an id of its own, a summary, a tag and its problems."""
    document = client.get("/api/v1/openapi.json").json()
    described = [document["paths"][path][method] for path, method in operations]
    assert len({each["operationId"] for each in described}) == len(described)
    for each in described:
        assert each["summary"]
        assert each["tags"]
        assert {"401", "403", "404"} <= set(each["responses"])
