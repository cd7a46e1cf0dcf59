"""The switchboard of transports: what a platform must offer to be woken, and which module offers it. Nothing else."""

from collections.abc import Sequence
from typing import Protocol, assert_never

from mdm.apple import transport as apple
from mdm.devices.wakeups import Claim, Result
from mdm.platform import Platform


class Transport(Protocol):
    """What a platform's transport module offers."""

    def wake(self, claims: Sequence[Claim]) -> list[Result]:
        """Make tablets ask at our door soon; one result per claim, in order; network trouble is a result, no error."""
        ...


def transport_of(platform: Platform) -> Transport:
    """Return the transport of a platform."""
    match platform:
        case Platform.APPLE:
            return apple
        case _:
            assert_never(platform)
