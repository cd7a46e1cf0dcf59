"""The published JSON Schema: what the reader takes it takes, and what it refuses the reader refuses too."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdm.errors import Invalid
from profiles import presets
from profiles.files import parse
from profiles.policy import Sections, json_schema, read
from profiles.sections.schema import section_model
from tests.profiles.documents import DOCUMENTS

SCHEMA = json_schema()
SAMPLES = Path(__file__).parents[2] / "docs" / "policy"
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
KNOWN = {
    *("$defs", "$ref", "$schema", "additionalProperties", "anyOf", "const", "default", "description", "enum", "items"),
    *("format", "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength", "minimum", "pattern"),
    *("properties", "required", "title", "type", "writeOnly", "x-merge"),
}


def fits(value, schema):
    """A small independent reader of the keywords that the schema uses."""
    assert set(schema) <= KNOWN, set(schema) - KNOWN
    if "$ref" in schema:
        return fits(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema and not any(fits(value, choice) for choice in schema["anyOf"]):
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    kind = TYPES.get(schema.get("type"), object)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        return False
    return _within(value, schema)


def _within(value, schema):
    if isinstance(value, dict):
        rest = schema.get("additionalProperties", True)
        known = schema.get("properties", {})
        return set(schema.get("required", ())) <= set(value) and all(
            fits(entry, known[key]) if key in known else rest and (rest is True or fits(entry, rest))
            for key, entry in value.items()
        )
    if isinstance(value, list):
        return schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)) and all(
            fits(entry, schema.get("items", {})) for entry in value
        )
    if isinstance(value, str):
        long_enough = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
        return long_enough and re.search(schema.get("pattern", ""), value) is not None
    return schema.get("minimum", value) <= value <= schema.get("maximum", value)


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS)
def test_whatever_the_reader_takes_fits_the_schema(document):
    """An editor never marks a right policy as wrong."""
    assert fits(document.body(secrets=str), SCHEMA)


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS, st.data())
def test_what_the_schema_refuses_the_reader_refuses(document, data):
    """An editor's mark and the reader's error agree on wrong keys and wrong kinds."""
    body = json.loads(json.dumps(document.body(secrets=str)))
    section = data.draw(st.sampled_from([name for name in Sections.model_fields if name in body]))
    wrong = data.draw(st.sampled_from([{"no_such_key": "deny"}, {next(iter(body[section])): {"a": object()}}]))
    body[section] |= wrong
    assert not fits(body, SCHEMA)
    with pytest.raises(Invalid):
        read(body)


@pytest.mark.parametrize("path", [*SAMPLES.glob("*.yaml")], ids=lambda path: path.name)
def test_the_samples_fit_the_schema(path):
    """What people copy is completed by their editor."""
    for document in parse(path.read_text(encoding="utf-8"))[0]:
        assert fits(document, SCHEMA)


@pytest.mark.parametrize("name", presets.names())
def test_the_presets_fit_the_schema(name):
    """The same for the presets."""
    for document in parse(presets.written(name))[0]:
        assert fits(document, SCHEMA)


@pytest.mark.parametrize(
    ("document", "good"),
    [
        ({"layer": "fleet"}, True),
        ({"layer": {"class": "0101/6/1"}}, True),
        ({"layer": "school"}, False),
        ({"layer": {"town": "x"}}, False),
        ({"version": 2}, False),
        ({"usb": {"host_pairing": "no"}}, False),
        ({"usb": None}, False),
        ({"passcode": {"minimum_length": 99}}, False),
    ],
)
def test_the_schema_tells_right_from_wrong(document, good):
    """It says something: wrong documents do not fit."""
    whole = {"version": 1, "name": "a", "layer": "fleet", "usb": {"host_pairing": "deny"}} | document
    assert fits(whole, SCHEMA) is good


def test_every_field_of_a_section_carries_its_merge_rule():
    """Whoever reads the schema sees what layers do to a field."""
    for field in Sections.model_fields.values():
        properties = SCHEMA["$defs"][section_model(field.annotation).__name__]["properties"]
        assert all(part["x-merge"].split(",")[0] in ("strictest", "union", "replace") for part in properties.values())


def test_no_part_of_the_schema_takes_unknown_keys_or_nothing():
    """A misspelt key is marked in the editor, and so is a value that was forgotten."""
    for part in SCHEMA["$defs"].values():
        assert part.get("type") != "object" or part["additionalProperties"] is False
    assert '"null"' not in json.dumps(SCHEMA)
