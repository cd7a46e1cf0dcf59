"""What lines used: by day and hour, in cycles, as it came in, and what was corrected. Bytes, exact.

The tables by time are kept in months. No key points out of them, so that a month comes and goes by itself.
"""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    UniqueConstraint,
    func,
)
from sqlmodel import Field, SQLModel


class UsageSource(StrEnum):
    """Where a figure comes from; which one is shown: bill before interface before file before tablet, as they stand."""

    BILL = "bill"
    HOURS = "hours"
    """The interface's hours, added up to days of the billing time zone: exact where its own days are UTC's."""
    API = "api"
    CSV = "csv"
    DEVICE = "device"


class UsageRaw(SQLModel, table=True):
    """What a carrier handed over, as it was; kept for disputes, then deleted by a job."""

    __tablename__ = "usage_raw"
    __table_args__ = (
        UniqueConstraint("account_id", "source", "payload_hash"),
        Index("usage_raw_received", "received_at"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    account_id: int = Field(sa_column=Column(BigInteger, ForeignKey("carrier_account.id"), nullable=False))
    source: UsageSource = Field(sa_column=Column(String(8), nullable=False))
    payload_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """SHA-256 of the bytes as received."""
    received_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    period_start: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    period_end: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    body: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    """Compressed (zlib); NULL where it is only noted that it came."""


class UsageDaily(SQLModel, table=True):
    """One line's day from one source; the key is the natural one, so the same figures twice change nothing."""

    __tablename__ = "usage_daily"
    __table_args__ = (
        PrimaryKeyConstraint("usage_date", "sim_id", "source"),
        Index("usage_daily_sim", "sim_id", "usage_date"),
        CheckConstraint("bytes_total >= 0", name="usage_daily_bytes"),
        {"postgresql_partition_by": "RANGE (usage_date)"},
    )

    usage_date: date = Field(sa_column=Column(Date, nullable=False))
    """The day in the source's own time zone; `utc_offset` says which that was."""
    sim_id: int = Field(sa_column=Column(BigInteger, nullable=False, autoincrement=False))
    source: UsageSource = Field(sa_column=Column(String(8), nullable=False))
    bytes_total: int = Field(sa_column=Column(BigInteger, nullable=False))
    bytes_up: int | None = Field(default=None, sa_column=Column(BigInteger))
    bytes_down: int | None = Field(default=None, sa_column=Column(BigInteger))
    """NULL where the source only knows the sum."""
    bytes_roaming: int | None = Field(default=None, sa_column=Column(BigInteger))
    """How much of the total was abroad, where the source tells."""
    sessions: int | None = Field(default=None, sa_column=Column(Integer))
    utc_offset: int = Field(default=540, sa_column=Column(SmallInteger, nullable=False, server_default="540"))
    """Minutes by which this day begins before midnight UTC: 540 is a Japanese day, 0 is one from 09:00 to 09:00."""
    revision: int = Field(default=1, sa_column=Column(Integer, nullable=False, server_default="1"))
    raw_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    """What it was last read from."""
    updated_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    """When the source said so; what it said before that does not replace it."""
    superseded: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default="false"))
    """A better source has this line's day. The view `usage_shown` leaves these out, and everything reads that."""


class UsageRevision(SQLModel, table=True):
    """A day's figure that a correction replaced; append-only, by month of the replacing."""

    __tablename__ = "usage_revision"
    __table_args__ = (
        PrimaryKeyConstraint("replaced_at", "sim_id", "usage_date", "source", "revision"),
        Index("usage_revision_day", "sim_id", "usage_date"),
        {"postgresql_partition_by": "RANGE (replaced_at)"},
    )

    replaced_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    sim_id: int = Field(sa_column=Column(BigInteger, nullable=False, autoincrement=False))
    usage_date: date = Field(sa_column=Column(Date, nullable=False))
    source: UsageSource = Field(sa_column=Column(String(8), nullable=False))
    revision: int = Field(sa_column=Column(Integer, nullable=False, autoincrement=False))
    bytes_total: int = Field(sa_column=Column(BigInteger, nullable=False))
    raw_id: int | None = Field(default=None, sa_column=Column(BigInteger))


