"""What to do with one wish for one tablet, given what is already on its way. Pure: values in, values out."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from mdm.auth.rights import Safety
from mdm.commands.kinds import FACTS, Kind
from mdm.commands.models import CommandState
from mdm.devices.models import EnrollmentStatus
from mdm.errors import Conflict, MdmError


class Wish(StrEnum):
    """What an operator may ask for beyond the kinds."""

    LOCK = "lock"
    """Make the tablet useless to a finder: lost mode where it can be, else the lock screen."""


class NotEnrolled(Conflict):
    """The tablet is not enrolled, so nothing can reach it."""

    slug = "not-enrolled"


class NotSupervised(Conflict):
    """The kind works on supervised tablets only."""

    slug = "not-supervised"


class NotLost(Conflict):
    """The kind works in lost mode only."""

    slug = "not-in-lost-mode"


RECALLABLE = (CommandState.HELD, CommandState.QUEUED, CommandState.SENT, CommandState.NOT_NOW)
"""States in which the tablet certainly has not executed the command: it may be cancelled or superseded."""
_LATEST_WINS = (Kind.LOST_MODE_ON, Kind.LOCK_SCREEN)
"""A new text replaces the one that has not gone out yet."""


@dataclass(frozen=True, slots=True)
class Target:
    """The facts of a tablet that decide."""

    device_id: int
    serial: str
    control_number: str
    status: str
    epoch: int
    supervised: bool | None
    lost_mode: bool


@dataclass(frozen=True, slots=True)
class Live:
    """A command of that tablet that is not over."""

    id: UUID
    kind: str
    state: str
    dedupe_key: str


@dataclass(frozen=True, slots=True)
class Keep:
    """The same is on its way already."""

    command_id: UUID


@dataclass(frozen=True, slots=True)
class Place:
    """Put a new command in line; those in `supersedes` end."""

    kind: Kind
    dedupe_key: str
    supersedes: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Refuse:
    """It cannot be done, and why."""

    error: MdmError


def resolve(wish: Kind | Wish, target: Target) -> Kind:
    """Return the kind that fulfils a wish on this tablet. Lost mode needs supervision (reference Apple §1.12)."""
    if isinstance(wish, Kind):
        return wish
    return Kind.LOCK_SCREEN if target.supervised is False else Kind.LOST_MODE_ON


def protects(kind: Kind) -> str | None:
    """Say in a sentence what a lock protects and what not; None for kinds that lock nothing."""
    match kind:
        case Kind.LOST_MODE_ON:
            return (
                "Once the tablet reports it done, it shows only the message and opens for nobody until lost mode is"
                " turned off. Until then nothing is protected."
            )
        case Kind.LOCK_SCREEN:
            return (
                "Only turns the screen off and asks for the passcode. On a tablet without a passcode it protects"
                " nothing: whoever holds it can go on. Lost mode would need a supervised tablet."
            )
        case _:
            return None


def dedupe_key(kind: Kind, arguments: Mapping[str, Any]) -> str:
    """Return what makes two wishes for one tablet the same; sealed arguments and a wipe's do not count."""
    if not arguments or kind not in _LATEST_WINS:
        return kind.value
    canonical = json.dumps(arguments, sort_keys=True, separators=(",", ":")).encode()
    return f"{kind.value}:{hashlib.sha256(canonical).hexdigest()[:16]}"


def decide(kind: Kind, arguments: Mapping[str, Any], target: Target, live: Sequence[Live]) -> Keep | Place | Refuse:
    """Decide one wish. `live` holds the commands of the present epoch only, oldest first."""
    facts = FACTS[kind]
    if target.status != EnrollmentStatus.ACTIVE:
        return Refuse(NotEnrolled(f"the tablet is not enrolled ({target.status}); nothing can reach it"))
    if facts.supervised_only and target.supervised is False:
        return Refuse(NotSupervised(f"{kind.value} works on supervised tablets only; ask for lock or lock_screen"))
    if facts.needs_lost_mode and not _will_be_lost(target, live):
        return Refuse(NotLost(f"{kind.value} works only while lost mode is on or being turned on"))
    recallable = [each for each in live if each.state in RECALLABLE]
    opposing = [each for each in live if each.kind in facts.supersedes]
    # What opposes this and has been handed over may still be executed; this must then come after it.
    passed = [each for each in opposing if each not in recallable]
    key = dedupe_key(kind, arguments)
    if passed:
        key = f"{key}~{passed[-1].id.hex[-12:]}"
    same = next((each for each in live if each.dedupe_key == key), None)
    if same is not None:
        return Keep(same.id)
    replaced = [each for each in recallable if each in opposing or (kind in _LATEST_WINS and each.kind == kind)]
    return Place(kind, key, tuple(each.id for each in replaced))


def _will_be_lost(target: Target, live: Sequence[Live]) -> bool:
    """Say whether lost mode is what the tablet is in, or heading for, when its present commands are through."""
    switches = [each.kind for each in live if each.kind in (Kind.LOST_MODE_ON, Kind.LOST_MODE_OFF)]
    return switches[-1] == Kind.LOST_MODE_ON if switches else target.lost_mode


def needs_approval(kind: Kind) -> bool:
    """Say whether a second person must approve."""
    return FACTS[kind].safety is Safety.A
