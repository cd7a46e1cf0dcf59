"""What differs between two states of a policy document, field by field. Pure; for people to read before they agree."""

from dataclasses import dataclass, field
from typing import Any

from profiles.policy import PolicyDocument, pointer
from profiles.sections import Sections


@dataclass(frozen=True, slots=True)
class Change:
    """One field: its old and new value, or for a list what came and went. None is silence."""

    pointer: str
    before: Any = None
    after: Any = None
    added: list[Any] = field(default_factory=list)
    removed: list[Any] = field(default_factory=list)


def changes(before: PolicyDocument | None, after: PolicyDocument) -> list[Change]:
    """Compare two documents; None before means everything is new. Secrets are compared, and shown as dots."""
    old, new = _fields(before), _fields(after)
    found = []
    for place in sorted(old.keys() | new.keys()):
        (was, old_shown), (now, new_shown) = old.get(place, _SILENCE), new.get(place, _SILENCE)
        if was == now:
            continue
        if isinstance(old_shown, list | None) and isinstance(new_shown, list | None):
            added = [entry for entry in new_shown or [] if entry not in (old_shown or [])]
            removed = [entry for entry in old_shown or [] if entry not in (new_shown or [])]
            if added or removed:
                found.append(Change(place, added=added, removed=removed))
                continue
        found.append(Change(place, before=old_shown, after=new_shown))
    return found


_SILENCE = (None, None)


def _fields(document: PolicyDocument | None) -> dict[str, tuple[Any, Any]]:
    """Each field that a document speaks about, by its pointer: its value, and what people may see of it."""
    if document is None:
        return {}
    shown = document.body()
    return {
        pointer(section, name): (getattr(getattr(document, section), name), value)
        for section in Sections.model_fields
        for name, value in (shown.get(section) or {}).items()
    }
