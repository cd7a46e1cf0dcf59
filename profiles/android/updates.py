"""Updates of the system by systemUpdate: unifiedUpdatePolicy needs the maker's support, and would yield to it."""

from typing import Any, Final

from profiles.android.draft import Draft
from profiles.android.rules import broken
from profiles.sections import Automatic, Freeze, Sections, Updates

_LONGEST_DELAY_DAYS: Final = 30


def write(effective: Sections, draft: Draft) -> None:
    """Write how updates of the system come, and on which days none does."""
    updates = effective.updates
    if updates is None:
        return
    update = _way(updates, draft)
    if updates.freezes:
        # Freezes need a type, and to postpone is the one that changes least.
        frozen: dict[str, Any] = {"type": "POSTPONE"} | update
        frozen["freezePeriods"] = [_period(freeze) for freeze in updates.freezes]
        if faults := broken({"systemUpdate": frozen}):
            draft.lacks("/updates/freezes", f"left out: {faults[0].detail}")
        else:
            update = frozen
    if update:
        draft.put("systemUpdate", update)


def _way(updates: Updates, draft: Draft) -> dict[str, Any]:
    if updates.window is not None and updates.automatic in (None, Automatic.INSTALL):
        if updates.delay_days is not None:
            draft.lacks("/updates/delay_days", "Android has either a window or a delay; the window counts")
        return {
            "type": "WINDOWED",
            "startMinutes": updates.window.start_minutes,
            "endMinutes": updates.window.end_minutes,
        }
    if updates.window is not None:
        draft.lacks("/updates/window", "Android installs in a window only by itself: automatic: install")
    if updates.automatic is Automatic.OFF or updates.delay_days is not None:
        if updates.automatic is Automatic.OFF:
            draft.lacks("/updates/automatic", f"Android postpones at most {_LONGEST_DELAY_DAYS} days, then asks")
        if updates.delay_days not in (None, _LONGEST_DELAY_DAYS):
            draft.lacks("/updates/delay_days", f"Android postpones {_LONGEST_DELAY_DAYS} days, not a chosen number")
        return {"type": "POSTPONE"}
    if updates.automatic is Automatic.INSTALL:
        return {"type": "AUTOMATIC"}
    if updates.automatic is Automatic.DOWNLOAD:
        draft.lacks("/updates/automatic", "Android cannot fetch an update and wait with it")
    return {}


def _period(freeze: Freeze) -> dict[str, dict[str, int]]:
    return {"startDate": _date(freeze.start), "endDate": _date(freeze.end)}


def _date(text: str) -> dict[str, int]:
    month, day = text.split("-")
    return {"month": int(month), "day": int(day)}
