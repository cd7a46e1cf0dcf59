"""What a line may use and what that costs: plans in versions, pools that share, and who was in which pool when."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Numeric,
    SmallInteger,
    String,
    UniqueConstraint,
    func,
)
from sqlmodel import Field, SQLModel

from mdm.cellular.models.inventory import no_overlap


class Overage(StrEnum):
    """What a carrier does when an allowance is used up."""

    NONE = "none"
    """There is no allowance to use up."""
    THROTTLE = "throttle"
    CHARGE = "charge"
    BLOCK = "block"


class Plan(SQLModel, table=True):
    """A rate plan of a carrier account, by the carrier's own name; its terms are in its versions."""

    __tablename__ = "plan"
    __table_args__ = (UniqueConstraint("account_id", "code"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    account_id: int = Field(sa_column=Column(BigInteger, ForeignKey("carrier_account.id"), nullable=False))
    code: str = Field(sa_column=Column(String(64), nullable=False))
    """As the carrier's interface and files call it."""
    name: str = Field(sa_column=Column(String(100), nullable=False))


class PlanVersion(SQLModel, table=True):
    """The terms of a plan from then to then. Bytes are exact; `unit_base` says what the carrier calls a kilobyte."""

    __tablename__ = "plan_version"
    __table_args__ = (
        no_overlap("plan_version", "plan_id"),
        CheckConstraint("valid_to >= valid_from", name="plan_version_forwards"),
        CheckConstraint("unit_base IN (1000, 1024)", name="plan_version_unit"),
        CheckConstraint("allowance_bytes >= 0", name="plan_version_allowance"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    plan_id: int = Field(sa_column=Column(BigInteger, ForeignKey("plan.id"), nullable=False))
    valid_from: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    valid_to: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    allowance_bytes: int | None = Field(default=None, sa_column=Column(BigInteger))
    """Per line and cycle; NULL is without limit."""
    daily_bytes: int | None = Field(default=None, sa_column=Column(BigInteger))
    """Above this in one day the carrier slows the one line."""
    unit_base: int = Field(default=1000, sa_column=Column(SmallInteger, nullable=False, server_default="1000"))
    overage: Overage = Field(default=Overage.NONE, sa_column=Column(String(16), nullable=False, server_default="none"))
    throttle_bps: int | None = Field(default=None, sa_column=Column(Integer))
    price_yen: Decimal | None = Field(default=None, sa_column=Column(Numeric(12, 2)))
    """Per line and cycle, without tax."""
    overage_yen_per_gb: Decimal | None = Field(default=None, sa_column=Column(Numeric(12, 4)))
    set_by: str = Field(sa_column=Column(String(80), nullable=False))
    set_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))


class PlanPool(SQLModel, table=True):
    """Lines that share their allowances (容量シェア): when the pool is empty, every line of it is slowed."""

    __tablename__ = "plan_pool"
    __table_args__ = (
        UniqueConstraint("account_id", "name"),
        CheckConstraint("allowance_bytes >= 0", name="plan_pool_allowance"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    account_id: int = Field(sa_column=Column(BigInteger, ForeignKey("carrier_account.id"), nullable=False))
    name: str = Field(sa_column=Column(String(64), nullable=False))
    allowance_bytes: int | None = Field(default=None, sa_column=Column(BigInteger))
    """A fixed allowance per cycle; NULL is the sum of its lines' plans."""
    overage: Overage = Field(
        default=Overage.THROTTLE, sa_column=Column(String(16), nullable=False, server_default="throttle")
    )
    throttle_bps: int | None = Field(default=None, sa_column=Column(Integer))


class PoolExtra(SQLModel, table=True):
    """Capacity bought on top for one cycle; it counts at once."""

    __tablename__ = "pool_extra"
    __table_args__ = (
        Index("pool_extra_cycle", "pool_id", "cycle_start"),
        CheckConstraint("bytes > 0", name="pool_extra_bytes"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    pool_id: int = Field(sa_column=Column(BigInteger, ForeignKey("plan_pool.id"), nullable=False))
    cycle_start: date = Field(sa_column=Column(Date, nullable=False))
    bytes: int = Field(sa_column=Column(BigInteger, nullable=False))
    price_yen: Decimal | None = Field(default=None, sa_column=Column(Numeric(12, 2)))
    reason: str = Field(default="", sa_column=Column(String(400), nullable=False, server_default=""))
    bought_by: str = Field(sa_column=Column(String(80), nullable=False))
    bought_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))


class PoolMembership(SQLModel, table=True):
    """One SIM in one pool from then to then; a change usually takes effect when the next cycle begins."""

    __tablename__ = "pool_membership"
    __table_args__ = (
        no_overlap("pool_membership", "sim_id"),
        CheckConstraint("valid_to >= valid_from", name="pool_membership_forwards"),
        Index("pool_membership_of_pool", "pool_id", "valid_from"),
        Index("pool_membership_of_sim", "sim_id", "valid_from"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    pool_id: int = Field(sa_column=Column(BigInteger, ForeignKey("plan_pool.id"), nullable=False))
    sim_id: int = Field(sa_column=Column(BigInteger, ForeignKey("sim.id"), nullable=False))
    valid_from: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    valid_to: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    reason: str = Field(default="", sa_column=Column(String(400), nullable=False, server_default=""))
    set_by: str = Field(sa_column=Column(String(80), nullable=False))
