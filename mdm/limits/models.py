"""The table of limits. Rows are only added: the newest of a name and school holds, those before are the history."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, Identity, Index, String, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class ThrottleLimit(SQLModel, table=True):
    """One setting of one limit; the database refuses to change or delete it."""

    __tablename__ = "throttle_limit"
    __table_args__ = (Index("throttle_limit_newest", "name", "school_id", "id"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    name: str = Field(sa_column=Column(String(32), nullable=False))
    school_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("school.id")))
    """The school whose own limit it is; NULL for everybody's."""
    value: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    """NULL takes it back: what held before anybody set it holds again."""
    set_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    set_by: str = Field(sa_column=Column(String(80), nullable=False))
    """`operator:<name>`."""
    reason: str = Field(default="", sa_column=Column(String(400), nullable=False))
