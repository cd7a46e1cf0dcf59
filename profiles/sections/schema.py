"""The JSON Schema of policies as editors want it: no nulls, every merge rule written beside its field."""

import typing
from typing import Any, Final

from pydantic import BaseModel

from profiles.sections import Sections
from profiles.sections.merging import rule_of, strictness_of

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def published(document: type[BaseModel]) -> dict[str, Any]:
    """The schema of a document that holds the sections. `x-merge` says how a field of two layers becomes one."""
    schema: dict[str, Any] = _without_null(document.model_json_schema())
    for name, field in Sections.model_fields.items():
        section = section_model(field.annotation)
        written = schema["$defs"][section.__name__]["properties"]
        for key, part in section.model_fields.items():
            strictness = strictness_of(part)
            written[key]["x-merge"] = rule_of(part).value + (f", {strictness.meaning}" if strictness else "")
        schema["properties"][name].setdefault("description", schema["$defs"][section.__name__]["description"])
    return {"$schema": DIALECT, **schema}


def section_model(annotation: Any) -> type[BaseModel]:
    """The model of a section from the annotation of its field (`Store | None`)."""
    models: list[type[BaseModel]] = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
    (model,) = models
    return model


def _without_null(node: Any) -> Any:
    """Nothing is written as nothing in a policy file: a field that says nothing is left out."""
    if isinstance(node, list):
        return [_without_null(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _without_null(value) for key, value in node.items() if not (key == "default" and value is None)}
    choices = kept.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        rest = [choice for choice in choices if choice != {"type": "null"}]
        del kept["anyOf"]
        kept = (rest[0] if len(rest) == 1 else {"anyOf": rest}) | kept
    return kept
