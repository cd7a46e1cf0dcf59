"""The switchboard of transports: what a platform must offer to be woken, and which module offers it. Nothing else."""

from collections.abc import Sequence
from typing import Final, Protocol, assert_never

from mdm.apple import transport as apple
from mdm.devices.wakeups import Claim, Result
from mdm.errors import Conflict
from mdm.platform import Platform

WAKEABLE: Final = (Platform.APPLE,)
"""The platforms that have a transport. Tablets of the others cannot be enrolled yet, so none of them falls due."""


class Transport(Protocol):
    """What a platform's transport module offers."""

    def wake(self, claims: Sequence[Claim]) -> list[Result]:
        """Make tablets ask at our door soon; one result per claim, in order; network trouble is a result, no error."""
        ...


def transport_of(platform: Platform) -> Transport:
    """Return the transport of a platform; raises Conflict for one that has none yet."""
    match platform:
        case Platform.APPLE:
            return apple
        case Platform.ANDROID:
            raise Conflict("Android tablets cannot be woken yet")
        case _:
            assert_never(platform)
