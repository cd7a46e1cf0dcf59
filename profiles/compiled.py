"""The values that go into a compiler and come out of one. No rules here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Facts:
    """What must be known of a tablet to compile for it, reduced until few combinations remain.

    `os` is the newest version that any of the platform's gates asks for and the tablet reaches, so 15,000 tablets on
    many point releases share a handful of values. `()` is older than every gate.
    """

    supervised: bool
    os: tuple[int, ...]
    control_number: str | None = None
    """Only when the policy names it on the screen: such tablets share neither that artifact nor their manifest."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One deliverable: its stable identifier, and the exact bytes the tablet gets."""

    identifier: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Cannot:
    """One wish of the policy that this kind of tablet cannot fulfil, and why."""

    pointer: str
    reason: str


@dataclass(frozen=True, slots=True)
class Compiled:
    """Artifacts in the order of their identifiers, and what could not be expressed."""

    artifacts: tuple[Artifact, ...]
    cannot: tuple[Cannot, ...]
