"""Payloads and the profiles around them, as bytes that change when, and only when, their content does.

Envelope: https://github.com/apple/device-management (mdm/profiles/TopLevel.yaml, CommonPayloadKeys.yaml). A changed
PayloadUUID under the same identifier makes a tablet install the profile again. It knows no policy.
"""

import plistlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid5

from profiles.compiled import Artifact

PREFIX: Final = "tabane.policy"
_NAMESPACE: Final = UUID("6f1d7f1a-3c56-5d0e-9d6b-0b6a4f7c2b11")
"""Fixed for ever: every PayloadUUID of every policy derives from it."""
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def payload(profile_name: str, kind: str, content: Mapping[str, Any], *, part: str = "payload") -> dict[str, Any]:
    """One payload of the profile `profile_name`; `part` tells several of one profile apart."""
    made = {
        "PayloadIdentifier": f"{_identifier(profile_name)}.{part}",
        "PayloadType": kind,
        "PayloadVersion": 1,
        **content,
    }
    made["PayloadUUID"] = _uuid(made)
    return made


def profile(name: str, payloads: Sequence[Mapping[str, Any]], *, ends_at: datetime | None = None) -> Artifact:
    """The configuration profile of that name; at `ends_at` the tablet takes it off by itself, reachable or not."""
    identifier = _identifier(name)
    made: dict[str, Any] = {
        "PayloadContent": list(payloads),
        "PayloadDisplayName": f"Tabane: {name.replace('-', ' ')}",
        "PayloadIdentifier": identifier,
        "PayloadRemovalDisallowed": True,
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
    }
    if ends_at is not None:
        # A plist's date is UTC without a zone.
        made["RemovalDate"] = ends_at.astimezone(UTC).replace(tzinfo=None, microsecond=0)
    made["PayloadUUID"] = _uuid(made)
    return Artifact(identifier, _written(made))


def one(name: str, kind: str, content: Mapping[str, Any]) -> list[Artifact]:
    """A profile with a single payload; no profile when the content is empty."""
    return [profile(name, [payload(name, kind, content)])] if content else []


def _identifier(name: str) -> str:
    return f"{PREFIX}.{name}"


def _uuid(content: Mapping[str, Any]) -> str:
    """A name-based UUID over the content itself: it changes when, and only when, the content does."""
    return str(uuid5(_NAMESPACE, _written(content).hex())).upper()


def _written(content: Mapping[str, Any]) -> bytes:
    try:
        return plistlib.dumps(dict(content), fmt=plistlib.FMT_XML, sort_keys=True)
    except ValueError:  # a control character; looking for one in every text of every policy would cost more
        return plistlib.dumps(_printable(content), fmt=plistlib.FMT_XML, sort_keys=True)


def _printable(value: Any) -> Any:
    """Drop the control characters that XML 1.0 cannot write; one in a Wi-Fi name would stop a whole rollout."""
    match value:
        case str():
            return _CONTROL.sub("", value)
        case Mapping():
            return {_printable(key): _printable(member) for key, member in value.items()}
        case list():
            return [_printable(member) for member in value]
        case _:
            return value
