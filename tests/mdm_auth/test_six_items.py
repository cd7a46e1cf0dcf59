"""The six items (R-26): what contractors may read, field by field, and what they are really answered."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mdm import db, vault
from mdm.auth import Role, credentials
from mdm.auth.guards import actions_of_routes
from mdm.auth.rights import DUTIES, allowed
from mdm.organization.models import Holder
from tests.mdm_auth import places
from tests.mdm_organization.conftest import Board

REGISTER = Path(__file__).with_name("register.txt")
"""Every other field that contractors can be answered: data of tablets, of work, of organizations; of no person."""
OF_PEOPLE = {
    "holder": {"CaseOut", "DeviceDetailOut", "DeviceOut"},
    "user_id": {"ChoiceOut", "HolderItems", "HolderNameOut", "HolderOut", "TaskOut"},
    "year": {"ChoiceOut", "ClassCountsOut", "ClassOut", "HolderItems", "HolderOut", "TaskOut"},
    "class_name": {"ChoiceOut", "ClassCountsOut", "HolderItems", "HolderOut", "TaskOut"},
}
"""In which answers the items of a person stand, beside the name (in `HolderOut`, masked, and `HolderNameOut`)."""
HOLDER_OUT = {"user_id", "year", "class_name", "name"}
PUPIL, NAME, IMEI, ICCID = "pupil-0007", "架空 七海", "350000000000006", "8981100000000000005"
QUERIES = {"since": "2026-04-01T00:00:00Z", "until": "2100-01-01T00:00:00Z", "serial": "QUAGGA", "account": "x"}


def _fields(
    schema: dict[str, Any], schemas: dict[str, Any], model: str, seen: frozenset[str]
) -> Iterator[tuple[str, str]]:
    """Yield every field that a schema can hold, at any depth, with the model it stands in."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        if name not in seen:
            yield from _fields(schemas[name], schemas, name.rsplit("__", 1)[-1], seen | {name})
        return
    for inner in [*schema.get("anyOf", []), *schema.get("oneOf", []), *schema.get("allOf", [])]:
        yield from _fields(inner, schemas, model, seen)
    for inner in (schema.get("items"), schema.get("additionalProperties")):
        if isinstance(inner, dict):
            yield from _fields(inner, schemas, model, seen)
    for name, inner in schema.get("properties", {}).items():
        yield name, model
        yield from _fields(inner, schemas, model, seen)


def _reachable(app: Any) -> set[tuple[str, str]]:
    document = app.openapi()
    schemas = document["components"]["schemas"]
    found: set[tuple[str, str]] = set()
    for (method, path), actions in actions_of_routes(app).items():
        if path in document["paths"] and any(allowed(role, action) for role in DUTIES for action in actions):
            for status, answer in document["paths"][path][method.lower()]["responses"].items():
                for content in answer.get("content", {}).values() if status < "300" else ():
                    found |= set(_fields(content.get("schema", {}), schemas, "", frozenset()))
    return found


def test_the_table_of_holders_has_no_seventh_item():
    """School, year and class, name and user id; the control number stands on the tablet."""
    assert set(Holder.__table__.columns.keys()) == {"id", "school_id", "class_id", "user_id", "name_sealed"}


def test_no_answer_to_a_contractor_has_a_field_that_nobody_registered(client):
    """A new field in an answer is either on the register as no person's, or it may not be there."""
    registered = set(REGISTER.read_text().split())
    found = _reachable(client.app)
    assert len(found) > 500
    new = sorted(f"{model}.{name}" for name, model in found if name not in registered | OF_PEOPLE.keys())
    assert new == [], f"if these are no person's, enter them in {REGISTER.name}; else R-26 forbids them"
    for item, models in OF_PEOPLE.items():
        assert {model for name, model in found if name == item and model != "CreationOptions"} == models, item
    assert {name for name, model in found if model == "HolderOut"} == HOLDER_OUT
    assert registered - {name for name, _ in found} == set(), "no longer in any answer"


