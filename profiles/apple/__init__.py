"""The compiler for iPadOS: a neutral policy becomes configuration profiles, one for each group of keys.

Keys, types, gates: https://github.com/apple/device-management (mdm/profiles/*.yaml), named in each module. Pure: equal
input gives equal bytes, because a changed PayloadUUID under the same identifier makes a tablet install the profile
again. It stores and sends nothing.

Every profile is shared by all tablets whose policy and facts agree. The one exception is the lock screen's text with
`{control_number}` in it: the tablet's number is then a fact, so each tablet has its own `tabane.policy.lock-screen` of
about 1 kB and its own manifest, while all its other profiles stay shared.
"""

from profiles.apple import network, restrictions, screen, web, wifi
from profiles.apple.gates import Known, tier_of, tiers
from profiles.apple.network import compile_network
from profiles.apple.passcode import compile_passcode
from profiles.apple.refusals import refuse
from profiles.apple.restrictions import DEMANDS, SWITCHES, compile_restrictions
from profiles.apple.screen import compile_screen
from profiles.apple.services import compile_services
from profiles.apple.support import support
from profiles.apple.web import compile_web
from profiles.apple.wifi import compile_certificates, compile_wifi
from profiles.compiled import Compiled, Facts
from profiles.sections import Sections

__all__ = ["DEMANDS", "SWITCHES", "compile_policy", "facts", "support"]

_GATES = restrictions.gates() | web.GATES | network.GATES | wifi.GATES | screen.GATES
_TIERS = tiers(_GATES)
_UNKNOWN = max(gate.minimum for gate in _GATES)
"""The version of a tablet that has not reported: every gate is open, and none closed again."""


def facts(*, supervised: bool | None, os_version: str | None, control_number: str | None = None) -> Facts:
    """Reduce supervision and a version such as `17.5.1` to the facts that change a profile.

    Unknown counts as supervised and newest: the fleet is enrolled supervised, an older system ignores a key it does
    not know, and the first inventory corrects it. Give `control_number` only when `screen.per_tablet` says that the
    policy names it: each number is a fact of its own.
    """
    tier = _UNKNOWN if os_version is None else tier_of(os_version, _TIERS)
    return Facts(supervised is not False, tier, control_number)


def compile_policy(effective: Sections, facts: Facts) -> Compiled:
    """Compile the sections that are present; what is left without content gives no profile."""
    known = Known(facts)
    refuse(effective, known)
    artifacts = [
        *compile_restrictions(effective, known),
        *compile_services(effective, known),
        *compile_web(effective, known),
        *compile_network(effective, known),
        *compile_wifi(effective, known),
        *compile_certificates(effective),
        *compile_passcode(effective, known),
        *compile_screen(effective, known),
    ]
    artifacts.sort(key=lambda artifact: artifact.identifier)
    # A service's application and its sites can be out of reach for one reason; once is enough to say so.
    cannot = sorted(dict.fromkeys(known.cannot), key=lambda wish: wish.pointer)
    return Compiled(tuple(artifacts), tuple(cannot))
