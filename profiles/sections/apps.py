"""Which applications may be seen, must be there, must go, and what they may send. No store rules here."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from profiles.sections.base import MAX_APPS, AppList, AppRef, Part, Permission, Sorted, Switch
from profiles.sections.merging import MergeRule


class AppUpdates(StrEnum):
    """When applications update themselves."""

    WIFI_ONLY = "wifi_only"
    ALWAYS = "always"
    NEVER = "never"
    USER = "user"


class NetworkRule(AppRef):
    """What one application may send over the mobile network; `com.example.*` names all below on iPadOS."""

    bundle_id: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,252}(\.\*)?$")] = None
    cellular: Permission | None = None
    roaming: Permission | None = None


class Apps(Part):
    """Which applications may be seen and opened, must be installed or must go."""

    allowlist: AppList = None
    """Present: only these. A school's or class's list is added to the fleet's."""
    denylist: AppList = None
    """Never shown and never opened, whatever a list of a nearer layer allows."""
    required: AppList = None
    """Installed without asking, and kept installed."""
    removed: AppList = None
    """Uninstalled where found, with their data."""
    network_rules: Annotated[
        tuple[NetworkRule, ...] | None, Field(min_length=1, max_length=MAX_APPS), Sorted, MergeRule.UNION
    ] = None
    """Mobile data of single applications."""
    installs_over_lte: Switch = None
    """Whether required applications may be fetched over a metered network."""
    installs_on_battery: Switch = None
    """Whether required applications may be installed while the tablet is not charging."""
    updates: Annotated[AppUpdates | None, MergeRule.REPLACE] = None
    """When installed applications update."""
