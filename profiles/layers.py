"""The merge of layers: fleet < school < class < tablet become one effective policy, and each field says who decided it.

Pure; the rule of each field is in the schema (`policy.MergeRule`), and a field without one cannot be merged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from mdm.errors import Invalid
from profiles.policy import MAX_ENTRIES, AppRef, Layer, LayerKind, MergeRule, Permission, Sections, pointer

_Part = TypeVar("_Part", bound=BaseModel)
_RANK = {kind: rank for rank, kind in enumerate(LayerKind)}
_STRICTNESS: Mapping[object, int] = {Permission.ALLOW: 0, Permission.DENY: 1, False: 0, True: 1}


@dataclass(frozen=True, slots=True)
class Said:
    """What one released policy says: its name, its layer and its sections."""

    name: str
    layer: Layer
    sections: Sections


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


def effective(said: Sequence[Said]) -> Effective:
    """Merge a tablet's whole chain, in any order given: layers sort by width, policies of one layer by name."""
    sections = Sections()
    decided: dict[str, tuple[str, ...]] = {}
    for policy in in_order(said):
        before, sections = sections, merge(sections, policy.sections)
        for place, rule, spoken in _spoken(policy.sections):
            key, was, now = pointer(*place), _at(before, place), _at(sections, place)
            joins = rule is MergeRule.UNION or (rule is MergeRule.STRICTEST and was == spoken)
            overruled = rule is MergeRule.STRICTEST and spoken != now
            if was is None or not (joins or overruled):
                decided[key] = (policy.name,)
            elif joins:
                decided[key] = (*decided[key], policy.name)
    return Effective(sections, dict(sorted(decided.items())))


def in_order(said: Sequence[Said]) -> list[Said]:
    """The order of merging: widest layer first, equal layers by name."""
    return sorted(said, key=lambda policy: (_RANK[policy.layer.kind], policy.name))


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


def rule_of(field: FieldInfo) -> MergeRule:
    """The merge rule that the schema gives a field."""
    return next(mark for mark in field.metadata if isinstance(mark, MergeRule))


def _merged(wide: _Part | None, near: _Part | None) -> _Part | None:
    if wide is None or near is None:
        return near if wide is None else wide
    fields = type(wide).model_fields
    values = {
        name: _by_rule(rule_of(field), getattr(wide, name), getattr(near, name)) for name, field in fields.items()
    }
    # Not validated again: a union may exceed the length one document may have (see check_sizes).
    return type(wide).model_construct(**values)


def _by_rule(rule: MergeRule, wide: Any, near: Any) -> Any:
    if wide is None or near is None:
        return near if wide is None else wide
    match rule:
        case MergeRule.STRICTEST:
            return max(wide, near, key=_STRICTNESS.__getitem__)
        case MergeRule.UNION:
            return _union(wide, near)
        case MergeRule.REPLACE:
            return near


def _union(wide: tuple[Any, ...], near: tuple[Any, ...]) -> tuple[Any, ...]:
    if not all(isinstance(entry, AppRef) for entry in (*wide, *near)):
        return tuple(sorted({*wide, *near}))
    apps: dict[str, AppRef] = {app.bundle_id: app for app in wide}
    for app in near:
        if app.label is not None or app.bundle_id not in apps:
            apps[app.bundle_id] = app
    return tuple(apps[key] for key in sorted(apps))


def _spoken(sections: Sections) -> list[tuple[tuple[str, str], MergeRule, object]]:
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
