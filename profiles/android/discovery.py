"""Checks a policy against Google's own description of it, before anybody sends it; the API client checks no body.

The description is the discovery document of the Android Management API v1 that google-api-python-client ships
(https://developers.google.com/android/management/reference/rest/v1/enterprises.policies). Pure, no network: it
only says what is wrong. What the description says in prose alone is in `rules`.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from profiles.policy import pointer

_DOCUMENT: Final = "discovery_cache/documents/androidmanagement.v1.json"
_DURATION: Final = re.compile(r"\d{1,12}(?:\.\d{1,9})?s")
_DECIMAL: Final = re.compile(r"-?\d{1,19}")
_NEEDED: Final = "Required."
_READ_ONLY: Final = "read-only"

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that Google would refuse or ignore: where it stands in the policy, and why."""

    pointer: str
    detail: str


@cache
def schemas() -> Mapping[str, Schema]:
    """Every schema of the API by its name."""
    document = json.loads(files("googleapiclient").joinpath(_DOCUMENT).read_bytes())
    found: Mapping[str, Schema] = document["schemas"]
    return found


def faults(policy: object, *, schema: str = "Policy") -> list[Fault]:
    """Say everything in a JSON value that the schema does not hold: an empty list means that it fits.

    Unknown, deprecated and read-only fields, wrong types and forms, unknown, deprecated and unspecified enum values,
    and missing fields that the description calls required.
    """
    return list(_object(policy, schemas()[schema], ()))


def _object(value: object, schema: Schema, at: tuple[str | int, ...]) -> Iterator[Fault]:
    if not isinstance(value, Mapping):
        yield Fault(pointer(*at), "must be an object")
        return
    known = schema["properties"]
    for name, inner in value.items():
        here = (*at, name)
        if (field := known.get(name)) is None:
            yield Fault(pointer(*here), f"no such field in {schema['id']}")
        elif field.get("deprecated"):
            yield Fault(pointer(*here), "this field is deprecated")
        elif field.get("readOnly") or _READ_ONLY in field.get("description", ""):
            yield Fault(pointer(*here), "Google sets this field")
        else:
            yield from _value(inner, field, here)
    for name, field in known.items():
        if field.get("description", "").startswith(_NEEDED) and name not in value:
            yield Fault(pointer(*at, name), "this field is needed")


def _value(value: object, field: Schema, at: tuple[str | int, ...]) -> Iterator[Fault]:
    if (name := field.get("$ref")) is not None:
        referred = schemas()[name]
        if referred.get("deprecated"):
            yield Fault(pointer(*at), f"{name} is deprecated")
        yield from _object(value, referred, at)
    elif field["type"] == "array":
        yield from _array(value, field["items"], at)
    elif field["type"] == "object":
        yield from _map(value, field["additionalProperties"], at)
    elif field["type"] != "any":
        if wrong := _FORMS[field["type"], field.get("format")](value):
            yield Fault(pointer(*at), wrong)
        elif (allowed := field.get("enum")) is not None:
            yield from _enum(value, allowed, field.get("enumDeprecated") or [False] * len(allowed), at)


def _array(value: object, items: Schema, at: tuple[str | int, ...]) -> Iterator[Fault]:
    if not isinstance(value, list):
        yield Fault(pointer(*at), "must be an array")
        return
    for place, inner in enumerate(value):
        yield from _value(inner, items, (*at, place))


def _map(value: object, items: Schema, at: tuple[str | int, ...]) -> Iterator[Fault]:
    if not isinstance(value, Mapping):
        yield Fault(pointer(*at), "must be an object")
        return
    for name, inner in value.items():
        yield from _value(inner, items, (*at, name))


def _enum(value: object, allowed: list[str], deprecated: list[bool], at: tuple[str | int, ...]) -> Iterator[Fault]:
    if value not in allowed:
        yield Fault(pointer(*at), f"must be one of {', '.join(allowed)}")
    elif deprecated[allowed.index(str(value))]:
        yield Fault(pointer(*at), f"{value} is deprecated")
    elif str(value).endswith("_UNSPECIFIED"):
        yield Fault(pointer(*at), f"{value} says nothing; leave the field out")


def _text(value: object) -> str:
    return "" if isinstance(value, str) else "must be text"


def _duration(value: object) -> str:
    return "" if isinstance(value, str) and _DURATION.fullmatch(value) else 'must be a duration such as "600s"'


def _int64(value: object) -> str:
    # JSON numbers cannot hold 64 bits, so the API writes them as text.
    return "" if isinstance(value, str) and _DECIMAL.fullmatch(value) else "must be a whole number written as text"


def _bytes(value: object) -> str:
    try:
        base64.b64decode(value if isinstance(value, str) else "!", validate=True)
    except (binascii.Error, ValueError):
        return "must be base64"
    return ""


def _int32(value: object) -> str:
    fits = isinstance(value, int) and not isinstance(value, bool) and -(2**31) <= value < 2**31
    return "" if fits else "must be a whole number of 32 bits"


def _boolean(value: object) -> str:
    return "" if isinstance(value, bool) else "must be true or false"


_FORMS: Final[Mapping[tuple[str, str | None], Callable[[object], str]]] = {
    ("string", None): _text,
    ("string", "google-duration"): _duration,
    ("string", "int64"): _int64,
    ("string", "byte"): _bytes,
    ("integer", "int32"): _int32,
    ("boolean", None): _boolean,
}
"""The forms of plain values that a policy has; a newer description with another fails loudly by its KeyError."""
