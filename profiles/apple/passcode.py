"""The passcode's rules. What may be changed about it is a restriction and is not here.

Keys: https://github.com/apple/device-management (mdm/profiles/com.apple.mobiledevice.passwordpolicy.yaml).
"""

from typing import Any, Final

from profiles.apple.envelope import one
from profiles.apple.gates import Known
from profiles.compiled import Artifact
from profiles.sections import Permission, Sections

PASSCODE: Final = "com.apple.mobiledevice.passwordpolicy"
NUMBERS: Final = {
    "minimum_length": "minLength",
    "complex_characters": "minComplexChars",
    "wipe_after_failures": "maxFailedAttempts",
    "lock_after_minutes": "maxInactivity",
    "grace_minutes": "maxGracePeriod",
    "maximum_age_days": "maxPINAgeInDays",
    "history": "pinHistory",
}


def compile_passcode(effective: Sections, known: Known) -> list[Artifact]:
    """One profile; it says nothing about supervision because every iPad can do all of it."""
    del known
    passcode = effective.passcode
    if passcode is None:
        return []
    content: dict[str, Any] = {
        key: value for field, key in NUMBERS.items() if (value := getattr(passcode, field)) is not None
    }
    if passcode.required:
        content["forcePIN"] = True
    if passcode.simple is not None:
        content["allowSimple"] = passcode.simple is Permission.ALLOW
    if passcode.alphanumeric:
        content["requireAlphanumeric"] = True
    return one("passcode", PASSCODE, content)
