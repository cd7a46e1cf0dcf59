"""The switchboard of invitations."""

import pytest

from enrollment.invitations import inviter
from mdm.errors import Conflict
from mdm.platform import Platform


def test_a_platform_that_cannot_be_enrolled_yet_says_so():
    """No tablet is invited to a door that is not there."""
    with pytest.raises(Conflict, match="Android tablets cannot be enrolled yet"):
        inviter(Platform.ANDROID)
