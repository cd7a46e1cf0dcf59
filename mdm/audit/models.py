"""The audit table. Rows are inserted by `mdm.audit.chain` only; the database refuses updates and deletes."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Identity, LargeBinary, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class AuditEvent(SQLModel, table=True):
    """One act, chained to the one before it by SHA-256."""

    __tablename__ = "audit_event"

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
