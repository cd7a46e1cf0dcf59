"""The sum of all restrictions on a pretended iPad, as it reports them. No network, no state.

https://github.com/apple/device-management (mdm/commands/device.restrictions.list.yaml): switches and numbers have a
strictest value each, lists of what is allowed intersect, lists of what is blocked unite.
"""

import plistlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

_PAYLOAD = "com.apple.applicationaccess"
_INTERSECT = ("allowListed", "whitelisted", "autonomousSingleApp")
_SMALLEST = ("ratingApps", "ratingMovies", "ratingTVShows")


def total(profiles: Iterable[str], *, ignores: Sequence[str] = ()) -> dict[str, Any]:
    """Return GlobalRestrictions over profiles (XML; an empty text is one that was signed).

    Of the keys that the tablet ignores, switches stand where they stand without any profile; the others are left out.
    """
    said: dict[str, dict[str, dict[str, Any]]] = {}
    for profile in profiles:
        for key, value in _restricted(profile):
            if key not in ignores:
                _add(said, key, value)
            elif isinstance(value, bool):
                _add(said, key, not key.startswith("force"))
    return said


@lru_cache(maxsize=256)
def _restricted(profile: str) -> tuple[tuple[str, Any], ...]:
    if not profile:
        return ()
    payloads = plistlib.loads(profile.encode(), fmt=plistlib.FMT_XML)["PayloadContent"]
    return tuple(
        (key, value)
        for payload in payloads
        if payload["PayloadType"] == _PAYLOAD
        for key, value in payload.items()
        if not key.startswith("Payload")
    )


def _add(said: dict[str, dict[str, dict[str, Any]]], key: str, value: Any) -> None:
    match value:
        case bool():
            group = said.setdefault("restrictedBool", {})
            before = group.get(key, {}).get("value", value)
            group[key] = {"value": before or value if key.startswith("force") else before and value}
        case int():
            group = said.setdefault("restrictedValue", {})
            before = group.get(key, {}).get("value", value)
            group[key] = {"value": min(before, value) if key in _SMALLEST else max(before, value)}
        case list():
            narrows = key.startswith(_INTERSECT)
            group = said.setdefault("intersection" if narrows else "union", {})
            before = set(group.get(key, {}).get("values", value))
            group[key] = {"values": sorted(before & set(value) if narrows else before | set(value))}
