"""The Compiler protocol and the switchboard from platform to compiler. It compiles nothing itself."""

from collections.abc import Mapping
from typing import Protocol, assert_never

from mdm.platform import Platform
from profiles import android, apple
from profiles.compiled import Compiled, Facts
from profiles.sections import Sections


class Compiler(Protocol):
    """What each platform's module offers; all of it pure and deterministic."""

    def facts(self, *, supervised: bool | None, os_version: str | None, control_number: str | None = None) -> Facts:
        """Reduce what is known of a tablet to what matters; None is not known yet.

        Give `control_number` only where the policy names it: a tablet with one shares less with others.
        """
        ...

    def compile_policy(self, effective: Sections, facts: Facts) -> Compiled:
        """Turn the merged policy into artifacts, and say what the tablet cannot do."""
        ...

    def support(self) -> Mapping[str, str]:
        """Say for each field of the document, by its pointer, what the platform does with it."""
        ...


def compiler(platform: Platform) -> Compiler:
    """The compiler of a platform."""
    match platform:
        case Platform.APPLE:
            return apple
        case Platform.ANDROID:
            return android
        case _:
            assert_never(platform)
