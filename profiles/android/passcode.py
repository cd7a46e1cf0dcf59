"""The passcode. Google blocks and then resets a tablet whose passcode is not as the policy says: a rule softens that.

https://developers.google.com/android/management/compliance: passwordPolicies is enforced by default, at once and with a
reset after 10 days; a rule of our own may wait up to 30 days, and none can leave the reset out.
"""

from typing import Any, Final

from profiles.android.draft import Draft
from profiles.sections import Complexity, Passcode, Permission, Sections

BLOCK_AFTER_DAYS: Final = 29
RESET_AFTER_DAYS: Final = 30
_ENFORCED: Final = (
    *("encryptionPolicy", "keyguardDisabled", "minimumApiLevel", "passwordPolicies"),
    *("permittedAccessibilityServices", "permittedInputMethods"),
)
"""The settings that Google enforces by default."""
_BANDS: Final = {Complexity.MEDIUM: 4, Complexity.HIGH: 8}
"""The shortest PIN of each band, as the descriptions of COMPLEXITY_MEDIUM and COMPLEXITY_HIGH say."""
_QUALITIES: Final = ("SOMETHING", "NUMERIC", "NUMERIC_COMPLEX", "ALPHANUMERIC", "COMPLEX")
_DAY_S: Final = 86_400


def write(effective: Sections, draft: Draft) -> None:
    """Write the requirements of the passcode, and when the screen locks."""
    passcode = effective.passcode
    if passcode is None:
        return
    if passcode.lock_after_minutes is not None:
        draft.put("maximumTimeToLock", str(passcode.lock_after_minutes * 60_000))
    requirements = _requirements(passcode, draft)
    if requirements:
        draft.put("passwordPolicies", [{"passwordScope": "SCOPE_DEVICE", **requirements}])


def enforce(draft: Draft) -> None:
    """Give every setting that Google enforces by itself a rule that waits as long as one may."""
    found = [name for name in _ENFORCED if name in draft.policy]
    rules = [
        {
            "settingName": name,
            "blockAction": {"blockAfterDays": BLOCK_AFTER_DAYS},
            "wipeAction": {"wipeAfterDays": RESET_AFTER_DAYS, "preserveFrp": True},
        }
        for name in found
    ]
    if rules:
        draft.put("policyEnforcementRules", rules)
        reason = (
            f"it cannot be only asked for: Android blocks a tablet without it after {BLOCK_AFTER_DAYS} days and resets"
            f" it after {RESET_AFTER_DAYS}, the longest that Google advises"
        )
        draft.lacks("/passcode", reason)


def _requirements(passcode: Passcode, draft: Draft) -> dict[str, Any]:
    extras = {
        "maximumFailedPasswordsForWipe": passcode.wipe_after_failures,
        "passwordHistoryLength": passcode.history,
        "passwordExpirationTimeout": passcode.maximum_age_days and f"{passcode.maximum_age_days * _DAY_S}s",
    }
    spelled = _spelled(passcode, draft)
    if passcode.complexity is not None and not spelled:
        spelled = {"passwordQuality": f"COMPLEXITY_{passcode.complexity.value.upper()}"}
    said = {name: value for name, value in extras.items() if value is not None}
    if not spelled and (said or passcode.required):
        spelled = {"passwordQuality": "SOMETHING"}
    return {**spelled, **said}


def _spelled(passcode: Passcode, draft: Draft) -> dict[str, Any]:
    """Return quality and length where the policy spells them out: a band and a length cannot stand together."""
    wanted = ["SOMETHING"]
    if passcode.minimum_length is not None:
        wanted.append("NUMERIC")
    if passcode.simple is Permission.DENY:
        wanted.append("NUMERIC_COMPLEX")
    if passcode.alphanumeric:
        wanted.append("ALPHANUMERIC")
    if passcode.complex_characters:
        wanted.append("COMPLEX")
    quality = max(wanted, key=_QUALITIES.index)
    if quality == "SOMETHING":
        return {}
    length = passcode.minimum_length or 0
    if passcode.complexity in _BANDS:
        quality = max(quality, "NUMERIC_COMPLEX", key=_QUALITIES.index)
        length = max(length, _BANDS[passcode.complexity])
    if passcode.simple is Permission.DENY and _QUALITIES.index(quality) > _QUALITIES.index("NUMERIC_COMPLEX"):
        draft.lacks("/passcode/simple", "Android looks for sequences in numbers only, not beside letters")
    spelled: dict[str, Any] = {"passwordQuality": quality}
    if length:
        spelled["passwordMinimumLength"] = length
    if passcode.complex_characters:
        spelled["passwordMinimumSymbols"] = passcode.complex_characters
        if passcode.alphanumeric:
            spelled |= {"passwordMinimumLetters": 1, "passwordMinimumNumeric": 1}
    return spelled
