"""What passes between a platform's door and the exchange: a report in, a handout out. Values only, and no protocol."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from mdm.commands.kinds import Kind
from mdm.commands.profile_work import ProfileHandout
from mdm.commands.results import Inventory


class Said(StrEnum):
    """What a tablet says at a check-in; the last three are also the states that a report brings about."""

    IDLE = "idle"
    """Nothing to report: a session begins, and what was put off may be offered again."""
    DONE = "done"
    FAILED = "failed"
    NOT_NOW = "not_now"


@dataclass(frozen=True, slots=True)
class Report:
    """One check-in. `identity` is the SHA-256 of the certificate; `name` what the tablet calls itself (a UDID)."""

    identity: bytes
    name: str
    """At most 64 letters, digits and hyphens: the platform has checked that."""
    said: Said = Said.IDLE
    command_id: UUID | None = None
    error: list[dict[str, Any]] | None = None
    result: dict[str, Any] | None = None
    inventory: Inventory | None = None
    tries: int = 0
    """How often the exchange itself has asked again because another transaction held the tablet's row."""


@dataclass(frozen=True, slots=True)
class CommandHandout:
    """A command to execute."""

    command_id: UUID
    kind: Kind
    arguments: dict[str, Any]


Handout = CommandHandout | ProfileHandout
