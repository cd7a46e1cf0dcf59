"""Approvals: what a second person must agree to before it leaves."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, LargeBinary, String, Uuid, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class ApprovalState(StrEnum):
    """The life of a request for approval."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Approval(SQLModel, table=True):
    """One request for one irreversible act; one approval is one execution, and editing voids it."""

    __tablename__ = "approval"

    id: UUID | None = Field(default=None, sa_column=Column(Uuid, primary_key=True, server_default=text("uuidv7()")))
    action: str = Field(sa_column=Column(String(64), nullable=False))
    subject: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """What exactly: device ids, serials, the command and its arguments."""
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """SHA-256 of action and canonical subject: what was approved is what runs."""
    reason: str = Field(sa_column=Column(String(400), nullable=False))
    state: ApprovalState = Field(
        default=ApprovalState.PENDING,
        sa_column=Column(String(16), nullable=False, index=True, server_default="pending"),
    )
    requested_by: int = Field(sa_column=Column(BigInteger, ForeignKey("operator.id"), nullable=False))
    requested_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    expires_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    decided_by: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("operator.id")))
    decided_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
