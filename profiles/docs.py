"""The pages of docs/policy that are made from the schema, the compilers' support tables, the presets and the catalogue.

`python -m profiles.docs` writes them; a test holds them to what the code says. It decides nothing.
"""

import json
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final

from annotated_types import Ge, Le, MaxLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mdm.platform import Platform
from profiles import catalogue, presets
from profiles.compilers import compiler
from profiles.policy import json_schema, pointer
from profiles.sections import Sections
from profiles.sections.merging import rule_of, strictness_of
from profiles.sections.schema import section_model

_MADE: Final = "<!-- Made by `python -m profiles.docs`; change the schema or the compilers instead. -->"
_TITLES: Final[Mapping[Platform, str]] = {Platform.APPLE: "iPadOS", Platform.ANDROID: "Android"}


def pages() -> dict[str, str]:
    """Every generated file under docs/policy: its path there and its text."""
    made = {
        "schema.json": json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n",
        "presets.md": _presets_page(),
        "services.md": _services_page(),
        "sections/README.md": _index_page(),
    }
    for name, field in Sections.model_fields.items():
        made[f"sections/{name}.md"] = _section_page(name, section_model(field.annotation))
    return made


def write(folder: Path) -> None:
    """Write all pages below a folder, which is docs/policy of the repository."""
    for name, text in pages().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _section_page(name: str, model: type[BaseModel]) -> str:
    lines = [_MADE, f"# `{name}`", "", _text(model.__doc__), ""]
    lines += _table("Field", "Value", "Layers", "Meaning")
    for key, field in model.model_fields.items():
        lines.append(_row(f"`{key}`", _values(field), _merging(field), field.description))
    for part in dict.fromkeys(_parts(model)):
        lines += ["", f"### {part.__name__}", "", _text(part.__doc__), "", *_table("Key", "Value", "", "Meaning")]
        for key, field in part.model_fields.items():
            needed = "needed" if field.is_required() else ""
            lines.append(_row(f"`{key}`", _values(field), needed, field.description))
    lines += ["", "## What each platform does", ""]
    lines += _table("Field", *_TITLES.values())
    support = {platform: compiler(platform).support() for platform in _TITLES}
    for key in model.model_fields:
        lines.append(_row(f"`{key}`", *(support[platform].get(pointer(name, key)) for platform in _TITLES)))
    return "\n".join(lines) + "\n"


def _index_page() -> str:
    lines = [
        _MADE,
        "# The sections of a policy",
        "",
        "A section or a field that is left out says nothing. Layers merge from wide to near: fleet, school, class,",
        "serial. *Strictest* means that the tighter value of any layer wins, *union* that entries add up, *replace*",
        "that the nearest layer decides alone. Editors complete policies with [schema.json](../schema.json).",
        "",
        *_table("Section", "What it is about", "Fields"),
    ]
    for name, field in Sections.model_fields.items():
        model = section_model(field.annotation)
        lines.append(_row(f"[`{name}`]({name}.md)", _text(model.__doc__), str(len(model.model_fields))))
    return "\n".join(lines) + "\n"


def _presets_page() -> str:
    lines = [
        _MADE,
        "# Presets",
        "",
        "`tabane policy preset show NAME` prints one; save it, change it, apply it.",
        "",
        *_table("Preset", "What for", "Sections"),
    ]
    for name in presets.names():
        policy = presets.load(name)
        said = [section for section in Sections.model_fields if getattr(policy, section) is not None]
        lines.append(_row(f"`{name}`", policy.description, ", ".join(f"`{section}`" for section in said)))
    lines += ["", "The baseline meets these requirements of the ward; the tests hold it to them:", ""]
    lines += _table("Requirement", "What it asks", "Sections that meet it")
    lines += [_row(code, asks, ", ".join(f"`{section}`" for section in sections)) for code, asks, sections in _WARD]
    return "\n".join(lines) + "\n"


