"""How a rollout's tablets are divided into waves. Values in, values out: the SQL that finds them is in `snapshot`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

STAGED_FROM: Final = 500
"""Reachable tablets from which a rollout goes out in stages unless it is told otherwise."""
BUCKETS: Final = 10_000
"""Tablets are strewn over so many buckets by hash; a share is a range of them."""
PROOF_FROM: Final = 100
"""Tablets from which each is asked to show that it still lives with what it installed."""

Place = Annotated[str, Field(max_length=110, examples=["school=0101", "class=0101/6/1", "serial=DMPXINVENTED"])]
Share = Annotated[float, Field(gt=0, lt=100)]


class WaveKind(StrEnum):
    """Ways to divide."""

    AT_ONCE = "at_once"
    STAGED = "staged"
    """The named rings in their order, then shares of the others, then the rest."""
    BY_SCHOOL = "by_school"
    BY_HAND = "by_hand"
    """Lists of places; each wave waits for an operator."""


class Rest(StrEnum):
    """What becomes of tablets that are in no list."""

    LAST = "last"
    NEVER = "never"


class Waves(BaseModel):
    """How to divide a rollout. Fields of another kind than its own are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: WaveKind = Field(examples=["staged"])
    rings: bool = Field(default=True, description="staged: the named rings go first.")
    shares: list[Share] = Field(
        default=[1.0, 10.0], max_length=10, description="staged: percent of the tablets, wave by wave, before the rest."
    )
    schools_at_once: int = Field(default=1, ge=1, le=500, description="by_school: schools in one wave.")
    lists: list[Annotated[list[Place], Field(min_length=1, max_length=500)]] = Field(
        default=[], max_length=100, description="by_hand: the places of each wave."
    )
    rest: Rest = Field(default=Rest.LAST, description="by_hand: tablets in no list go last, or never.")

    @model_validator(mode="after")
    def _own_fields(self) -> Self:
        owners = {
            "rings": WaveKind.STAGED,
            "shares": WaveKind.STAGED,
            "schools_at_once": WaveKind.BY_SCHOOL,
            "lists": WaveKind.BY_HAND,
            "rest": WaveKind.BY_HAND,
        }
        strange = sorted(name for name in self.model_fields_set if owners.get(name, self.kind) is not self.kind)
        if strange:
            raise ValueError(f"waves of the kind {self.kind.value} have no {', '.join(strange)}")
        if self.kind is WaveKind.BY_HAND and not self.lists:
            raise ValueError("waves by hand need lists of places")
        if sum(self.shares) >= 100:
            raise ValueError("the shares leave nothing for the last wave")
        return self


@dataclass(frozen=True, slots=True)
class Draft:
    """One wave before the snapshot: the places it takes whole, or the buckets of the others up to `until`."""

    name: str
    places: tuple[str, ...] = ()
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Ring:
    """A named group of places that goes first."""

    name: str
    places: Sequence[str]


def default_kind(reachable: int) -> WaveKind:
    """How a rollout of so many reachable tablets goes out unless it is told otherwise."""
    return WaveKind.STAGED if reachable >= STAGED_FROM else WaveKind.AT_ONCE


def drafts(waves: Waves, *, rings: Sequence[Ring], schools: Sequence[str]) -> list[Draft]:
    """Lay the waves out, before it is known which of them are empty; a tablet belongs to the first that takes it.

    `schools` are the codes of the schools that are in the snapshot. The last draft takes whatever is left, except for
    waves by hand whose rest is never told.
    """
    match waves.kind:
        case WaveKind.AT_ONCE:
            return [Draft("everyone", until=BUCKETS)]
        case WaveKind.STAGED:
            named = [Draft(ring.name, tuple(ring.places)) for ring in rings] if waves.rings else []
            return [*named, *_shares(waves.shares)]
        case WaveKind.BY_SCHOOL:
            step = waves.schools_at_once
            parts = [schools[start : start + step] for start in range(0, len(schools), step)]
            return [Draft(_title(part), tuple(f"school={code}" for code in part)) for part in parts]
        case WaveKind.BY_HAND:
            given = [Draft(_title(places), tuple(places)) for places in waves.lists]
            return [*given, Draft("the rest", until=BUCKETS)] if waves.rest is Rest.LAST else given


def _shares(shares: Sequence[float]) -> list[Draft]:
    found: list[Draft] = []
    total = 0.0
    for share in shares:
        total += share
        found.append(Draft(f"{share:g} %", until=max(1, round(total * BUCKETS / 100))))
    return [*found, Draft("the rest", until=BUCKETS)]


def _title(places: Sequence[str], *, most: int = 3) -> str:
    more = f" and {len(places) - most} more" if len(places) > most else ""
    return (", ".join(place.removeprefix("school=") for place in places[:most]) + more)[:200]


@dataclass(frozen=True, slots=True)
class Wave:
    """One wave of a snapshot."""

    number: int
    name: str
    size: int


def numbered(found: Sequence[Draft], sizes: Mapping[int, int]) -> tuple[list[Wave], dict[int, int]]:
    """Number the drafts that are not empty from 1; also returns the number of each draft's place in the list.

    `sizes` holds reachable tablets by place. A draft that is empty shares the number of the next that is not, or of
    the last, so that a tablet that cannot be reached now has a wave all the same.
    """
    waves: list[Wave] = []
    numbers: dict[int, int] = {}
    for place, draft in enumerate(found):
        numbers[place] = len(waves) + 1
        if sizes.get(place):
            waves.append(Wave(len(waves) + 1, draft.name, sizes[place]))
    last = max(len(waves), 1)
    return waves or [Wave(1, "everyone", 0)], {place: min(number, last) for place, number in numbers.items()}
