"""What is asked of carriers: one row per act with its states, and how far the polling of each account has come."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class ActionKind(StrEnum):
    """What can be asked for a line."""

    SUSPEND = "suspend"
    RESUME = "resume"
    SPEED = "speed"
    PLAN = "plan"
    LOCK_IMEI = "lock_imei"
    UNLOCK_IMEI = "unlock_imei"


class ActionState(StrEnum):
    """How far it is. Only reading it back from the carrier makes it effective."""

    REQUESTED = "requested"
    APPROVED = "approved"
    """Nothing stands in the way any more; a worker takes it from here."""
    SENT = "sent"
    """On its way: if the answer is lost, the carrier is asked before it is sent again."""
    ACCEPTED = "accepted"
    """The carrier took it, which is not yet the same as having done it."""
    EFFECTIVE = "effective"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


LIVE_ACTIONS: Final = (ActionState.REQUESTED, ActionState.APPROVED, ActionState.SENT, ActionState.ACCEPTED)
_LIVE: Final = "state IN ('requested', 'approved', 'sent', 'accepted')"


class SimAction(SQLModel, table=True):
    """One act for one line; at most one is under way for each."""

    __tablename__ = "sim_action"
    __table_args__ = (
        Index("sim_action_live", "sim_id", unique=True, postgresql_where=text(_LIVE)),
        Index("sim_action_due", "due_at", postgresql_where=text("state IN ('approved', 'sent', 'accepted')")),
        Index("sim_action_of_sim", "sim_id", "id"),
        Index("sim_action_approval", "approval_id", postgresql_where=text("approval_id IS NOT NULL")),
    )

    id: UUID | None = Field(default=None, sa_column=Column(Uuid, primary_key=True, server_default=text("uuidv7()")))
    sim_id: int = Field(sa_column=Column(BigInteger, ForeignKey("sim.id"), nullable=False))
    device_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("device.id")))
    """The tablet that it was in when it was asked for."""
    kind: ActionKind = Field(sa_column=Column(String(16), nullable=False))
    value: str = Field(default="", sa_column=Column(String(64), nullable=False, server_default=""))
    """A speed class or a plan, in the carrier's words."""
    state: ActionState = Field(sa_column=Column(String(16), nullable=False))
    reason: str = Field(sa_column=Column(String(400), nullable=False))
    idempotency_key: str = Field(sa_column=Column(String(80), nullable=False, unique=True))
    carrier_ref: str = Field(default="", sa_column=Column(String(128), nullable=False, server_default=""))
    requested_by: str = Field(sa_column=Column(String(80), nullable=False))
    requested_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    approval_id: UUID | None = Field(default=None, sa_column=Column(Uuid, ForeignKey("approval.id")))
    approved_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    sent_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    accepted_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    ended_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    expires_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    due_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    """When a worker looks at it next."""
    tries: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    error: str = Field(default="", sa_column=Column(String(200), nullable=False, server_default=""))
    lease_until: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    lease_token: UUID | None = Field(default=None, sa_column=Column(Uuid))


class PollCursor(SQLModel, table=True):
    """One regular question to one account: how far it got, when it is due, and who is at it."""

    __tablename__ = "poll_cursor"
    __table_args__ = (PrimaryKeyConstraint("account_id", "job"), Index("poll_cursor_due", "due_at"))

    account_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("carrier_account.id"), nullable=False, autoincrement=False)
    )
    job: str = Field(sa_column=Column(String(32), nullable=False))
    cursor: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}"))
    """Where to go on, saved with each page; empty at the beginning of a round."""
    due_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    started_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    finished_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """The last round that came to its end."""
    failures: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    error: str = Field(default="", sa_column=Column(String(200), nullable=False, server_default=""))
    lease_until: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    lease_token: UUID | None = Field(default=None, sa_column=Column(Uuid))
