"""The tables of budgets: what was spent, and which class A commands really left. Rows are only added."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Column, DateTime, Identity, Index, String, Uuid, text
from sqlmodel import Field, SQLModel

_AT = "statement_timestamp()"
"""The database's clock, when the row was written and not when its transaction began."""


class BudgetEntry(SQLModel, table=True):
    """One thing done to one tablet, or one act. No foreign keys: an entry outlives what it speaks of."""

    __tablename__ = "budget_entry"
    __table_args__ = (Index("budget_entry_recent", "pot", "at"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=text(_AT)))
    pot: str = Field(sa_column=Column(String(16), nullable=False))
    operator_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    """NULL for a job."""
    school_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    device_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    what: str = Field(sa_column=Column(String(64), nullable=False))


class ClassARelease(SQLModel, table=True):
    """A class A command that the sender let go, with whoever answers for it. Only the sender writes here."""

    __tablename__ = "class_a_release"
    __table_args__ = (Index("class_a_release_recent", "at"),)

    command_id: UUID = Field(sa_column=Column(Uuid, primary_key=True))
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=text(_AT)))
    device_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    school_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    requested_by: int | None = Field(default=None, sa_column=Column(BigInteger))
    signers: list[int] = Field(sa_column=Column(ARRAY(BigInteger), nullable=False))
    """Whose signatures the sender verified."""
    campaign_id: UUID | None = Field(default=None, sa_column=Column(Uuid))
    """The campaign it belongs to; such releases have waves instead of budgets."""
