"""The Compiler protocol and the switchboard from platform to compiler. It compiles nothing itself."""

from typing import Protocol, assert_never

from mdm.platform import Platform
from profiles import apple
from profiles.compiled import Compiled, Facts
from profiles.policy import Sections


class Compiler(Protocol):
    """What each platform's module offers; all of it pure and deterministic."""

    def facts(self, *, supervised: bool | None, os_version: str | None) -> Facts:
        """Reduce what is known of a tablet to what matters; None is not known yet."""
        ...

    def compile_policy(self, effective: Sections, facts: Facts) -> Compiled:
        """Turn the merged policy into artifacts, and say what the tablet cannot do."""
        ...


def compiler(platform: Platform) -> Compiler:
    """The compiler of a platform."""
    match platform:
        case Platform.APPLE:
            return apple
        case _:
            assert_never(platform)
