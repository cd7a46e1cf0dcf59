"""What people see: the lock screen's text, the single application of an examination, accounts and the place.

One policy serves many tablets, so a text cannot name the single tablet here: a policy for each of 15,000 would cost as
many calls at every change.
"""

from typing import Final

from profiles.android.draft import Draft
from profiles.sections import Accounts, Exam, Location, Permission, Privacy, Screen, Sections, filled

_LOCATION: Final = {
    Location.USER: "LOCATION_USER_CHOICE",
    Location.ON: "LOCATION_ENFORCED",
    Location.OFF: "LOCATION_DISABLED",
}
_KIOSK: Final = {
    "status_bar": ("statusBar", "NOTIFICATIONS_AND_SYSTEM_INFO_DISABLED", "NOTIFICATIONS_AND_SYSTEM_INFO_ENABLED"),
    "navigation": ("systemNavigation", "NAVIGATION_DISABLED", "NAVIGATION_ENABLED"),
    "power_button": ("powerButtonActions", "POWER_BUTTON_BLOCKED", "POWER_BUTTON_AVAILABLE"),
    "settings": ("deviceSettings", "SETTINGS_ACCESS_BLOCKED", "SETTINGS_ACCESS_ALLOWED"),
}


def write(effective: Sections, draft: Draft) -> None:
    """Write what the sections screen, exam, accounts and privacy say beyond plain switches."""
    if effective.screen is not None:
        _screen(effective.screen, draft)
    if effective.exam is not None:
        _exam(effective.exam, draft)
    accounts, privacy = effective.accounts or Accounts(), effective.privacy or Privacy()
    if accounts.denied_types:
        draft.put("accountTypesWithManagementDisabled", list(accounts.denied_types))
    if accounts.reset_owner_emails:
        draft.put("frpAdminEmails", list(accounts.reset_owner_emails))
    if privacy.location is not None:
        draft.put("locationMode", _LOCATION[privacy.location])


def _screen(screen: Screen, draft: Draft) -> None:
    lines = []
    for name in ("lock_text", "asset_tag"):
        text = getattr(screen, name)
        if text is None:
            continue
        if "{control_number}" in text:
            draft.lacks(f"/screen/{name}", "without the control number: on Android one policy serves many tablets")
        lines.append(filled(text, control_number=None, desk_phone=screen.desk_phone))
    if any(lines):
        draft.put("deviceOwnerLockScreenInfo", {"defaultMessage": "\n".join(filter(None, lines))})
    if screen.support_text is not None:
        draft.put("shortSupportMessage", {"defaultMessage": screen.support_text})


def _exam(exam: Exam, draft: Draft) -> None:
    """Write the single application in force; the caller leaves it out before and after the examination."""
    place = "/exam/single_app"
    if exam.single_app is None:
        return
    package = exam.single_app.app.package
    if package is None:
        draft.lacks(place, "no Android package is named")
    elif draft.is_blocked(package):
        draft.lacks(place, f"{package} is denied")
    elif draft.facts.supervised:
        draft.install(package, "REQUIRED_FOR_SETUP")["roles"] = [{"roleType": "KIOSK"}]
        for name, (field, deny, allow) in _KIOSK.items():
            if (wish := getattr(exam, name)) is not None:
                draft.put(f"kioskCustomization.{field}", deny if wish is Permission.DENY else allow)
        if exam.status_bar is Permission.ALLOW and exam.navigation is not Permission.ALLOW:
            draft.lacks("/exam/status_bar", "notifications need the home button: exam.navigation: allow")
    else:
        draft.lacks(place, "only a fully managed tablet can do this")
