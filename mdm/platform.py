"""The platforms: the columns of the grid. Adding a member makes the type checker list what it still lacks."""

from enum import StrEnum


class Platform(StrEnum):
    """A platform that Tabane manages."""

    APPLE = "apple"
    ANDROID = "android"
