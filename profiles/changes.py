"""What differs between two states of a policy document, field by field. Pure; for people to read before they agree."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from profiles.policy import Sections, pointer


@dataclass(frozen=True, slots=True)
class Change:
    """One field: its old and new value, or for a list what came and went. None is silence."""

    pointer: str
    before: Any = None
    after: Any = None
    added: list[Any] = field(default_factory=list)
    removed: list[Any] = field(default_factory=list)


def changes(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> list[Change]:
    """Compare two bodies (see `PolicyDocument.body`); None before means everything is new."""
    old, new = _fields(before or {}), _fields(after)
    found = []
    for place in sorted(old.keys() | new.keys()):
        was, now = old.get(place), new.get(place)
        if was == now:
            continue
        if isinstance(was, list | None) and isinstance(now, list | None):
            added = [entry for entry in now or [] if entry not in (was or [])]
            removed = [entry for entry in was or [] if entry not in (now or [])]
            if added or removed:
                found.append(Change(place, added=added, removed=removed))
                continue
        found.append(Change(place, before=was, after=now))
    return found


def _fields(body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        pointer(section, name): value
        for section in Sections.model_fields
        for name, value in (body.get(section) or {}).items()
    }
