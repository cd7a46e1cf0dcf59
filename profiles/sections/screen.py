"""What the screen shows: the lock screen's text, the home screen. `{control_number}` is filled in for each tablet."""

import re
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from profiles.sections.base import Address, AppRef, Part, Switch, Text
from profiles.sections.merging import MergeRule

CONTROL_NUMBER: Final = "{control_number}"
DESK_PHONE: Final = "{desk_phone}"


def _template(text: str) -> str:
    rest = text.replace(CONTROL_NUMBER, "").replace(DESK_PHONE, "")
    if found := re.search(r"[{}]", rest):
        raise ValueError(f"`{found[0]}` is only for {CONTROL_NUMBER} and {DESK_PHONE}")
    return text


Template = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_template)]


class Link(Part):
    """A web page on the home screen."""

    url: Address
    title: Text


class FolderIcon(Part):
    """An icon in a folder: an application or a web page."""

    app: AppRef | None = None
    link: Link | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(getattr(self, name) is not None for name in type(self).model_fields) != 1:
            raise ValueError(f"write exactly one of {', '.join(type(self).model_fields)}")
        return self


class Folder(Part):
    """A folder with its pages."""

    title: Text
    pages: Annotated[tuple[tuple[FolderIcon, ...], ...], Field(min_length=1, max_length=10)]


class Icon(FolderIcon):
    """An icon on a page: an application, a web page or a folder."""

    folder: Folder | None = None


class HomeScreen(Part):
    """Where everything stands; applications that are not named stand behind."""

    dock: Annotated[tuple[Icon, ...] | None, Field(min_length=1, max_length=20)] = None
    pages: Annotated[tuple[tuple[Icon, ...], ...], Field(min_length=1, max_length=15)]


class Screen(Part):
    """What the screen shows, for the finder of a lost tablet and for the pupil."""

    lock_text: Annotated[Template | None, MergeRule.REPLACE] = None
    """The line at the foot of the lock screen; `{control_number}` and `{desk_phone}` are filled in."""
    asset_tag: Annotated[Template | None, MergeRule.REPLACE] = None
    """The asset line of the lock screen; `{control_number}` and `{desk_phone}` are filled in."""
    desk_phone: Annotated[str | None, Field(pattern=r"^[0-9+() -]{3,30}$"), MergeRule.REPLACE] = None
    """The support desk's telephone number, in quotes."""
    support_text: Annotated[Annotated[str, Field(min_length=1, max_length=200)] | None, MergeRule.REPLACE] = None
    """What settings show beside what the district forbids."""
    home: Annotated[HomeScreen | None, MergeRule.REPLACE] = None
    """The order of icons on the home screen."""
    wallpaper_changes: Switch = None
    """Choosing another picture behind the icons."""
    volume_changes: Switch = None
    """Changing the loudness."""
    notifications_when_locked: Switch = None
    """Notifications on the lock screen."""
    camera_when_locked: Switch = None
    """The camera from the lock screen."""

    @property
    def per_tablet(self) -> bool:
        """Whether a text names the single tablet, so that tablets cannot share the artifact that carries it."""
        return any(text and CONTROL_NUMBER in text for text in (self.lock_text, self.asset_tag))


def filled(text: str, *, control_number: str | None, desk_phone: str | None) -> str:
    """Fill a template in; what is not known becomes nothing."""
    return text.replace(CONTROL_NUMBER, control_number or "").replace(DESK_PHONE, desk_phone or "").strip()
