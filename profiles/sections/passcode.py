"""The passcode of the tablet. Nothing here may wipe a pupil's tablet without being asked for by number."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StrictInt

from profiles.sections.base import Demand, Part, Switch
from profiles.sections.merging import HIGHER, LOWER, MergeRule, ranked


class Complexity(StrEnum):
    """The system's own three levels."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Passcode(Part):
    """The passcode of the tablet."""

    required: Demand = None
    """There must be one."""
    simple: Switch = None
    """Passcodes such as 1234 and 1111."""
    complexity: Annotated[
        Complexity | None, MergeRule.STRICTEST, ranked(Complexity.LOW, Complexity.MEDIUM, Complexity.HIGH)
    ] = None
    """The least of the system's own levels."""
    minimum_length: Annotated[StrictInt | None, Field(ge=1, le=16), MergeRule.STRICTEST, HIGHER] = None
    """How many characters at least."""
    alphanumeric: Demand = None
    """Letters and digits."""
    complex_characters: Annotated[StrictInt | None, Field(ge=0, le=4), MergeRule.STRICTEST, HIGHER] = None
    """How many characters that are neither letter nor digit."""
    wipe_after_failures: Annotated[StrictInt | None, Field(ge=2, le=11), MergeRule.STRICTEST, LOWER] = None
    """Erases the tablet after so many wrong passcodes. Not for children's tablets."""
    lock_after_minutes: Annotated[StrictInt | None, Field(ge=1, le=15), MergeRule.STRICTEST, LOWER] = None
    """After how long without a touch the tablet locks."""
    grace_minutes: Annotated[StrictInt | None, Field(ge=0, le=240), MergeRule.STRICTEST, LOWER] = None
    """How long after locking no passcode is asked."""
    maximum_age_days: Annotated[StrictInt | None, Field(ge=1, le=730), MergeRule.STRICTEST, LOWER] = None
    """After how long a new passcode is asked for."""
    history: Annotated[StrictInt | None, Field(ge=1, le=50), MergeRule.STRICTEST, HIGHER] = None
    """How many earlier passcodes cannot be used again."""
    changes: Switch = None
    """Setting, changing and removing the passcode."""
    biometric_changes: Switch = None
    """Adding and removing fingers and faces."""
    biometrics: Switch = None
    """Unlocking with finger or face."""
