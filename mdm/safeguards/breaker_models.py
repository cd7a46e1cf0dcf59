"""The tables of the breaker and of the notices that it and others send."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    String,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class What(StrEnum):
    """What happened to the breaker."""

    REFUSED = "refused"
    """Somebody's attempt at class A was refused."""
    OPENED = "opened"
    THAW_ASKED = "thaw_asked"
    THAWED = "thawed"


class BreakerEvent(SQLModel, table=True):
    """One event; the newest opening or thawing says how the breaker stands. Rows are only added."""

    __tablename__ = "breaker_event"
    __table_args__ = (Index("breaker_event_recent", "what", "at"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    at: datetime | None = Field(
        default=None,
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=text("statement_timestamp()")),
    )
    """By the database's clock, when the row was written."""
    what: str = Field(sa_column=Column(String(16), nullable=False))
    operator_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    actor: str = Field(sa_column=Column(String(80), nullable=False))
    detail: str = Field(sa_column=Column(String(200), nullable=False))
    """Of an attempt, what it was; of an opening, the pattern."""
    asked_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("breaker_event.id")))
    """Of a thaw, the wish that it answers."""
    key_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("approver_key.id")))
    signature: dict[str, str] | None = Field(default=None, sa_column=Column(JSONB))
    """Of a thaw, the second person's signature (`signing.Signature`), so that it can be verified again."""
    by_owner: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default="false"))
    """Set by the database: whether its owner wrote the row. Nobody else thaws without a signature."""


class Notice(SQLModel, table=True):
    """A page to whoever is on duty: written with what it tells of, sent by a worker until it has arrived."""

    __tablename__ = "notice"
    __table_args__ = (Index("notice_due", "next_at", postgresql_where=text("done_at IS NULL")),)

    id: UUID | None = Field(default=None, sa_column=Column(Uuid, primary_key=True, server_default=text("uuidv7()")))
    """Goes along: a notice may arrive twice."""
    at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now())
    )
    what: str = Field(sa_column=Column(String(64), nullable=False))
    subject: str = Field(sa_column=Column(String(200), nullable=False))
    details: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """Facts without personal data: it leaves the house."""
    webhook_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    mail_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    done_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When it had gone by every way that is set up."""
    attempts: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    next_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now())
    )
    lease_until: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    lease_token: UUID | None = Field(default=None, sa_column=Column(Uuid))
    error: str = Field(default="", sa_column=Column(String(200), nullable=False))
    """Why the last attempt failed, by kind."""


class NoticeMatter(SQLModel, table=True):
    """A matter of which whoever is on duty was told: it is found again by each round of a job, and told once."""

    __tablename__ = "notice_matter"

    matter: str = Field(sa_column=Column(String(120), primary_key=True))
    """A stable name without anything personal."""
    told_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now())
    )
