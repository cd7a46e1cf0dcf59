"""The audit tables. Rows are inserted by `chain` and `checkpoints` only; the database refuses updates and deletes."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Column, DateTime, Identity, Index, LargeBinary, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

PROOFS: Final = "action IN ('approval.approve', 'command.release', 'key.pin')"
"""What the command auditor reads of the trail."""


class AuditEvent(SQLModel, table=True):
    """One act, chained to the one before it by SHA-256 and sealed with a key that the database does not hold."""

    __tablename__ = "audit_event"
    __table_args__ = (
        Index("audit_event_sequence", "sequence", unique=True, postgresql_where=text("sequence IS NOT NULL")),
        Index("audit_event_approvals", "id", postgresql_where=text(PROOFS)),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    actor: str = Field(sa_column=Column(String(80), nullable=False))
    """`operator:<name>`, `tablet:<serial>`, `job:<name>` or `host`."""
    action: str = Field(sa_column=Column(String(64), nullable=False))
    subject: str = Field(sa_column=Column(String(200), nullable=False))
    details: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """Facts of the act, never secrets or names of pupils."""
    previous: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    sequence: int | None = Field(default=None, sa_column=Column(BigInteger))
    """The event's place in the trail, from 1 without a gap; empty in events from before they were sealed."""
    key_id: str | None = Field(default=None, sa_column=Column(String(32)))
    mac: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    """The seal: HMAC-SHA-256 over the digest."""


class AuditCheckpoint(SQLModel, table=True):
    """A signed statement of how long the trail was at a moment, and with which digest it ended."""

    __tablename__ = "audit_checkpoint"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    sequence: int = Field(sa_column=Column(BigInteger, nullable=False))
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    key_id: str = Field(sa_column=Column(String(32), nullable=False))
    """Which public key the signature is checked with."""
    signature: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """Ed25519."""
    walked_to: int = Field(sa_column=Column(BigInteger, nullable=False))
    """How far the old events have been walked again; bookkeeping, not signed."""
