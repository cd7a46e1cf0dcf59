"""Presets: policies to start from. They are ordinary policy files; nothing is applied from here by itself."""

from importlib.resources import files as resources
from typing import Final

from mdm.errors import NotFound
from profiles.files import load as load_file
from profiles.policy import PolicyDocument

_NAMES: Final = ("giga-baseline", "exam-mode", "lost", "holiday")


def names() -> tuple[str, ...]:
    """The presets, the one to begin with first."""
    return _NAMES


def written(name: str) -> str:
    """The preset's file as it is written, with its comments; NotFound names the presets there are."""
    if name not in _NAMES:
        raise NotFound(f"there is no preset `{name}`; there are {', '.join(_NAMES)}")
    return resources(__name__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")


def load(name: str) -> PolicyDocument:
    """The preset as a checked document; NotFound as `written`."""
    (document,) = load_file(written(name))
    return document