@pytest.fixture
def contractors(client):
    """The clients of a contractor's four duties, over a tablet whose holder and numbers are known."""
    own, _ = places.plant(client)
    with db.engine().begin() as connection:
        run = connection.exec_driver_sql
        sealed = vault.seal("holder.name", NAME.encode())
        run("UPDATE holder SET user_id = %s, name_sealed = %s WHERE school_id = %s", (PUPIL, sealed, own.school_id))
        run("UPDATE device SET imei = %s, iccid = %s WHERE school_id = %s", (IMEI, ICCID, own.school_id))
    client.headers.update(places.sign_in(places.add_operator("over", Role.ADMINISTRATOR)))
    board = Board(client)
    top = board.organization("Invented Systems")
    board.contract(top, *DUTIES)
    handler = board.handler(top, "H-1", *DUTIES)
    opened = {}
    for duty in sorted(DUTIES):
        made = board.account(duty.replace("_", "-"), duty, handler)
        with db.transaction() as session:
            opened[duty] = {"Authorization": f"Bearer {credentials.open_session(session, made['id']).secret}"}
    return own, opened


def _answers(client, own, role, headers) -> Iterator[tuple[str, str]]:
    document = client.app.openapi()
    for (method, path), actions in actions_of_routes(client.app).items():
        if method == "GET" and path in document["paths"] and any(allowed(role, action) for action in actions):
            operation = document["paths"][path]["get"]
            asked = {each["name"] for each in operation.get("parameters", []) if each.get("required")}
            query = {name: value for name, value in QUERIES.items() if name in asked}
            answer = client.get(own.url(path), params=query, headers=headers)
            assert answer.status_code < 500, (path, answer.text)
            yield operation["operationId"], answer.text


def test_nobody_outside_is_shown_a_person_beside_the_numbers(client, contractors):
    """The loss desk sees people and no IMEI or ICCID, the other duties those and no people; names only when opened."""
    own, opened = contractors
    shown: dict[str, set[str]] = {duty: set() for duty in opened}
    for duty, headers in opened.items():
        for name, text in _answers(client, own, Role(duty), headers):
            readable = json.dumps(json.loads(text), ensure_ascii=False) if text.startswith(("{", "[")) else text
            person, numbers = PUPIL in readable, IMEI in readable or ICCID in readable
            assert not (person and numbers), (duty, name)
            assert (NAME in readable) == (name == "readHolderName"), (duty, name)
            shown[duty] |= {each for each, there in (("person", person), ("numbers", numbers)) if there}
    assert shown["loss_desk"] == {"person"}
    assert "person" not in shown["repair_desk"] | shown["operation"] | shown["supervision"]
    assert "numbers" in shown["repair_desk"] & shown["operation"]


def test_nobody_finds_by_what_is_not_shown(client, contractors):
    """A search by a person tells who has a tablet, and by a number whose it is: each is refused to who sees it not."""
    _, opened = contractors
    hidden = {
        "loss_desk": ({"imei": IMEI}, {"iccid": ICCID}),
        "repair_desk": ({"user_id": PUPIL}, {"year": 1}, {"class": "1"}),
    }
    for duty, filters in hidden.items():
        for each in filters:
            assert client.get("/api/v1/devices", params=each, headers=opened[duty]).status_code == 403, (duty, each)
    for duty, start, there in (
        ("loss_desk", PUPIL[:7], True),
        ("loss_desk", IMEI[:8], False),
        ("loss_desk", ICCID[:8], False),
        ("repair_desk", PUPIL[:7], False),
        ("repair_desk", IMEI[:8], True),
        ("repair_desk", "QUA", True),
    ):
        found = client.get("/api/v1/devices", params={"q": start}, headers=opened[duty]).json()["items"]
        assert bool(found) is there, (duty, start)


def test_what_is_changed_is_answered_with_the_same_eyes(client, contractors):
    """Setting a tablet's state tells no more of it than reading it does."""
    own, opened = contractors
    path = f"/api/v1/devices/{own.names['device_id']}"
    changed = client.patch(path, json={"state": "stock"}, headers=opened["operation"])
    assert (changed.status_code, changed.json()["holder"], changed.json()["imei"]) == (200, None, IMEI)
    assert client.get(f"{path}/holder-name", headers=opened["operation"]).status_code == 403
