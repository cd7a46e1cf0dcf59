"""An examination: one application for a stretch of time. The clock is the caller's; compilers see what is in force."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import model_validator

from profiles.sections.base import AppRef, Moment, Part, Switch
from profiles.sections.merging import MergeRule


class Sitting(Part):
    """One application from a moment to another; both with their offset from UTC."""

    app: AppRef
    starts_at: Moment | None = None
    """In quotes, with offset: "2026-12-01T09:00:00+09:00". Left out: at once."""
    ends_at: Moment
    """The tablet is free again by itself; nobody forgets it in one application."""

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.starts_at is not None and self.starts_at >= self.ends_at:
            raise ValueError("it ends before it starts")
        return self

    def in_force(self, now: datetime) -> bool:
        """Whether it holds at this moment (aware)."""
        return (self.starts_at is None or self.starts_at <= now) and now < self.ends_at

    def next_change(self, now: datetime) -> datetime | None:
        """When that next turns; None after the end."""
        if self.starts_at is not None and now < self.starts_at:
            return self.starts_at
        return self.ends_at if now < self.ends_at else None


class Exam(Part):
    """An examination on the tablet: one application, for a time."""

    single_app: Annotated[Sitting | None, MergeRule.REPLACE] = None
    """The application, and from when to when it is the only one."""
    status_bar: Switch = None
    """Notifications and system information during the single application."""
    navigation: Switch = None
    """Home and overview buttons during the single application."""
    power_button: Switch = None
    """The power button's menu during the single application."""
    settings: Switch = None
    """The system's settings during the single application."""
