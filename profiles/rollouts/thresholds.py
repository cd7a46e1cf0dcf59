"""When a rollout goes on and when it stops by itself. Values in, values out; counting is done in `settling`."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Consequence(StrEnum):
    """What a rollout does beyond stopping."""

    HOLD = "hold"
    """Tablets that have installed the revision keep it until somebody decides."""
    ROLL_BACK = "roll_back"


class HaltCode(StrEnum):
    """Why a rollout stopped by itself."""

    FAILURES = "failures"
    SILENCE = "silence"


class Thresholds(BaseModel):
    """Limits of one rollout. Shares are of 1; times are in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    failures: float = Field(default=0.02, ge=0, le=1, description="Stop above this share of failed among settled.")
    failures_min: int = Field(default=3, ge=1, le=1000, description="But not below so many failures.")
    silent: float = Field(default=0.01, ge=0, le=1, description="Stop above this share of silent among installed.")
    silent_min: int = Field(default=1, ge=1, le=1000, description="But not below so many silent tablets.")
    pulse_after_s: int = Field(default=600, ge=0, le=86_400, description="A tablet is woken so long after installing.")
    silent_after_s: int = Field(default=1800, ge=0, le=86_400, description="Not heard by then: silent.")
    settle_share: float = Field(default=0.9, gt=0, le=1, description="The next wave opens when so many have settled.")
    soak_s: int | None = Field(
        default=None, ge=0, le=2_592_000, description="And so long after this one. 1800 for staged waves, 0 for others."
    )
    proof: bool | None = Field(
        default=None, description="Ask tablets to show that they live. Staged rollouts and those of 100 tablets do."
    )
    on_failures: Consequence = Field(default=Consequence.HOLD)
    on_silence: Consequence = Field(default=Consequence.ROLL_BACK)

    @model_validator(mode="after")
    def _pulse_comes_first(self) -> Self:
        if self.silent_after_s < self.pulse_after_s:
            raise ValueError("a tablet is woken (pulse_after_s) before it is called silent (silent_after_s)")
        return self

    def settled_for(self, *, staged: bool, proof: bool) -> "Thresholds":
        """With what was left open decided."""
        soak_s = self.soak_s if self.soak_s is not None else 1800 if staged else 0
        return self.model_copy(
            update={"soak_s": soak_s, "proof": proof if self.proof is None else self.proof},
        )


@dataclass(frozen=True, slots=True)
class Numbers:
    """How one wave stands, or (wave 0) all that were released. Tablets that left are in none of them."""

    wave: int
    released: int
    installed: int
    failed: int
    superseded: int
    silent: int
    unproved: int
    """Installed, and it is not known yet whether they live."""

    @property
    def settled(self) -> int:
        """Tablets of which nothing more is expected."""
        return self.installed + self.failed + self.superseded


@dataclass(frozen=True, slots=True)
class Halt:
    """Why a rollout stops, in numbers."""

    code: HaltCode
    wave: int
    """0: all waves together."""
    counted: int
    of: int
    threshold: float
    consequence: Consequence

    @property
    def sentence(self) -> str:
        """The same for people."""
        where = f"in wave {self.wave}" if self.wave else "in all"
        if self.code is HaltCode.FAILURES:
            return f"{self.counted} of {self.of} tablets failed {where}; the limit is {self.threshold:.1%}"
        return f"{self.counted} of {self.of} tablets fell silent after installing {where}; {self.threshold:.1%} may"


def judge(waves: Sequence[Numbers], limits: Thresholds) -> Halt | None:
    """Say whether a rollout has to stop: by any one wave, or by all together. Silence counts before failures."""
    every = [*waves, together(waves)] if len(waves) > 1 else list(waves)
    for numbers in every:
        if _beyond(numbers.silent, numbers.installed, limits.silent, limits.silent_min):
            place = (numbers.wave, numbers.silent, numbers.installed)
            return Halt(HaltCode.SILENCE, *place, limits.silent, limits.on_silence)
    for numbers in every:
        reported = numbers.installed + numbers.failed
        if _beyond(numbers.failed, reported, limits.failures, limits.failures_min):
            place = (numbers.wave, numbers.failed, reported)
            return Halt(HaltCode.FAILURES, *place, limits.failures, limits.on_failures)
    return None


def together(waves: Sequence[Numbers]) -> Numbers:
    """Add waves up."""
    fields = ("released", "installed", "failed", "superseded", "silent", "unproved")
    return Numbers(0, *(sum(getattr(each, field) for each in waves) for field in fields))


def may_open_next(newest: Numbers, limits: Thresholds, *, released_for_s: float | None) -> bool:
    """Say whether the wave after the newest may open; `released_for_s` is None while that is still being told."""
    if released_for_s is None or released_for_s < (limits.soak_s or 0):
        return False
    return newest.settled >= limits.settle_share * newest.released and not (limits.proof and newest.unproved)


def _beyond(counted: int, of: int, share: float, least: int) -> bool:
    return counted >= least and counted > share * of
