"""Applications: which may be there, which must, which must go, and what that makes of the store.

https://developers.google.com/android/management/apps. Traps: under WHITELIST an application that leaves the list is
uninstalled from every tablet; installAppsDisabled would stop Tabane's own installs, so it is never used.
"""

from collections.abc import Sequence
from typing import Final

from profiles.android.draft import Draft, named
from profiles.android.rules import MAX_APPLICATIONS
from profiles.sections import AppRef, Apps, AppUpdates, Permission, Sections, Store

PLAY: Final = "playStoreMode"
_UPDATES: Final = {
    AppUpdates.WIFI_ONLY: "WIFI_ONLY",
    AppUpdates.ALWAYS: "ALWAYS",
    AppUpdates.NEVER: "NEVER",
    AppUpdates.USER: "CHOICE_TO_THE_USER",
}
_UNTRUSTED: Final = ("developer_trust", "other_marketplaces", "web_distribution")
"""All that comes from no store Google knows goes through one setting."""


def write(effective: Sections, draft: Draft) -> None:
    """Write the lists of applications and the store's mode. Others may add applications afterwards."""
    apps = effective.apps or Apps()
    for field in ("denylist", "removed"):
        for package in _packages(getattr(apps, field), f"/apps/{field}", draft):
            draft.install(package, "BLOCKED")
    for package in _packages(apps.required, "/apps/required", draft):
        draft.install(package, "FORCE_INSTALLED")
    allowed = _packages(apps.allowlist, "/apps/allowlist", draft)
    for package in allowed:
        draft.install(package, "AVAILABLE")
    # An empty WHITELIST would uninstall everything, so it takes at least one name to have a list at all.
    draft.policy[PLAY] = "WHITELIST" if allowed else "BLACKLIST"
    if apps.allowlist is not None and not allowed:
        draft.lacks("/apps/allowlist", "left out: it names nothing on Android, and would uninstall everything")
    if any(Permission.DENY in (rule.cellular, rule.roaming) for rule in apps.network_rules or ()):
        draft.lacks("/apps/network_rules", "the Android Management API has no rule for mobile data of one application")
    if apps.updates is not None:
        draft.put("appAutoUpdatePolicy", _UPDATES[apps.updates])
    if effective.store is not None:
        _store(effective.store, draft)


def finish(effective: Sections, draft: Draft) -> None:
    """Write the applications that all parts asked for, in the order of their names."""
    apps = effective.apps or Apps()
    constraint = _constraint(apps)
    if effective.store is not None and effective.store.remove_apps is Permission.DENY:
        _keep(draft)
    ordered = [draft.applications[name] for name in sorted(draft.applications)]
    if len(ordered) > MAX_APPLICATIONS:
        draft.lacks("/apps", f"{len(ordered) - MAX_APPLICATIONS} applications more than the {MAX_APPLICATIONS} allowed")
        # What is merely offered goes first; a browser that is offered carries the web filter and stays.
        spare = {"packageName", "installType"}
        ordered.sort(key=lambda app: app["installType"] == "AVAILABLE" and app.keys() == spare)
        ordered = ordered[:MAX_APPLICATIONS]
    for app in ordered:
        if constraint and app["installType"] == "FORCE_INSTALLED":
            app["installConstraint"] = [constraint]
    if ordered:
        draft.policy["applications"] = ordered


def _packages(apps: Sequence[AppRef] | None, place: str, draft: Draft) -> list[str]:
    nameless = [app.label or app.bundle_id or "" for app in apps or () if app.package is None]
    if nameless:
        draft.lacks(place, f"no Android package is named for {named(nameless)}")
    return sorted({app.package for app in apps or () if app.package is not None})


def _store(store: Store, draft: Draft) -> None:
    if store.install_apps is Permission.DENY:
        listed = draft.policy[PLAY] == "WHITELIST"
        reason = "the allowlist stays open for installing" if listed else "that takes apps.allowlist on Android"
        draft.lacks("/store/install_apps", f"{reason}; a stop to all installs would stop Tabane's own")
    spoken = [getattr(store, name) for name in _UNTRUSTED]
    if Permission.DENY in spoken:
        draft.put("advancedSecurityOverrides.untrustedAppsPolicy", "DISALLOW_INSTALL")
    elif all(word is Permission.ALLOW for word in spoken):
        draft.put("advancedSecurityOverrides.untrustedAppsPolicy", "ALLOW_INSTALL_DEVICE_WIDE")


def _keep(draft: Draft) -> None:
    """Stop people from deleting applications, unless that would keep what the policy itself takes away."""
    blocked = any(app["installType"] == "BLOCKED" for app in draft.applications.values())
    if blocked or draft.policy[PLAY] == "WHITELIST":
        reason = "would also keep the applications that the policy removes; required ones cannot be deleted anyway"
        draft.lacks("/store/remove_apps", reason)
    else:
        draft.put("uninstallAppsDisabled", value=True)


def _constraint(apps: Apps) -> dict[str, str]:
    constraint = {}
    if apps.installs_over_lte is Permission.DENY:
        constraint["networkTypeConstraint"] = "INSTALL_ONLY_ON_UNMETERED_NETWORK"
    if apps.installs_on_battery is Permission.DENY:
        constraint["chargingConstraint"] = "INSTALL_ONLY_WHEN_CHARGING"
    return constraint
