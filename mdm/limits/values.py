"""What a limit can be: names, values and how they are checked. Pure: the rows are read and written in `limits`."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mdm.errors import Invalid
from mdm.limits import bands
from mdm.settings import ThrottleSettings

_MOST: Final = 10**12
ELSE: Final = "else"
"""The name of the time that no band holds."""


class Name(StrEnum):
    """The limits there are; a provider's is named after the platform it wakes."""

    FLEET = "fleet"
    PROVIDER_APPLE = "provider.apple"
    PROVIDER_ANDROID = "provider.android"
    SCHOOL = "school"
    SCHOOL_BYTES = "school.bytes"
    SCHOOL_DOWNLOADS = "school.downloads"
    DEVICE = "device"
    URGENT = "urgent"
    GATE = "gate.gb"
    POOL = "pool.gb"


OF_SCHOOLS: Final = frozenset({Name.SCHOOL, Name.SCHOOL_BYTES, Name.SCHOOL_DOWNLOADS})
"""The limits that a school may have of its own."""

_PerSecond = Annotated[float, Field(ge=0, le=_MOST, allow_inf_nan=False)]


class _Value(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    kept: ClassVar[tuple[str, ...]] = ()
    """What stays as it is when a new value leaves it out."""


class Rate(_Value):
    """Wake-ups per second on the long run, and at once; 0 per second means no limit."""

    kept = ("per_s", "burst")
    per_s: _PerSecond
    burst: int = Field(ge=1, le=10**9)


def _checked_band(name: str) -> str:
    if name != ELSE:
        bands.parse(name)
    return name


def _checked_bands(value: dict[str, float]) -> dict[str, float]:
    both = bands.overlapping(bands.parse(name) for name in value if name != ELSE)
    if both is not None:
        raise ValueError(f'"{both[0]}" and "{both[1]}" overlap')
    return value


class ByteRate(_Value):
    """Bytes per second by time of day (JST); 0, or a time that no band names, means no limit."""

    bands: Annotated[
        dict[Annotated[str, AfterValidator(_checked_band)], _PerSecond],
        Field(max_length=50),
        AfterValidator(_checked_bands),
    ]
    burst: int | None = Field(default=None, ge=1, le=_MOST)
    """Bytes at once; absent: what ten seconds let through."""

    def at(self, minute: int) -> tuple[float, float]:
        """Return bytes per second and burst in this minute of the week; rate 0 for no limit."""
        named = (name for name in self.bands if name != ELSE and bands.parse(name).holds(minute))
        rate = self.bands.get(next(named, ELSE), 0.0)
        return rate, float(self.burst or max(1.0, 10 * rate))


class Downloads(_Value):
    """How many tablets of a school may fetch something big at once; 0 means no limit."""

    kept = ("at_once", "big_from_bytes", "minutes")
    at_once: int = Field(ge=0, le=10**6)
    big_from_bytes: int = Field(ge=1, le=_MOST)
    minutes: int = Field(default=15, ge=1, le=24 * 60)
    """A tablet that is never heard again gives its place back after so long."""


class Gigabytes(_Value):
    """A weight in GB (10^9 bytes); None for none."""

    gb: float | None = Field(default=None, ge=0, le=10**6, allow_inf_nan=False)


class Gate(_Value):
    """The weight in GB above which a second operator must approve."""

    gb: float = Field(ge=0, le=10**6, allow_inf_nan=False)


Value = Rate | ByteRate | Downloads | Gigabytes | Gate
_KINDS: Final[Mapping[Name, type[_Value]]] = {
    Name.SCHOOL_BYTES: ByteRate,
    Name.SCHOOL_DOWNLOADS: Downloads,
    Name.GATE: Gate,
    Name.POOL: Gigabytes,
}


def read(name: Name, given: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    """Check a new value and return it as it is stored; parts left out are taken from the present one.

    `Invalid` names the fields. What a fraction of a wake-up is, nobody knows: bursts are whole numbers.
    """
    kind = _KINDS.get(name, Rate)
    whole = {part: present[part] for part in kind.kept if part in present} | dict(given)
    try:
        return kind.model_validate(whole).model_dump(exclude_none=True)
    except ValidationError as error:
        raise Invalid("this is no value of this limit; see errors", errors=_fields(error)) from None


def stored(name: Name, value: Mapping[str, Any]) -> Value:
    """Return a stored value as what it means."""
    kind: Any = _KINDS.get(name, Rate)
    found: Value = kind.model_validate(dict(value))
    return found


def first_values(settings: ThrottleSettings) -> dict[Name, dict[str, Any]]:
    """Return the values that hold before anybody sets one: the settings'."""
    rates = {
        Name.FLEET: (settings.fleet_per_s, settings.fleet_burst),
        Name.PROVIDER_APPLE: (settings.provider_per_s, settings.provider_burst),
        Name.PROVIDER_ANDROID: (settings.provider_per_s, settings.provider_burst),
        Name.SCHOOL: (settings.school_per_s, settings.school_burst),
        Name.DEVICE: (settings.device_per_s, settings.device_burst),
        Name.URGENT: (settings.urgent_per_s, settings.urgent_burst),
    }
    first: dict[Name, dict[str, Any]] = {name: {"per_s": rate, "burst": burst} for name, (rate, burst) in rates.items()}
    downloads = {"at_once": settings.school_downloads, "big_from_bytes": settings.big_from_bytes, "minutes": 15}
    return first | {
        Name.SCHOOL_BYTES: {"bands": {ELSE: settings.school_bytes_per_s}},
        Name.SCHOOL_DOWNLOADS: downloads,
        Name.GATE: {"gb": settings.gate_gb},
        Name.POOL: {} if settings.pool_gb is None else {"gb": settings.pool_gb},
    }


def _fields(error: ValidationError) -> list[dict[str, str]]:
    return [
        {
            "pointer": "/value" + "".join("/" + _escaped(str(part)) for part in each["loc"] if part != "[key]"),
            "detail": each["msg"].removeprefix("Value error, "),
        }
        for each in error.errors(include_input=False, include_url=False)[:50]
    ]


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")
