"""Answers of carriers' interfaces into typed values; what does not read as documented is `Unclear`. Knows no carrier.

Errors name the field and never its value: the values are numbers of lines.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import httpx2
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from mdm.cellular.carriers.values import Denied, Unclear

T = TypeVar("T")


class Wire(BaseModel):
    """A part of an answer whose names are written likeThis; what else is in it is passed over."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)


def read(shape: TypeAdapter[T], answer: httpx2.Response) -> T:
    """Return an answer's JSON in its shape."""
    try:
        return shape.validate_json(answer.content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join("*" if isinstance(part, int) or str(part).isdigit() else str(part) for part in first["loc"])
        raise Unclear(f"an answer that does not read as documented ({place or 'all of it'}: {first['type']})") from None


def secret(kept: Mapping[str, str], *names: str) -> tuple[str, ...]:
    """Return these parts of an account's secret; `Denied` where one is missing: nobody could sign in with it."""
    missing = [name for name in names if not kept.get(name)]
    if missing:
        raise Denied(f"the account's secret lacks {', '.join(missing)}")
    return tuple(kept[name] for name in names)


def option(kept: Mapping[str, Any], name: str) -> str:
    """Return one of an account's options, or an empty string."""
    value = kept.get(name)
    return value if isinstance(value, str) else ""


def options(kept: Mapping[str, Any], name: str) -> list[str]:
    """Return an option that names several things: a list, or parted by commas as the command line gives it."""
    value = kept.get(name)
    if isinstance(value, list):
        return [str(each) for each in value]
    return [part for part in (each.strip() for each in option(kept, name).split(",")) if part]


def from_ms(value: int | None) -> datetime | None:
    """Read milliseconds since 1970; None and 0 are none."""
    try:
        return datetime.fromtimestamp(value / 1000, UTC) if value else None
    except (OverflowError, ValueError, OSError):
        raise Unclear("an answer with an impossible instant") from None
