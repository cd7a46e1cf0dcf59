"""The switchboard of invitations: what a ticket looks like to a tablet of each platform. Knows no platform itself."""

from typing import Protocol, assert_never

from sqlmodel import Session

from enrollment.apple import invitation as apple
from enrollment.ca import Admission
from mdm.errors import Conflict
from mdm.platform import Platform


class Inviter(Protocol):
    """What a platform offers to get a tablet in; a plain module fits it."""

    @property
    def MEDIA_TYPE(self) -> str:  # noqa: N802 - a module's constant
        """The media type of the body."""

    @property
    def FILE_NAME(self) -> str:  # noqa: N802 - a module's constant
        """What a download is called."""

    def url_of(self, secret: str) -> str:
        """Return the address at which a tablet presents the ticket."""

    def body_of(self, session: Session, admission: Admission, secret: str) -> bytes:
        """Return what the tablet installs, scans or reads; it holds the secret."""


def inviter(platform: Platform) -> Inviter:
    """Return the module that invites tablets of `platform`; raises Conflict where none can be enrolled yet."""
    match platform:
        case Platform.APPLE:
            return apple
        case Platform.ANDROID:
            raise Conflict("Android tablets cannot be enrolled yet")
        case _:
            assert_never(platform)
