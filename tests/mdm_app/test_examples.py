"""The examples of the OpenAPI document against the models that would read and write them."""

from collections import Counter
from typing import Any

import pytest
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from mdm.app import OPERATOR_ROUTERS, operator_app


@pytest.fixture
def document(database: str) -> dict[str, Any]:
    return operator_app().openapi()


def _schema_of(content: dict[str, Any], document: dict[str, Any]) -> dict[str, Any] | None:
    schema = content.get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rsplit("/", 1)[-1]
    return document["components"]["schemas"].get(name)


def test_every_json_body_has_an_example(document: dict[str, Any]) -> None:
    """Whoever reads the document sees what to send and what comes back."""
    lacking = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            bodies = [operation.get("requestBody", {}).get("content", {})]
            bodies += [each.get("content", {}) for status, each in operation["responses"].items() if status < "300"]
            schemas = [schema for body in bodies if (schema := _schema_of(body, document)) is not None]
            lacking += [(method, path) for schema in schemas if "properties" in schema and not schema.get("examples")]
    assert lacking == []
    assert document["openapi"].startswith("3.1")


def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    """Generated clients need one name per operation, in one style."""
    names = [each["operationId"] for operations in document["paths"].values() for each in operations.values()]
    assert [name for name, times in Counter(names).items() if times > 1] == []
    assert [name for name in names if not name.isalnum() or name[0].isupper()] == []


def test_examples_are_what_the_api_says(database: str) -> None:
    """An example of an answer is read by the model that makes such answers."""
    app = operator_app()
    document = app.openapi()
    checked = 0
    for route in (route for router in OPERATOR_ROUTERS for route in router.routes if isinstance(route, APIRoute)):
        answers = document["paths"][route.path][next(iter(route.methods)).lower()]["responses"]
        schema = _schema_of(answers.get(str(route.status_code or 200), {}).get("content", {}), document)
        if schema is None or route.response_model is None:
            continue
        TypeAdapter(route.response_model).validate_python(schema["examples"][0])
        checked += 1
    assert checked > 25
