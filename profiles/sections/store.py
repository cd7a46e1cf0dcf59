"""Where software may come from, and what may leave."""

from typing import Annotated

from pydantic import Field, StrictInt

from profiles.sections.base import Demand, Part, Switch
from profiles.sections.merging import LOWER, MergeRule


class Store(Part):
    """Where software may come from, and what may leave. `deny` closes a way (R-23)."""

    install_apps: Switch = None
    """Installing and updating applications by the person who holds the tablet."""
    storefront: Switch = None
    """The store's own application; Tabane still installs when it is hidden."""
    remove_apps: Switch = None
    """Deleting applications."""
    remove_system_apps: Switch = None
    """Deleting applications that came with the system."""
    in_app_purchases: Switch = None
    """Buying inside applications."""
    media_store: Switch = None
    """The store for music and films."""
    book_store: Switch = None
    """The store for books."""
    app_clips: Switch = None
    """Pieces of applications that run without installing."""
    automatic_downloads: Switch = None
    """Applications that arrive because another tablet of the same account bought them."""
    developer_trust: Switch = None
    """Trusting software that came from no store."""
    other_marketplaces: Switch = None
    """Installing from other stores."""
    web_distribution: Switch = None
    """Installing from a developer's web page."""
    manual_profiles: Switch = None
    """Installing configuration profiles by hand."""
    account_changes: Switch = None
    """Adding, changing and removing accounts on the tablet."""
    scan_apps: Demand = None
    """Have the system check installed software for harm (R-16)."""
    app_rating_limit: Annotated[StrictInt | None, Field(ge=0, le=1000), MergeRule.STRICTEST, LOWER] = None
    """The highest age rating that is shown, in the store's own numbers: 0 none, 1000 all."""
    rating_region: Annotated[str | None, Field(pattern=r"^[a-z]{2}$"), MergeRule.REPLACE] = None
    """The country whose age ratings count: `jp`."""
