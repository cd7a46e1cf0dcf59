"""Compares what an iPad says it holds and enforces with the profiles that it should hold. Pure: values in, values out.

Schema: Apple's device-management repository, mdm/commands/profile.list.yaml and device.restrictions.list.yaml. Profiles
are told apart by PayloadIdentifier and PayloadUUID; a restriction counts as enforced when the tablet is at least as
strict as was wanted, because other profiles may make it stricter.
"""

import plistlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from xml.parsers.expat import ExpatError

RESTRICTIONS: Final = "com.apple.applicationaccess"
_FRAME: Final = "Payload"
"""Keys that begin so describe a payload; the others are its content."""
_OLD_NAMES: Final[Mapping[str, str]] = {
    "allowListedAppBundleIDs": "whitelistedAppBundleIDs",
    "blockedAppBundleIDs": "blacklistedAppBundleIDs",
}
"""Names before iOS 15 (com.apple.applicationaccess): a tablet may still answer with them."""
_LOWER_IS_STRICTER: Final = frozenset(("ratingApps", "ratingMovies", "ratingTVShows"))


class What(StrEnum):
    """What was found."""

    MISSING = "missing"
    """The tablet does not hold the profile."""
    OTHER = "other"
    """It holds another version under the same identifier."""
    LOOSENED = "loosened"
    """It holds the profile and does not enforce the restriction."""
    UNREPORTED = "unreported"
    """It says nothing about the restriction."""
    REFUSED = "refused"
    """It would not answer the question that would have shown it."""


UNPROVED: Final = frozenset((What.UNREPORTED, What.REFUSED))
"""Not known to be wrong; everything else is drift."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it was wanted, or not proved; `key` names a restriction, None is the whole profile."""

    identifier: str
    key: str | None
    what: What


@dataclass(frozen=True, slots=True)
class Wanted:
    """What can be seen from outside of a set of profiles."""

    uuids: Mapping[str, str]
    """PayloadUUID by PayloadIdentifier."""
    restrictions: Mapping[str, Mapping[str, bool | int | frozenset[str]]]
    """By PayloadIdentifier: what is restricted, by key. What is merely allowed is not in it: it proves nothing."""


def wanted(bodies: Sequence[bytes]) -> Wanted:
    """Read profiles (XML property lists of this house) as they are handed to tablets; ValueError for anything else."""
    uuids: dict[str, str] = {}
    restrictions: dict[str, dict[str, bool | int | frozenset[str]]] = {}
    for body in bodies:
        try:
            profile = plistlib.loads(body, fmt=plistlib.FMT_XML)
            identifier = profile["PayloadIdentifier"]
            uuids[identifier] = profile["PayloadUUID"]
            found = restrictions.setdefault(identifier, {})
            for payload in profile["PayloadContent"]:
                if payload["PayloadType"] == RESTRICTIONS:
                    found.update(_restricted(payload))
        except (ExpatError, plistlib.InvalidFileException, ValueError, KeyError, TypeError):
            raise ValueError("this is not a profile") from None
    return Wanted(uuids, restrictions)


def _restricted(payload: Mapping[str, Any]) -> Iterator[tuple[str, bool | int | frozenset[str]]]:
    """Yield what restricts: texts such as a rating's region are no restriction by themselves and are not reported."""
    for key, value in payload.items():
        if key.startswith(_FRAME):
            continue
        match value:
            case bool():
                if value is not _permissive(key):
                    yield key, value
            case int():
                yield key, value
            case list():
                yield key, frozenset(map(str, value))


def _permissive(key: str) -> bool:
    """Return the value of a switch that restricts nothing: `force…` is off, anything else on."""
    return not key.startswith("force")


def compare(
    wanted: Wanted, *, profiles: Sequence[Any] | None, restrictions: Mapping[str, Any] | None
) -> tuple[Difference, ...]:
    """Return how a tablet differs from what was wanted, by identifier and key; nothing means that all is proved.

    `profiles` are the items of its ProfileList, `restrictions` its GlobalRestrictions, both as JSON; None where it
    refused to say. Whatever in them is not as the schema says counts as not said.
    """
    if profiles is None:
        found = [Difference(identifier, None, What.REFUSED) for identifier in wanted.uuids]
    else:
        found = list(_profiles(wanted, profiles))
    lost = {difference.identifier for difference in found if difference.what is not What.REFUSED}
    for identifier, keys in wanted.restrictions.items():
        if identifier in lost:
            continue  # a profile that is not there explains its restrictions
        for key, value in keys.items():
            what = What.REFUSED if restrictions is None else _restriction(key, value, restrictions)
            if what is not None:
                found.append(Difference(identifier, key, what))
    return tuple(sorted(found, key=lambda each: (each.identifier, each.key or "")))


def _profiles(wanted: Wanted, profiles: Sequence[Any]) -> Iterator[Difference]:
    held = {
        item.get("PayloadIdentifier"): str(item.get("PayloadUUID", "")).upper()
        for item in profiles
        if isinstance(item, dict) and isinstance(item.get("PayloadIdentifier"), str)
    }
    for identifier, uuid in wanted.uuids.items():
        if identifier not in held:
            yield Difference(identifier, None, What.MISSING)
        elif held[identifier] != uuid.upper():
            yield Difference(identifier, None, What.OTHER)


def _restriction(key: str, value: bool | int | frozenset[str], said: Mapping[str, Any]) -> What | None:
    """Return what is wrong with one restriction; None when the tablet is at least as strict."""
    enforced: bool | None
    match value:
        case bool():
            told = _told(said, "restrictedBool", key, "value")
            enforced = told is value if isinstance(told, bool) else None
        case int():
            told = _told(said, "restrictedValue", key, "value")
            enforced = None
            if isinstance(told, int) and not isinstance(told, bool):
                enforced = told <= value if key in _LOWER_IS_STRICTER else told >= value
        case frozenset():
            enforced = _list_enforced(key, value, said)
    if enforced is None:
        return What.UNREPORTED
    return None if enforced else What.LOOSENED


def _list_enforced(key: str, value: frozenset[str], said: Mapping[str, Any]) -> bool | None:
    for name in filter(None, (key, _OLD_NAMES.get(key))):
        if isinstance(only := _told(said, "intersection", name, "values"), list):
            return value.issuperset(map(str, only))  # lists that intersect can only get shorter
        if isinstance(every := _told(said, "union", name, "values"), list):
            return value.issubset(map(str, every))
    return None


def _told(said: Mapping[str, Any], group: str, key: str, part: str) -> Any:
    """Return one value of GlobalRestrictions, None where there is none."""
    of_group = said.get(group)
    entry = of_group.get(key) if isinstance(of_group, dict) else None
    return entry.get(part) if isinstance(entry, dict) else None
