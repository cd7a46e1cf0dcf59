"""What a tablet needs for a key to work, and the few facts about a tablet that gates ask for. It writes no profile.

Gates: https://github.com/apple/device-management (mdm/profiles/*.yaml, `supportedOS.iOS`).
"""

import re
from dataclasses import dataclass, field
from typing import Final

from profiles.compiled import Cannot, Facts

UNSUPERVISED: Final = "only a supervised tablet can do this"
_OLDEST: Final = (14,)
"""Older versions are not told apart: hardly a tablet runs one, and a system ignores a key that it is too old for."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One key of a payload with what a tablet needs for it to work."""

    key: str
    minimum: tuple[int, ...]
    supervised: bool = True
    removed: tuple[int, ...] = ()
    """The version that no longer knows the key; `()` is none so far."""


@dataclass(slots=True)
class Known:
    """The facts of the tablet that is compiled for, and the list of wishes that it cannot fulfil."""

    facts: Facts
    cannot: list[Cannot] = field(default_factory=list)

    def reaches(self, gate: Gate, place: str) -> bool:
        """Say whether the tablet passes a gate; if not, add why to `cannot`."""
        if (reason := hindrance(gate, self.facts)) is None:
            return True
        self.refuse(place, reason)
        return False

    def refuse(self, place: str, reason: str) -> None:
        """Say that one wish of the policy is left out for this tablet, and why."""
        self.cannot.append(Cannot(place, reason))


def hindrance(gate: Gate, facts: Facts) -> str | None:
    """The reason why such a tablet does not pass the gate; None when it does."""
    if gate.supervised and not facts.supervised:
        return UNSUPERVISED
    if _tier(gate.minimum) > facts.os:
        return f"needs iPadOS {'.'.join(map(str, gate.minimum))} or newer"
    if gate.removed and facts.os >= gate.removed:
        return f"only declarative management can do this from iPadOS {'.'.join(map(str, gate.removed))}"
    return None


def tiers(gates: frozenset[Gate]) -> tuple[tuple[int, ...], ...]:
    """The versions at which any gate opens or closes, in order; `()` is older than all of them."""
    closing = {gate.removed for gate in gates if gate.removed}
    return tuple(sorted({(), *(_tier(gate.minimum) for gate in gates), *closing}))


def tier_of(os_version: str, known: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """The newest version of `tiers` that a tablet reaches."""
    version = _version(os_version)
    return next(tier for tier in reversed(known) if tier <= version)


def _tier(minimum: tuple[int, ...]) -> tuple[int, ...]:
    return minimum if minimum >= _OLDEST else ()


def _version(text: str) -> tuple[int, ...]:
    numbers = re.match(r"\d{1,4}(?:\.\d{1,4}){0,3}", text)
    return tuple(int(part) for part in numbers[0].split(".")) if numbers else ()
