"""Reading personal items goes on record (R-38): on every route of the document whose answer holds some."""

import re

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from sqlmodel import col, select
from starlette.testclient import TestClient

from mdm import db
from mdm.app import operator_app
from mdm.audit import reads
from mdm.audit.models import AuditEvent
from mdm.auth import Role, credentials
from mdm.auth.models import Operator
from mdm.devices.models import Device
from tests.mdm_app.test_every_route import _plant

PERSONAL = {"user_id", "holder_name", "latitude", "longitude", "result", "answer"}
"""Fields that no answer about a person is without: an id, a name, or a place (in what a tablet answered)."""
BY_THEMSELVES = {"readHolderName", "showCommand", "showCheckReport", "readLocation"}
"""Routes that record each look themselves; tests of their rooms hold it."""


@pytest.fixture(scope="module")
def app():
    return operator_app()


@pytest.fixture
def client(database, app):
    reads.forget()
    with db.transaction() as session:
        operator = Operator(name="boss", password_hash="", role=Role.ADMINISTRATOR, all_schools=True)
        session.add(operator)
        session.flush()
        secret = credentials.open_session(session, operator.id).secret
    with TestClient(app, headers={"Authorization": f"Bearer {secret}"}) as opened:
        yield opened


def _fields(document, schema, seen=()) -> set[str]:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return set() if name in seen else _fields(document, document["components"]["schemas"][name], (*seen, name))
    found = set(schema.get("properties", {}))
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    for each in inner + ([schema["items"]] if "items" in schema else []):
        found |= _fields(document, each, seen)
    return found


def _personal(app) -> dict[str, str]:
    """The operations that read and whose answers hold personal items, with their paths."""
    document, found = app.openapi(), {}
    for path, methods in document["paths"].items():
        operation = methods.get("get", {})
        contents = operation.get("responses", {}).get("200", {}).get("content", {})
        if any(_fields(document, content.get("schema", {})) & PERSONAL for content in contents.values()):
            found[operation["operationId"]] = path
    return found


def _recorded(dependant: Dependant) -> set[str]:
    own = {action} if (action := reads.recorded_by(dependant.call)) else set()
    return own.union(*(_recorded(each) for each in dependant.dependencies))


def _marked(app) -> dict[str, set[str]]:
    """The paths that record a look by the common dependency, with the action."""
    contexts = [each for each in iter_route_contexts(app.routes) if "GET" in (each.methods or ())]
    guarded = [each for each in contexts if getattr(each, "dependant", None)]
    return {each.path: found for each in guarded if (found := _recorded(each.dependant))}


def test_every_route_that_shows_personal_items_records_it(app):
    """A new route with a user id, a name or a place in its answer must say how that goes on record."""
    personal = _personal(app)
    assert {"listDevices", "showDevice", "readHolderName", "showCommand"} <= set(personal)
    assert {name for name, path in personal.items() if path not in _marked(app)} <= BY_THEMSELVES


def _acts(action: str) -> list[AuditEvent]:
    with db.transaction() as session:
        return list(session.exec(select(AuditEvent).where(col(AuditEvent.action) == action)))


def test_a_look_is_on_record_once(app, client):
    """Who looked at which tablet stands in the trail; looking again adds nothing, another filter does."""
    parameters = _plant()
    looked = {}
    for name, path in _personal(app).items():
        url = re.sub(r"\{([^}]+)\}", lambda found: parameters.get(found[1], "1"), path)
        query = {"serial": "ZEBRA"} if name == "chooseTablet" else {}
        if client.get(url, params=query).status_code == 200 and path in _marked(app):
            client.get(url, params=query)
            looked[name] = _marked(app)[path]
    assert {"listDevices", "showDevice"} <= set(looked)
    for [action] in looked.values():
        [act] = _acts(action)
        assert act.actor == "operator:boss"
    assert _acts("device.read")[0].subject == f"device:{parameters['device_id']}"
    client.get("/api/v1/devices", params={"user_id": "ZEBRA"})
    acts = _acts("device.list")
    assert [act.details for act in acts] == [{}, {"filters": ["user_id"]}]
    assert not any("zebra" in act.model_dump_json(exclude={"previous", "digest", "mac"}).lower() for act in acts)


def test_a_refused_look_is_none(client):
    """Nothing goes on record of a tablet that is not there, and the next look at one that is counts."""
    device_id = _plant()["device_id"]
    with db.transaction() as session:
        missing = max(session.exec(select(Device.id))) + 1
    assert client.get(f"/api/v1/devices/{missing}").status_code == 404
    assert _acts("device.read") == []
    assert client.get(f"/api/v1/devices/{device_id}").status_code == 200
    assert len(_acts("device.read")) == 1
