"""What can be asked of a tablet once. A kind declares its facts; transports encode it; an unknown kind is class A."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from mdm.auth.rights import Action, Safety
from mdm.devices.models import Lane


class Kind(StrEnum):
    """The command kinds."""

    LOST_MODE_ON = "lost_mode_on"
    LOST_MODE_OFF = "lost_mode_off"
    LOCK_SCREEN = "lock_screen"
    LOCATE = "locate"
    PLAY_SOUND = "play_sound"
    WIPE = "wipe"
    RESTART = "restart"
    INVENTORY_DEVICE = "inventory_device"
    INVENTORY_SECURITY = "inventory_security"
    INVENTORY_APPS = "inventory_apps"
    INVENTORY_PROFILES = "inventory_profiles"
    INVENTORY_RESTRICTIONS = "inventory_restrictions"
    RENEW_IDENTITY = "renew_identity"


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of one kind."""

    safety: Safety
    action: Action
    """The right that it takes to ask for it, and to take it back."""
    lane: Lane
    lifetime: timedelta
    """How long it may wait for the tablet before it expires."""
    supervised_only: bool = False
    needs_lost_mode: bool = False
    """Served only while the tablet is in lost mode (apple.md §1.12: location outside it is an error)."""
    supersedes: tuple[Kind, ...] = ()
    """Live commands of these kinds are superseded when this one is enqueued."""
    audit: tuple[str, ...] = ()
    """Argument names that the audit log and the API may show; every other argument is silent."""


_DAY = timedelta(days=1)

FACTS: dict[Kind, Facts] = {
    Kind.LOST_MODE_ON: Facts(
        Safety.B,
        Action.LOCK,
        Lane.URGENT,
        90 * _DAY,
        supervised_only=True,
        supersedes=(Kind.LOST_MODE_OFF,),
        audit=("message", "phone_number", "footnote"),
    ),
    Kind.LOST_MODE_OFF: Facts(
        Safety.B,
        Action.LOCK,
        Lane.URGENT,
        90 * _DAY,
        supervised_only=True,
        supersedes=(Kind.LOST_MODE_ON, Kind.LOCATE, Kind.PLAY_SOUND),
    ),
    Kind.LOCK_SCREEN: Facts(Safety.B, Action.LOCK, Lane.URGENT, 30 * _DAY, audit=("message", "phone_number")),
    Kind.LOCATE: Facts(Safety.B, Action.LOCATE, Lane.URGENT, _DAY, supervised_only=True, needs_lost_mode=True),
    Kind.PLAY_SOUND: Facts(
        Safety.B, Action.LOCK, Lane.URGENT, timedelta(hours=1), supervised_only=True, needs_lost_mode=True
    ),
    Kind.WIPE: Facts(Safety.A, Action.REQUEST_WIPE, Lane.URGENT, 90 * _DAY, audit=("preserve_data_plan",)),
    Kind.RESTART: Facts(Safety.B, Action.ASK, Lane.NORMAL, _DAY, supervised_only=True),
    Kind.INVENTORY_DEVICE: Facts(Safety.C, Action.ASK, Lane.NORMAL, 7 * _DAY),
    Kind.INVENTORY_SECURITY: Facts(Safety.C, Action.ASK, Lane.NORMAL, 7 * _DAY),
    Kind.INVENTORY_APPS: Facts(Safety.C, Action.ASK, Lane.NORMAL, 7 * _DAY),
    Kind.INVENTORY_PROFILES: Facts(Safety.C, Action.ASK, Lane.NORMAL, 7 * _DAY),
    Kind.INVENTORY_RESTRICTIONS: Facts(Safety.C, Action.ASK, Lane.NORMAL, 7 * _DAY),
    Kind.RENEW_IDENTITY: Facts(Safety.C, Action.ASK, Lane.NORMAL, 30 * _DAY),
}
"""Every kind has its facts; a test holds it."""

INVENTORY = (Kind.INVENTORY_DEVICE, Kind.INVENTORY_SECURITY, Kind.INVENTORY_APPS, Kind.INVENTORY_PROFILES)
"""What a tablet is asked when it enrols. Its restrictions are asked when there are some (`verification`)."""


def safety_of(kind: str) -> Safety:
    """Return the safety class of a kind by name; whatever is not known is class A."""
    try:
        return FACTS[Kind(kind)].safety
    except ValueError:
        return Safety.A


def action_of(kind: str) -> Action:
    """Return the right that a kind takes, by name; whatever is not known takes as much as a wipe."""
    try:
        return FACTS[Kind(kind)].action
    except ValueError:
        return Action.REQUEST_WIPE
