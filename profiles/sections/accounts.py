"""Accounts on the tablet, and the ways out of management. Changing accounts at all is `store.account_changes`."""

from typing import Annotated

from pydantic import Field

from profiles.sections.base import Demand, Part, Sorted, Switch
from profiles.sections.merging import MergeRule


class Accounts(Part):
    """Accounts on the tablet, and the ways out of management."""

    denied_types: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")], ...] | None,
        Field(min_length=1, max_length=50),
        Sorted,
        MergeRule.UNION,
    ] = None
    """Kinds of account that nobody may add, by Android's names: `com.google`."""
    add_users: Switch = None
    """Further users of one tablet."""
    factory_reset: Switch = None
    """Erasing the tablet from its settings."""
    reset_owner_emails: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", max_length=254)], ...] | None,
        Field(min_length=1, max_length=10),
        Sorted,
        MergeRule.UNION,
    ] = None
    """The board's accounts that open an Android tablet after somebody reset it by force."""
    device_name_changes: Switch = None
    """Renaming the tablet."""
    new_device_setup: Switch = None
    """Setting up another tablet from this one."""
    screen_time: Switch = None
    """The person's own limits, which can hide managed applications."""
    find_my_device: Switch = None
    """The vendor's own search for the tablet, which ties it to a private account."""
    automatic_clock: Demand = None
    """The clock is set by the network, so that nobody beats a time limit."""