class UsageHourly(SQLModel, table=True):
    """One line's hour from one source; kept for a quarter, then only the day remains."""

    __tablename__ = "usage_hourly"
    __table_args__ = (
        PrimaryKeyConstraint("hour_start", "sim_id", "source"),
        CheckConstraint("bytes_total >= 0", name="usage_hourly_bytes"),
        {"postgresql_partition_by": "RANGE (hour_start)"},
    )

    hour_start: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    sim_id: int = Field(sa_column=Column(BigInteger, nullable=False, autoincrement=False))
    source: UsageSource = Field(sa_column=Column(String(8), nullable=False))
    bytes_total: int = Field(sa_column=Column(BigInteger, nullable=False))
    bytes_up: int | None = Field(default=None, sa_column=Column(BigInteger))
    bytes_down: int | None = Field(default=None, sa_column=Column(BigInteger))


class UsageSnapshot(SQLModel, table=True):
    """What a counter that runs through the cycle stood at; days are the differences. By month."""

    __tablename__ = "usage_snapshot"
    __table_args__ = (
        PrimaryKeyConstraint("taken_at", "sim_id"),
        Index("usage_snapshot_sim", "sim_id", "taken_at"),
        CheckConstraint("bytes_total >= 0", name="usage_snapshot_bytes"),
        {"postgresql_partition_by": "RANGE (taken_at)"},
    )

    taken_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    sim_id: int = Field(sa_column=Column(BigInteger, nullable=False, autoincrement=False))
    cycle_start: date = Field(sa_column=Column(Date, nullable=False))
    bytes_total: int = Field(sa_column=Column(BigInteger, nullable=False))
    sessions: int | None = Field(default=None, sa_column=Column(Integer))
    final: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default="false"))
    """Read after the cycle ended, from what the carrier keeps of the one before."""
    raw_id: int | None = Field(default=None, sa_column=Column(BigInteger))


class UsageCycle(SQLModel, table=True):
    """One line's billing cycle; nothing changes it any more once it is closed."""

    __tablename__ = "usage_cycle"
    __table_args__ = (
        PrimaryKeyConstraint("sim_id", "cycle_start"),
        Index("usage_cycle_account", "account_id", "cycle_start"),
        CheckConstraint("cycle_end > cycle_start", name="usage_cycle_forwards"),
    )

    sim_id: int = Field(sa_column=Column(BigInteger, ForeignKey("sim.id"), nullable=False, autoincrement=False))
    cycle_start: date = Field(sa_column=Column(Date, nullable=False))
    """In the account's billing time zone."""
    cycle_end: date = Field(sa_column=Column(Date, nullable=False))
    """The first day that is no longer in it."""
    account_id: int = Field(sa_column=Column(BigInteger, ForeignKey("carrier_account.id"), nullable=False))
    plan_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("plan.id")))
    pool_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("plan_pool.id")))
    source: UsageSource | None = Field(default=None, sa_column=Column(String(8)))
    """Whose figure `bytes_total` is."""
    bytes_total: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    billed_bytes: int | None = Field(default=None, sa_column=Column(BigInteger))
    billed_yen: Decimal | None = Field(default=None, sa_column=Column(Numeric(14, 2)))
    closed_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When its bill came in."""
    reconciled_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    updated_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))


class UsageAdjustment(SQLModel, table=True):
    """What came in about a cycle after it was closed: the difference, beside it; append-only."""

    __tablename__ = "usage_adjustment"
    __table_args__ = (Index("usage_adjustment_cycle", "sim_id", "cycle_start"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    sim_id: int = Field(sa_column=Column(BigInteger, ForeignKey("sim.id"), nullable=False))
    cycle_start: date = Field(sa_column=Column(Date, nullable=False))
    usage_date: date | None = Field(default=None, sa_column=Column(Date))
    """NULL where the source only speaks of the cycle."""
    source: UsageSource = Field(sa_column=Column(String(8), nullable=False))
    delta_bytes: int = Field(sa_column=Column(BigInteger, nullable=False))
    raw_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    reason: str = Field(default="", sa_column=Column(String(200), nullable=False, server_default=""))
    made_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