_WARD: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("R-05", "the learning services stay open", ("apps", "web_filter")),
    ("R-14", "the system is kept up to date", ("updates",)),
    ("R-16", "software is checked for harm", ("store",)),
    ("R-20", "tablets stay managed and reachable when lost", ("accounts", "cellular", "passcode")),
    ("R-21", "a content filter that works everywhere", ("web_filter", "vpn_proxy")),
    ("R-22", "no social networks, no mail", ("sns_mail", "store")),
    ("R-23", "no other software, stores closed", ("apps", "store")),
    ("R-24", "no external storage", ("usb",)),
    ("R-65", "everything works off the school's network", ("cellular", "web_filter")),
)


def _services_page() -> str:
    lines = [
        _MADE,
        "# The catalogue of services",
        "",
        "What `sns_mail` denies by name, and what must stay open for lessons and management. Domains count with all",
        "below them. A name that no source was found for is left out. Nothing here was checked against a vendor's live",
        "service.",
    ]
    for service in catalogue.services().values():
        lines += ["", f"## {service.title}", "", f"`{service.name}` ({service.kind.value.replace('_', '-')})", ""]
        lines += [
            f"- {title}: {', '.join(f'`{entry}`' for entry in entries)}"
            for title, entries in (
                ("iPadOS", service.bundle_ids),
                ("Android", service.packages),
                ("Domains", service.domains),
            )
            if entries
        ]
        lines += [f"- Source: {source}" for source in service.sources]
        lines += [f"- Left out: {service.left_out}"] if service.left_out else []
    return "\n".join(lines) + "\n"


def _table(*titles: str) -> list[str]:
    return [_row(*titles), "|" + " --- |" * len(titles)]


def _row(*cells: str | None) -> str:
    return "| " + " | ".join(_text(cell).replace("|", "\\|") for cell in cells) + " |"


def _text(text: str | None) -> str:
    return " ".join((text or "").split())


def _merging(field: FieldInfo) -> str:
    strictness = strictness_of(field)
    return rule_of(field).value + (f" ({strictness.meaning})" if strictness else "")


def _values(field: FieldInfo) -> str:
    """The values a field takes, in words; the exact form is in the schema."""
    words = " or ".join(dict.fromkeys(_kind(field.annotation)))
    bounds = " ".join(_bound(mark) for mark in _marks(field.annotation, field.metadata) if isinstance(mark, _BOUNDS))
    return words + (f", {bounds}" if bounds else "")


_BOUNDS: Final = (Ge, Le, MaxLen)


def _bound(mark: Ge | Le | MaxLen) -> str:
    match mark:
        case Ge():
            return f"from {mark.ge}"
        case Le():
            return f"to {mark.le}"
        case MaxLen():
            return f"at most {mark.max_length}"


def _marks(kind: Any, marks: Iterable[Any]) -> Iterator[Any]:
    """The bounds of a value, also where only a kind inside `… | None` carries them."""
    for mark in marks:
        yield from getattr(mark, "metadata", None) or (mark,)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        yield from _marks(args[0], args[1:])
    elif origin in (typing.Union, types.UnionType):
        for arg in args:
            yield from _marks(arg, ())


def _kind(kind: Any) -> Iterator[str]:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        yield from (f"`{word.value}`" for word in kind)
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        yield f"[{kind.__name__}](#{kind.__name__.lower()})"
    elif isinstance(kind, type) and not args:
        yield _NAMES.get(kind.__name__, "text")
    elif origin is tuple:
        yield "list of " + " or ".join(_kind(args[0]))
    elif origin is dict:
        yield "mapping of names to values"
    elif origin is typing.Annotated:
        yield from _kind(args[0])
    else:
        for arg in args:
            if arg is not type(None):
                yield from _kind(arg)


_NAMES: Final = {
    "bool": "`true` or `false`",
    "int": "whole number",
    "Secret": "secret text, never shown",
    "AwareDatetime": "date and time with offset",
    "NaiveDatetime": "date and time of the tablet",
}


def _parts(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """The models inside a section, in the order in which a reader meets them."""
    for field in model.model_fields.values():
        for part in _models(field.annotation):
            yield part
            yield from _parts(part)


def _models(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for arg in typing.get_args(kind):
        yield from _models(arg)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "docs" / "policy")
