"""The merge of layers: fleet < school < class < tablet become one effective policy, and each field says who decided it.

Pure; the rule of each field is in the schema (`sections.MergeRule`), and a field without one cannot be merged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel

from mdm.errors import Invalid
from profiles.policy import Layer, LayerKind, pointer
from profiles.sections import MAX_ENTRIES, MergeRule, Sections, joined, rule_of
from profiles.sections.merging import key_of

_Part = TypeVar("_Part", bound=BaseModel)
_RANK = {kind: rank for rank, kind in enumerate(LayerKind)}


@dataclass(frozen=True, slots=True)
class Said:
    """What one released policy says: its name, its layer and its sections."""

    name: str
    layer: Layer
    sections: Sections


@dataclass(frozen=True, slots=True)
class Excepted:
    """An exception in force: leave for one place to differ from its own policy and from wider ones, not from nearer."""

    name: str
    layer: Layer
    replacing: Sections
    """Each field that it holds takes the place of the merged value, looser or not."""
    without: Sections
    """Entries that are taken out of merged lists."""


@dataclass(frozen=True, slots=True)
class Effective:
    """The merged sections, and for each field that is present the names of the policies that decided it."""

    sections: Sections
    decided_by: Mapping[str, tuple[str, ...]]


def merge(wide: Sections, near: Sections) -> Sections:
    """Merge two layers' sections, the nearer to the tablet second. Associative and idempotent."""
    return Sections.model_validate(
        {name: _merged(getattr(wide, name), getattr(near, name)) for name in Sections.model_fields}
    )


def effective(said: Sequence[Said | Excepted]) -> Effective:
    """Merge a tablet's whole chain, in any order given: layers sort by width, then policies and exceptions by name."""
    sections = Sections()
    decided: dict[str, tuple[str, ...]] = {}
    for voice in in_order(said):
        if isinstance(voice, Excepted):
            sections = _except(sections, voice, decided)
            continue
        before, sections = sections, merge(sections, voice.sections)
        for place, rule, spoken in _spoken(voice.sections):
            key, was, now = pointer(*place), _at(before, place), _at(sections, place)
            joins = rule is MergeRule.UNION or (rule is MergeRule.STRICTEST and was == spoken)
            overruled = rule is MergeRule.STRICTEST and spoken != now
            if was is None or not (joins or overruled):
                decided[key] = (voice.name,)
            elif joins:
                decided[key] = (*decided.get(key, ()), voice.name)
    return Effective(sections, dict(sorted(decided.items())))


def in_order(said: Sequence[Said | Excepted]) -> list[Said | Excepted]:
    """The order of merging: widest layer first; in one layer policies by name, then exceptions by name."""
    return sorted(said, key=lambda voice: (_RANK[voice.layer.kind], isinstance(voice, Excepted), voice.name))


def fields_of(sections: Sections) -> dict[str, tuple[MergeRule, Any]]:
    """Each field that these sections say something about, by its pointer: its rule and its value."""
    return {pointer(*place): (rule, value) for place, rule, value in _spoken(sections)}


def check_sizes(sections: Sections) -> None:
    """Refuse what only the union of layers makes too long; raises Invalid naming the field."""
    web = sections.web_filter
    lists = {} if web is None else {"deny_list": web.deny_list, "allow_list": web.allow_list}
    errors = [
        {"pointer": f"/web_filter/{name}", "detail": f"{len(entries)} entries after merging; {MAX_ENTRIES} is the most"}
        for name, entries in lists.items()
        if entries is not None and len(entries) > MAX_ENTRIES
    ]
    if errors:
        raise Invalid("the layers together have too many entries", errors=errors)


def _except(sections: Sections, leave: Excepted, decided: dict[str, tuple[str, ...]]) -> Sections:
    """Put an exception over what wider layers and its own say; nearer layers are merged later and may tighten again."""
    for place, _, value in _spoken(leave.replacing):
        part = getattr(sections, place[0]) or type(getattr(leave.replacing, place[0]))()
        sections = _with(sections, part, place, value)
        decided[pointer(*place)] = (leave.name,)
    for place, _, value in _spoken(leave.without):
        listed, key = _at(sections, place), pointer(*place)
        if not isinstance(listed, tuple):
            continue
        gone = {key_of(entry) for entry in value}
        left = tuple(entry for entry in listed if key_of(entry) not in gone)
        if left != listed:
            sections = _with(sections, getattr(sections, place[0]), place, left or None)
            decided[key] = (*decided.get(key, ()), leave.name)
        if not left:
            decided.pop(key, None)
    return sections


def _with(sections: Sections, part: BaseModel, place: tuple[str, str], value: object) -> Sections:
    return sections.model_copy(update={place[0]: part.model_copy(update={place[1]: value})})


def _merged(wide: _Part | None, near: _Part | None) -> _Part | None:
    if wide is None or near is None:
        return near if wide is None else wide
    fields = type(wide).model_fields
    values = {name: joined(field, getattr(wide, name), getattr(near, name)) for name, field in fields.items()}
    # Not validated again: a union may exceed the length one document may have (see check_sizes).
    return type(wide).model_construct(**values)


def _spoken(sections: Sections) -> list[tuple[tuple[str, str], MergeRule, Any]]:
    """Each field that these sections say something about: its place, its rule and its value."""
    return [
        ((section, name), rule_of(field), value)
        for section in Sections.model_fields
        if (part := getattr(sections, section)) is not None
        for name, field in type(part).model_fields.items()
        if (value := getattr(part, name)) is not None
    ]


def _at(sections: Sections, place: tuple[str, str]) -> object:
    part = getattr(sections, place[0])
    return None if part is None else getattr(part, place[1])
