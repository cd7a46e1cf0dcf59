"""Approvals: what a second person must agree to before it leaves, and the keys with which people sign that.

The room's other tables (thresholds, budgets) are in modules beside this one.
"""

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
    LargeBinary,
    String,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from mdm.safeguards import breaker_models, budget_models, threshold_models

__all__ = ["Approval", "ApprovalState", "ApproverKey", "KeyKind", "breaker_models", "budget_models", "threshold_models"]


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
    """`signing.digest`: of all that is asked for, by whom, why and until when. What was approved is what runs."""
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
    urgent: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default="false"))
    """Whoever approved wants no waiting time; part of what was signed."""
    key_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("approver_key.id")))
    signature: dict[str, str] | None = Field(default=None, sa_column=Column(JSONB))
    """As it was given (`signing.Signature`), so that the sender can verify it again."""
    executed_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When the sender let it go."""


class KeyKind(StrEnum):
    """Where a key lives."""

    WEBAUTHN = "webauthn"
    """In a security key or a passkey; the public key is COSE."""
    SOFTWARE = "software"
    """In a file that a passphrase opens, for the command line; the public key is Ed25519, 32 bytes."""


class ApproverKey(SQLModel, table=True):
    """A key that signs approvals. It counts once the host has pinned it; the database lets nobody else pin it."""

    __tablename__ = "approver_key"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    operator_id: int = Field(sa_column=Column(BigInteger, ForeignKey("operator.id"), nullable=False, index=True))
    kind: KeyKind = Field(sa_column=Column(String(16), nullable=False))
    public_key: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    credential_id: bytes | None = Field(default=None, sa_column=Column(LargeBinary, unique=True))
    """What a browser names it by; software keys have none."""
    label: str = Field(sa_column=Column(String(64), nullable=False))
    sign_count: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    """What a security key last counted; one that goes back was copied."""
    added_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    pinned_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    revoked_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    loosens: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default="false"))
    """It counts for loosening safeguards too: the host pinned it for an administrator of all schools.

    The database writes it down at pinning. What an account may is a row that a stolen web process can change.
    """
