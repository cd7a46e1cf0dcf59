"""The tables of thresholds: what holds and what it was (rows are only added), and who asked to loosen one."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
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


class RequestState(StrEnum):
    """The life of a request to loosen a threshold."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class ThresholdRequest(SQLModel, table=True):
    """One administrator's wish to loosen a threshold; another one decides within 24 hours."""

    __tablename__ = "threshold_request"
    __table_args__ = (
        CheckConstraint(
            "state <> 'approved' OR (decided_by IS NOT NULL AND decided_by <> requested_by)",
            name="threshold_request_two_persons",
        ),
    )

    id: UUID | None = Field(default=None, sa_column=Column(Uuid, primary_key=True, server_default=text("uuidv7()")))
    name: str = Field(sa_column=Column(String(40), nullable=False))
    value: int = Field(sa_column=Column(Integer, nullable=False))
    before: int = Field(sa_column=Column(Integer, nullable=False))
    """What held when it was asked for; another value since then voids the request."""
    reason: str = Field(sa_column=Column(String(400), nullable=False))
    state: RequestState = Field(default=RequestState.PENDING, sa_column=Column(String(16), nullable=False))
    requested_by: int = Field(sa_column=Column(BigInteger, ForeignKey("operator.id"), nullable=False))
    requested_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    expires_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    decided_by: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("operator.id")))
    decided_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    key_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("approver_key.id")))
    signature: dict[str, str] | None = Field(default=None, sa_column=Column(JSONB))
    """Of whoever approved, as it was given (`signing.Signature`), so that it can be verified again."""


class SafeguardThreshold(SQLModel, table=True):
    """One setting of one threshold; the database refuses to change or delete it."""

    __tablename__ = "safeguard_threshold"
    __table_args__ = (
        Index("safeguard_threshold_newest", "name", "id"),
        Index(
            "safeguard_threshold_request",
            "request_id",
            unique=True,
            postgresql_where=text("request_id IS NOT NULL"),
        ),
        CheckConstraint("approved_by <> set_by", name="safeguard_threshold_two_persons"),
        CheckConstraint("(approved_by IS NULL) = (request_id IS NULL)", name="safeguard_threshold_approved_request"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    name: str = Field(sa_column=Column(String(40), nullable=False))
    value: int = Field(sa_column=Column(Integer, nullable=False))
    set_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    set_by: str = Field(sa_column=Column(String(80), nullable=False))
    """`operator:<name>`: who tightened it, or asked to loosen it."""
    approved_by: str | None = Field(default=None, sa_column=Column(String(80)))
    """The second person, of a threshold that was loosened."""
    request_id: UUID | None = Field(default=None, sa_column=Column(Uuid, ForeignKey("threshold_request.id")))
    reason: str = Field(default="", sa_column=Column(String(400), nullable=False))
    by_owner: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default="false"))
    """Set by the database: whether its owner wrote the row. Nobody else loosens without a signed request."""
