"""Camera, microphone, screen, place and copies. Tabane asks for a place only in lost mode, whatever stands here."""

from enum import StrEnum
from typing import Annotated

from profiles.sections.base import Part, Switch
from profiles.sections.merging import MergeRule


class Location(StrEnum):
    """Whether the tablet's own location service is on."""

    USER = "user"
    ON = "on"
    OFF = "off"


class Privacy(Part):
    """What the tablet may record, show and copy."""

    camera: Switch = None
    """Every camera of the tablet."""
    microphone: Switch = None
    """The microphone, for applications."""
    screenshots: Switch = None
    """Pictures and recordings of the screen."""
    printing: Switch = None
    """Printing on paper or into files."""
    cloud_backup: Switch = None
    """Copies of the tablet in the vendor's cloud."""
    location: Annotated[Location | None, MergeRule.REPLACE] = None
    """The location service for applications. Off also stops finding a lost tablet on some platforms."""
    location_sharing: Switch = None
    """Sharing the place with others."""
