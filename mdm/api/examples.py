"""Examples for the OpenAPI document, built from its own schemas, so that they cannot say what the API does not."""

from typing import Any, Final

_BY_NAME: Final[dict[str, Any]] = {
    "address": "http://127.0.0.1:8001",
    "bundle_id": "com.apple.Preferences",
    "code": "E001",
    "control_number": "T000001",
    "device_id": 42,
    "iccid": "8981100000000000005",
    "imei": "350000000000006",
    "label": "nightly export",
    "lease_contract": "L2026-01",
    "model": "iPad (10th generation)",
    "name": "district",
    "os_version": "18.1",
    "password": "a long enough password",
    "pointer": "/web_filter/deny_list/0",
    "policy": "district",
    "reason": "the pupil reported it lost",
    "school": "E001",
    "school_code": "E001",
    "serial": "ZZ3TQ00001",
    "target": "fleet",
    "user_id": "p-e001-0001",
}
"""Invented values for names that stand for the same thing everywhere; used where they fit the schema's type."""

_BY_FORMAT: Final = {
    "date-time": "2026-04-01T00:30:00Z",
    "date": "2026-04-01",
    "uuid": "01a20848-9503-7e6a-9f3b-4714ed1f91eb",
    "binary": "",
}
_TYPES: Final[dict[str, type]] = {"string": str, "integer": int, "boolean": bool}
_DEEPEST: Final = 8


def add_examples(document: dict[str, Any]) -> None:
    """Give every object schema of the document an example, in place; fields that have their own examples keep them."""
    schemas: dict[str, Any] = document.get("components", {}).get("schemas", {})
    built = {name: _example(schema, schemas, "") for name, schema in schemas.items() if "properties" in schema}
    for name, example in built.items():
        schemas[name].setdefault("examples", [example])


def _example(schema: dict[str, Any], schemas: dict[str, Any], name: str, depth: int = 0) -> Any:
    if "$ref" in schema:
        return _example(schemas[schema["$ref"].rsplit("/", 1)[-1]], schemas, name, depth)
    given = schema.get("examples") or schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    if given:
        return given[0]
    choices = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if choices:
        return _example({**choices[0], "default": schema.get("default")}, schemas, name, depth)
    if "properties" in schema or schema.get("type") == "object":
        return _object(schema, schemas, depth)
    if schema.get("type") == "array":
        return [_example(schema.get("items", {}), schemas, name, depth + 1)] if depth < _DEEPEST else []
    return _scalar(schema, name)


def _object(schema: dict[str, Any], schemas: dict[str, Any], depth: int) -> dict[str, Any]:
    if depth >= _DEEPEST:
        return {}
    return {
        name: _example(field, schemas, name, depth + 1)
        for name, field in schema.get("properties", {}).items()
        if depth < 2 or name in schema.get("required", ())
    }


def _scalar(schema: dict[str, Any], name: str) -> Any:
    kind = str(schema.get("type", "string"))
    fitting = name in _BY_NAME and isinstance(_BY_NAME[name], _TYPES.get(kind, object))
    if schema.get("format") in _BY_FORMAT:
        return _BY_FORMAT[schema["format"]]
    if fitting:
        return _BY_NAME[name]
    if schema.get("default") is not None:
        return schema["default"]
    lowest = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
    plain = {"boolean": True, "integer": lowest, "number": lowest, "null": None}
    return plain.get(kind, name.replace("_", " ") or "text")
