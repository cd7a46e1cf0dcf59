"""What the sections are made of: parts, switches, secrets, applications and lists. It names no platform's keys."""

from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NaiveDatetime,
    PlainSerializer,
    SecretStr,
    SerializationInfo,
    StrictBool,
    StrictInt,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from profiles.sections.merging import MergeRule, in_order
from profiles.urls import normal_entry, normal_site

MAX_APPS: Final = 1000
MAX_ENTRIES: Final = 500
"""Ceiling of deny entries after merging too: more belongs in a DNS filter (reference: built-in web filter)."""
MAX_SECRET: Final = 256
HIDDEN: Final = "•••"
"""What stands for a secret wherever somebody could read it."""


class Permission(StrEnum):
    """A switch with words, so that no reader wonders what `true` would mean."""

    ALLOW = "allow"
    DENY = "deny"


class Part(BaseModel):
    """A mapping in a policy: no unknown keys, no change after the check."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _permission(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("write allow or deny, not true or false")  # noqa: TRY004  # pydantic collects ValueErrors
    return value


Switch = Annotated[Permission | None, BeforeValidator(_permission), MergeRule.STRICTEST]
"""`allow` or `deny`; a denial of any layer wins."""
Demand = Annotated[StrictBool | None, MergeRule.STRICTEST]
"""`true` asks for something; the demand of any layer wins."""


class Secret(SecretStr):
    """A password: `get_secret_value()` gives it to a compiler, everything else shows three dots."""

    def _display(self) -> str:
        return HIDDEN


def _opened(value: object, info: ValidationInfo) -> object:
    """Read `{sealed: …}` only when storage lends the key (`policy.read(…, unseal=…)`): people write plain text."""
    if value == HIDDEN:
        raise ValueError("this is the sign for a hidden value; write the secret itself, or leave the field out")
    if not isinstance(value, dict):
        return value
    unseal = (info.context or {}).get("unseal")
    if unseal is None or set(value) != {"sealed"}:
        raise ValueError("write the secret as text, in quotes")
    return unseal(value["sealed"])


def _written_secret(secret: Secret, info: SerializationInfo) -> Any:
    """Three dots, unless storage gives its own writer (`PolicyDocument.body(secrets=…)`)."""
    write = (info.context or {}).get("secrets")
    return HIDDEN if write is None else write(secret.get_secret_value())


SecretText = Annotated[
    Secret,
    Field(min_length=1, max_length=MAX_SECRET),
    BeforeValidator(_opened),
    PlainSerializer(_written_secret),
    WithJsonSchema({"type": "string", "writeOnly": True, "minLength": 1, "maxLength": MAX_SECRET}),
]


def _written_moment(value: object) -> object:
    if isinstance(value, int | float):
        raise ValueError("write date and time as text, in quotes")  # noqa: TRY004  # pydantic collects ValueErrors
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written_moment)]
"""A moment with its offset from UTC."""
LocalMoment = Annotated[NaiveDatetime, BeforeValidator(_written_moment)]
"""A moment of the tablet's own clock, without an offset."""
BundleId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,254}$")]
PackageName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+$", max_length=255)]
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$", max_length=253)]
Address = Annotated[str, AfterValidator(normal_site)]
"""A complete address with https:// or http://."""
Text = Annotated[str, Field(min_length=1, max_length=100)]
Port = Annotated[StrictInt, Field(ge=1, le=65535)]


class AppRef(Part):
    """One application under its names: one entry means the same app on every platform."""

    bundle_id: BundleId | None = None
    """Its name on iPadOS."""
    package: PackageName | None = None
    """Its name on Android."""
    label: Annotated[str | None, Field(max_length=100)] = None
    """For people who read the file; it never reaches a tablet."""

    @property
    def key(self) -> tuple[str, str]:
        """What makes two entries one."""
        return self.bundle_id or "", self.package or ""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.bundle_id is None and self.package is None:
            raise ValueError("name the application: bundle_id, package or both")
        return self


def _sorted_entries(entries: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    return entries and in_order(entries)


Sorted = AfterValidator(_sorted_entries)
"""A mark for UNION fields: entries in the order of their keys, each key once."""
AppList = Annotated[tuple[AppRef, ...] | None, Field(min_length=1, max_length=MAX_APPS), Sorted, MergeRule.UNION]
EntryList = Annotated[
    tuple[Annotated[str, AfterValidator(normal_entry)], ...] | None,
    Field(max_length=MAX_ENTRIES),
    Sorted,
    MergeRule.UNION,
]
