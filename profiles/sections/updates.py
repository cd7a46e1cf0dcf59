"""Updates of the operating system: which version, until when, and never at the cost of the mobile line."""

import re
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, StrictInt

from profiles.sections.base import Address, LocalMoment, Part, Switch
from profiles.sections.merging import HIGHER, NEWER, MergeRule

Minute = Annotated[StrictInt, Field(ge=0, le=1439)]
"""Minutes after midnight, tablet's time."""
_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _day(text: str) -> str:
    found = re.fullmatch(r"(\d\d)-(\d\d)", text)
    if not found or not 1 <= int(found[1]) <= 12 or not 1 <= int(found[2]) <= _DAYS[int(found[1]) - 1]:
        raise ValueError('write month and day, for example "01-15"')
    return text


class Window(Part):
    """When updates may install, in minutes after midnight of the tablet's time."""

    start_minutes: Minute
    end_minutes: Minute


class Freeze(Part):
    """Days of every year on which nothing updates, such as entrance examinations; at most 90 days."""

    start: Annotated[str, AfterValidator(_day)]
    end: Annotated[str, AfterValidator(_day)]


class Automatic(StrEnum):
    """What the tablet does by itself when an update appears."""

    INSTALL = "install"
    DOWNLOAD = "download"
    OFF = "off"


class Updates(Part):
    """Updates of the operating system (R-14)."""

    minimum_ipados: Annotated[
        str | None, Field(pattern=r"^[1-9][0-9]{0,2}(\.(0|[1-9][0-9]{0,2})){0,2}$"), MergeRule.STRICTEST, NEWER
    ] = None
    """The oldest iPadOS version that is good enough, in quotes: "18.5"."""
    minimum_android_api: Annotated[StrictInt | None, Field(ge=21, le=99), MergeRule.STRICTEST, HIGHER] = None
    """The oldest Android API level that is good enough."""
    deadline: Annotated[LocalMoment | None, MergeRule.REPLACE] = None
    """When the tablet updates to the minimum by itself, in its own time: "2026-12-20T02:00:00"."""
    details_url: Annotated[Address | None, MergeRule.REPLACE] = None
    """A page that explains the update to the person who holds the tablet."""
    automatic: Annotated[Automatic | None, MergeRule.REPLACE] = None
    """What happens without a deadline."""
    delay_days: Annotated[StrictInt | None, Field(ge=1, le=90), MergeRule.REPLACE] = None
    """How long a new version is kept from the tablets."""
    window: Annotated[Window | None, MergeRule.REPLACE] = None
    """The hours in which updates install."""
    freezes: Annotated[tuple[Freeze, ...] | None, Field(min_length=1, max_length=10), MergeRule.REPLACE] = None
    """Days on which nothing updates."""
    over_lte: Switch = None
    """Fetching updates over the mobile network."""
    security_responses: Switch = None
    """Small urgent repairs between versions."""
    security_response_removal: Switch = None
    """Taking such a repair back."""
