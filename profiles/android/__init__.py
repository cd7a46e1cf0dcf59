"""The compiler for Android: a neutral policy becomes one policy of the Android Management API, as canonical JSON.

https://developers.google.com/android/management/reference/rest/v1/enterprises.policies. Pure: equal input gives equal
bytes. It stores and sends nothing; who sends checks the body first (`discovery.faults`, `rules.broken`).
"""

import json
import re
from typing import Any, Final

from profiles.android import applications, browser, connections, onc, passcode, screen, services, switches, updates
from profiles.android.draft import Draft
from profiles.android.support import support
from profiles.compiled import Artifact, Compiled, Facts
from profiles.sections import Sections

__all__ = ["IDENTIFIER", "compile_policy", "facts", "support"]

IDENTIFIER: Final = "tabane.policy.android"
_TIERS: Final = (8, 9, 10, 12, 13, 14, 15, 16)
"""The Android versions that some setting waits for; `tests` hold the gates to this list."""
_REPORTED: Final = ("applicationReportsEnabled", "deviceSettingsEnabled", "networkInfoEnabled", "softwareInfoEnabled")
"""What a tablet tells of itself: without network information there is no ICCID, and so no line to its SIM."""


def facts(*, supervised: bool | None, os_version: str | None, control_number: str | None = None) -> Facts:
    """Reduce management and a version such as `14` or `13.0` to the facts that change a policy.

    `supervised` means managed as a whole (managementMode DEVICE_OWNER). Unknown counts as that and as newest: the
    tablets of a school are enrolled so, and Google leaves out and reports what a tablet is too old for. The control
    number is no fact here, because one policy serves many tablets (`screen`).
    """
    del control_number
    if os_version is None:
        return Facts(supervised=supervised is not False, os=(_TIERS[-1],))
    number = re.match(r"\d{1,4}", os_version)
    reached = [tier for tier in _TIERS if number and tier <= int(number[0])]
    return Facts(supervised=supervised is not False, os=tuple(reached[-1:]))


def compile_policy(effective: Sections, facts: Facts) -> Compiled:
    """Compile everything into one artifact, also a policy that says nothing: a tablet without a policy is blocked."""
    draft = Draft(facts)
    applications.write(effective, draft)
    domains = services.write(effective, draft)
    switches.write(effective, draft)
    browser.write(effective, domains, draft)
    connections.write(effective, draft)
    onc.write(effective, draft)
    passcode.write(effective, draft)
    updates.write(effective, draft)
    screen.write(effective, draft)
    applications.finish(effective, draft)
    passcode.enforce(draft)
    draft.put("statusReportingSettings", dict.fromkeys(_REPORTED, True))
    return Compiled((Artifact(IDENTIFIER, written(draft.policy)),), draft.owned_up())


def written(policy: dict[str, Any]) -> bytes:
    """Write a policy as the bytes that its artifact and its digest have: sorted keys, no spaces, UTF-8."""
    return json.dumps(policy, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
