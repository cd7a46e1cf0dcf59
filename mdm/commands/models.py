"""Tables of commands and of desired state. All SQL of these tables is in this room's modules."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Uuid,
    func,
    inspect,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class CommandState(StrEnum):
    """The states of a command, exactly as the console shows them."""

    HELD = "held"
    """Waits for an approval or for its time."""
    QUEUED = "queued"
    SENT = "sent"
    """The tablet was woken for it."""
    DELIVERED = "delivered"
    """Handed to the tablet at a check-in."""
    NOT_NOW = "not_now"
    """The tablet said later; goes round again."""
    DONE = "done"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


OPEN_STATES = (CommandState.QUEUED, CommandState.SENT, CommandState.DELIVERED, CommandState.NOT_NOW)
"""What a check-in may be handed."""
LIVE_STATES = (CommandState.HELD, *OPEN_STATES)
"""What is not over."""
_OPEN_SQL = "state IN ('queued', 'sent', 'delivered', 'not_now')"
_LIVE_SQL = "state IN ('held', 'queued', 'sent', 'delivered', 'not_now')"


class Command(SQLModel, table=True):
    """One thing asked of one tablet once; its id is the CommandUUID on the wire. What ended lately is here too."""

    __tablename__ = "command"
    __table_args__ = (
        Index("command_open", "device_id", "lane", "id", postgresql_where=text(_OPEN_SQL)),
        Index("command_live_key", "device_id", "dedupe_key", unique=True, postgresql_where=text(_LIVE_SQL)),
        Index("command_live_expiry", "expires_at", postgresql_where=text(_LIVE_SQL)),
        Index("command_history", "device_id", "id"),
        Index("command_approval", "approval_id", postgresql_where=text("approval_id IS NOT NULL")),
    )

    id: UUID | None = Field(default=None, sa_column=Column(Uuid, primary_key=True, server_default=text("uuidv7()")))
    device_id: int = Field(sa_column=Column(BigInteger, ForeignKey("device.id"), nullable=False))
    epoch: int
    kind: str = Field(sa_column=Column(String(40), nullable=False))
    arguments: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """Neutral arguments; secrets among them are sealed and base64."""
    dedupe_key: str = Field(sa_column=Column(String(80), nullable=False))
    lane: int = Field(sa_column=Column(SmallInteger, nullable=False))
    state: CommandState = Field(sa_column=Column(String(16), nullable=False))
    not_before: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    expires_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    created_by: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("operator.id")))
    approval_id: UUID | None = Field(default=None, sa_column=Column(Uuid, ForeignKey("approval.id")))
    sent_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    delivered_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    ended_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    not_now_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    not_now_count: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    error: list[dict[str, Any]] | None = Field(default=None, sa_column=Column(JSONB))
    """The tablet's error chain."""
    result: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB))


COMMAND_PAST: Final = Table(
    "command_past",
    SQLModel.metadata,
    *(
        Column(column.name, column.type, nullable=column.nullable and column.name != "ended_at")
        for column in inspect(Command).local_table.columns
    ),
    PrimaryKeyConstraint("id", "ended_at"),
    Index("command_past_device", "device_id", "id"),
    Index("command_past_kind", "kind", "id"),
    Index("command_past_state", "state", "id", postgresql_where=text("state <> 'done'")),
    postgresql_partition_by="RANGE (ended_at)",
)
"""Commands that ended a while ago, in the same columns, by month of their end (`history`)."""


class CommandEvent(SQLModel, table=True):
    """One transition of one command; append-only, by month. Nothing points at it, so the table has no key."""

    __tablename__ = "command_event"
    __table_args__ = {"postgresql_partition_by": "RANGE (at)"}
    __mapper_args__ = {"primary_key": ["id"]}

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), nullable=False))
    command_id: UUID = Field(sa_column=Column(Uuid, nullable=False, index=True))
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    state: CommandState = Field(sa_column=Column(String(16), nullable=False))
    note: str = Field(default="", sa_column=Column(String(200), nullable=False, server_default=""))


class Artifact(SQLModel, table=True):
    """A compiled thing, stored once under its SHA-256 and handed over unopened."""

    __tablename__ = "artifact"

    sha256: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    platform: str = Field(sa_column=Column(String(16), nullable=False))
    identifier: str = Field(sa_column=Column(String(200), nullable=False))
    """On Apple: the PayloadIdentifier; an update has the same one."""
    body: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))


class Manifest(SQLModel, table=True):
    """What a tablet should hold: the SHA-256 of its sorted items."""

    __tablename__ = "manifest"

    sha256: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    platform: str = Field(sa_column=Column(String(16), nullable=False))
    cannot: list[dict[str, str]] = Field(sa_column=Column(JSONB, nullable=False))
    """What this kind of tablet cannot do of the policy, and why."""
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))


class ManifestItem(SQLModel, table=True):
    """One artifact of a manifest."""

    __tablename__ = "manifest_item"

    manifest: bytes = Field(
        sa_column=Column(LargeBinary, ForeignKey("manifest.sha256", ondelete="CASCADE"), primary_key=True)
    )
    identifier: str = Field(sa_column=Column(String(200), primary_key=True))
    artifact: bytes = Field(sa_column=Column(LargeBinary, ForeignKey("artifact.sha256"), nullable=False))


class ProfileStatus(StrEnum):
    """Where one artifact stands on one tablet."""

    PENDING = "pending"
    """Handed out; no answer yet."""
    NOT_NOW = "not_now"
    INSTALLED = "installed"
    FAILED = "failed"
    """Not tried again until something else is wanted."""


class DeviceProfile(SQLModel, table=True):
    """What one tablet holds, or is being handed, under one identifier; gone when it was removed."""

    __tablename__ = "device_profile"
    __table_args__ = (Index("device_profile_failed", "device_id", postgresql_where=text("status = 'failed'")),)

    device_id: int = Field(sa_column=Column(BigInteger, ForeignKey("device.id", ondelete="CASCADE"), primary_key=True))
    identifier: str = Field(sa_column=Column(String(200), primary_key=True))
    installed: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    """The artifact the tablet acknowledged."""
    wanted: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    """The artifact last handed out; NULL while a removal is under way."""
    command_id: UUID | None = Field(default=None, sa_column=Column(Uuid))
    """The CommandUUID of that hand-out; the same while the same thing is wanted, so a repeat is harmless."""
    status: ProfileStatus = Field(sa_column=Column(String(16), nullable=False))
    error: list[dict[str, Any]] | None = Field(default=None, sa_column=Column(JSONB))
    changed_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
