"""The policy while it is written: what every part of the compiler puts into it, and what it owns up to.

It knows the shape of an AMAPI policy and nothing of the neutral document's sections.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from profiles.compiled import Cannot, Facts

NOT_MANAGED: Final = "only a fully managed tablet can do this"
_RANKS: Final = ("AVAILABLE", "FORCE_INSTALLED", "REQUIRED_FOR_SETUP", "BLOCKED")
"""Of two wishes for one application the later word wins: what is denied stays denied."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What a tablet needs for a setting to work: an Android version, and to be managed as a whole."""

    android: int = 0
    managed: bool = False

    def __str__(self) -> str:
        """Say it for the documentation."""
        parts = [f"Android {self.android} or newer"] if self.android else []
        return ", ".join([*parts, *(["fully managed"] if self.managed else [])])


@dataclass(slots=True)
class Draft:
    """A policy in the making."""

    facts: Facts
    policy: dict[str, Any] = field(default_factory=dict)
    applications: dict[str, dict[str, Any]] = field(default_factory=dict)
    cannot: list[Cannot] = field(default_factory=list)

    def put(self, path: str, value: object) -> None:
        """Set a field by its path, `deviceRadioState.nfc`; an array that is there already grows."""
        *outer, name = path.split(".")
        place = self.policy
        for step in outer:
            place = place.setdefault(step, {})
        place[name] = [*place[name], *value] if isinstance(value, list) and name in place else value

    def lacks(self, place: str, reason: str) -> None:
        """Own up to a wish that the tablet will not fulfil, or only in part."""
        self.cannot.append(Cannot(place, reason))

    def owned_up(self) -> tuple[Cannot, ...]:
        """Everything that was owned up to, each pointer once and in order."""
        reasons: dict[str, dict[str, None]] = {}
        for wish in self.cannot:
            reasons.setdefault(wish.pointer, {})[wish.reason] = None
        return tuple(Cannot(place, "; ".join(reasons[place])) for place in sorted(reasons))

    def reached(self, place: str, gate: Gate) -> bool:
        """Say whether the tablet passes a gate; if not, own up to it."""
        if gate.managed and not self.facts.supervised:
            self.lacks(place, NOT_MANAGED)
        elif self.facts.os < (gate.android,) and gate.android:
            self.lacks(place, f"needs Android {gate.android} or newer")
        else:
            return True
        return False

    def install(self, package: str, install_type: str) -> dict[str, Any]:
        """Ask for an application in one of the ways of `installType`; the strictest wish of all wins."""
        app = self.applications.setdefault(package, {"packageName": package, "installType": install_type})
        app["installType"] = max(app["installType"], install_type, key=_RANKS.index)
        return app

    def is_blocked(self, package: str) -> bool:
        """Whether something in the policy denies the application."""
        return self.applications.get(package, {}).get("installType") == "BLOCKED"


def named(names: Iterable[str], *, most: int = 5) -> str:
    """A list for a sentence; a long one ends in a number."""
    every = list(names)
    rest = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + rest
