"""Why a tablet is as it is: each effective value with the rule, the layers and the exceptions that decided it."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import Session

from mdm.auth.principal import Principal
from mdm.errors import NotFound
from mdm.platform import Platform
from profiles import exceptions, places, targets
from profiles.layers import Excepted, Said, fields_of, in_order
from profiles.policy import Layer, LayerKind, PolicyDocument
from profiles.sections import MergeRule, Sections


@dataclass(frozen=True, slots=True)
class Voice:
    """A policy or an exception that speaks to the tablet."""

    name: str
    layer: str
    exception: UUID | None = None
    expires_at: datetime | None = None
    document: dict[str, Any] = field(default_factory=dict)
    """What it says: a policy document, or the `set` and `without` of an exception. Secrets are dots."""


@dataclass(frozen=True, slots=True)
class Decided:
    """One effective field."""

    pointer: str
    value: Any
    rule: MergeRule
    by: list[str]
    """Names of the policies and exceptions that decided it."""
    layers: list[str]
    """Their layers, in the same order."""


@dataclass(frozen=True, slots=True)
class Lack:
    """A wish that this tablet cannot fulfil."""

    pointer: str
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one tablet should be, and why."""

    serial: str
    platform: Platform
    supervised: bool | None
    os_version: str | None
    sections: Sections
    decided_by: dict[str, list[str]]
    fields: list[Decided]
    voices: list[Voice]
    """From the widest layer to the nearest."""
    layers: list[str]
    """The layers that the tablet lies in."""
    cannot: list[Lack]


def explain(session: Session, principal: Principal, serial: str) -> Explanation:
    """Explain one tablet; NotFound when it is not in the ledger or not in scope."""
    serial = serial.upper()
    place = places.find(session, Layer(kind=LayerKind.SERIAL, key=serial), principal.scope)
    assert place.device_id is not None
    found = targets.explained(session, place.device_id)
    if found is None:
        raise NotFound("there is no such tablet")
    voices = [_voice(session, voice) for voice in in_order(found.voices)]
    layers = {voice.name: voice.layer for voice in voices}
    effective = found.effective
    shown = effective.sections.model_dump(mode="json")
    return Explanation(
        serial=serial,
        platform=found.platform,
        supervised=found.supervised,
        os_version=found.os_version,
        sections=effective.sections,
        decided_by={at: list(names) for at, names in effective.decided_by.items()},
        fields=[
            Decided(at, _value(shown, at), rule, list(names), [layers[name] for name in names])
            for at, (rule, _) in sorted(fields_of(effective.sections).items())
            if (names := effective.decided_by.get(at, ()))
        ],
        voices=voices,
        layers=places.layers_of(session, place.device_id),
        cannot=[Lack(*wish) for wish in found.cannot],
    )


def _value(shown: dict[str, Any], at: str) -> Any:
    section, name = at.removeprefix("/").split("/")
    return shown[section][name]


def _voice(session: Session, voice: Said | Excepted) -> Voice:
    if isinstance(voice, Said):
        policy = PolicyDocument(version=1, name=voice.name, layer=voice.layer, **_parts(voice.sections))
        return Voice(voice.name, str(voice.layer), document=policy.body())
    leave = exceptions.by_name(session, voice.name)
    said = {"set": leave.replacing, "without": leave.without}
    return Voice(voice.name, str(voice.layer), leave.id, leave.expires_at, said)


def _parts(sections: Sections) -> dict[str, Any]:
    return {name: getattr(sections, name) for name in Sections.model_fields}
