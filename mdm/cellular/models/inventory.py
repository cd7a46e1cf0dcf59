"""Accounts with carriers, the SIMs under them, and which SIM is in which tablet from when to when."""

from datetime import datetime
from enum import StrEnum
from typing import Any

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
    SmallInteger,
    String,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, ExcludeConstraint
from sqlmodel import Field, SQLModel


def no_overlap(table: str, column: str) -> ExcludeConstraint:
    """Let rows of one `column` not overlap in time; `valid_to` is exclusive, NULL is until further notice."""
    return ExcludeConstraint(
        (text(column), "="),
        (text("tstzrange(valid_from, valid_to)"), "&&"),
        name=f"{table}_one_per_{column.removesuffix('_id')}",
    )


class CarrierKind(StrEnum):
    """Which carrier's interface an account speaks; `csv` is an account whose figures come in files."""

    SORACOM = "soracom"
    CONTROL_CENTER = "control_center"
    ICMS = "icms"
    CSV = "csv"


class SimStatus(StrEnum):
    """Where a line stands, in words that all carriers share; the carrier's own word is kept beside it."""

    UNKNOWN = "unknown"
    STOCK = "stock"
    """Delivered and not yet opened (ready, shipped, new, inactive before first use)."""
    ACTIVE = "active"
    STANDBY = "standby"
    """Rested (休止): keeps its number, carries nothing, may cost less."""
    SUSPENDED = "suspended"
    """Interrupted (利用中断): carries nothing until it is resumed."""
    TERMINATED = "terminated"


class CarrierAccount(SQLModel, table=True):
    """A contract with a carrier, and how its interface is reached. The secret is in a file, never here."""

    __tablename__ = "carrier_account"
    __table_args__ = (CheckConstraint("cycle_anchor_day BETWEEN 1 AND 31", name="carrier_account_anchor"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    name: str = Field(sa_column=Column(String(64), nullable=False, unique=True))
    kind: CarrierKind = Field(sa_column=Column(String(16), nullable=False))
    base_url: str = Field(default="", sa_column=Column(String(300), nullable=False, server_default=""))
    """Empty for files."""
    secret_name: str = Field(default="", sa_column=Column(String(64), nullable=False, server_default=""))
    """The name of a file in the folder of secrets (a setting); plain characters, no path."""
    options: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}"))
    """What its interface needs beside the secret: operator id, tenant id, groups. Nothing secret."""
    billing_tz: str = Field(
        default="Asia/Tokyo", sa_column=Column(String(40), nullable=False, server_default="Asia/Tokyo")
    )
    """In which time zone a cycle begins."""
    cycle_anchor_day: int = Field(default=1, sa_column=Column(SmallInteger, nullable=False, server_default="1"))
    """The day a cycle begins; 29 to 31 mean the last day of a month that is shorter."""
    usage_tz: str = Field(
        default="Asia/Tokyo", sa_column=Column(String(40), nullable=False, server_default="Asia/Tokyo")
    )
    """In which time zone its figures' day begins: for some it is UTC, a day from 09:00 to 09:00 in Japan."""
    sim_mapping: dict[str, str] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}")
    )
    """Which header of its SIM files means which column, as last used."""
    usage_mapping: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}")
    )
    """The same for its files of usage, with unit and date form."""
    mapping_version: int = Field(default=1, sa_column=Column(Integer, nullable=False, server_default="1"))
    """Raised when either mapping changes: the same file under another mapping is another import."""
    capabilities: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}")
    )
    """What its interface can do, as the adapter last said."""
    limits: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}"))
    """Calls per second and the like, where the contract differs from what the adapter assumes."""
    enabled: bool = Field(default=True, sa_column=Column(Boolean, nullable=False, server_default="true"))
    """Polled only while set."""
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    updated_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))


class Sim(SQLModel, table=True):
    """A line: a card or a profile of an eSIM. Never deleted; its usage and its history point here."""

    __tablename__ = "sim"
    __table_args__ = (
        Index("sim_account_status", "account_id", "effective_status"),
        Index(
            "sim_carrier_id",
            "account_id",
            "carrier_sim_id",
            unique=True,
            postgresql_where=text("carrier_sim_id IS NOT NULL"),
        ),
        Index("sim_unsettled", "id", postgresql_where=text("intended_status <> effective_status")),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    iccid_core: str = Field(sa_column=Column(String(19), nullable=False, unique=True))
    """The ICCID without its check digit: carriers and tablets agree on this part only (A3.2)."""
    iccid_full: str = Field(sa_column=Column(String(22), nullable=False))
    """As it was first given, digits only."""
    eid: str | None = Field(default=None, sa_column=Column(String(32), index=True))
    imsi: str | None = Field(default=None, sa_column=Column(String(15), index=True))
    msisdn: str | None = Field(default=None, sa_column=Column(String(15), index=True))
    """E.164 without the plus."""
    account_id: int = Field(sa_column=Column(BigInteger, ForeignKey("carrier_account.id"), nullable=False))
    carrier_sim_id: str | None = Field(default=None, sa_column=Column(String(64)))
    """What the carrier's interface calls it, where that is not the ICCID."""
    plan_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("plan.id"), index=True))
    source: str = Field(sa_column=Column(String(16), nullable=False))
    """Who told us of it first: `import`, `carrier`, `ledger`."""
    carrier_status: str = Field(default="", sa_column=Column(String(40), nullable=False, server_default=""))
    """The carrier's own word."""
    intended_status: SimStatus | None = Field(default=None, sa_column=Column(String(16)))
    """What we last asked for; NULL while we never asked."""
    intended_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    effective_status: SimStatus = Field(
        default=SimStatus.UNKNOWN, sa_column=Column(String(16), nullable=False, server_default="unknown")
    )
    """What the carrier last said; only reading it back changes this."""
    status_seen_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    status_changed_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    intended_speed: str | None = Field(default=None, sa_column=Column(String(32)))
    effective_speed: str | None = Field(default=None, sa_column=Column(String(32)))
    """A speed class in the carrier's own words."""
    imei_seen: str | None = Field(default=None, sa_column=Column(String(16)))
    """The radio that the network last saw it in."""
    imei_seen_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    imei_lock: str | None = Field(default=None, sa_column=Column(String(16)))
    last_online_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    carrier_modified_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """For asking only for what changed."""
    listed_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When the carrier's whole list, or a file that claims to be whole, last named it."""
    missing_since: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """Since when such a list has left it out. Nothing is removed for that."""
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    updated_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))


class BindingSource(StrEnum):
    """On whose word a SIM is taken to be in a tablet."""

    LEDGER = "ledger"
    IMPORT = "import"
    OPERATOR = "operator"
    EXCHANGE = "exchange"
    """Two tablets' SIMs changed places, or a spare took the SIM of the tablet it replaces."""


class SimBinding(SQLModel, table=True):
    """One SIM in one tablet from then to then; neither is ever in two places."""

    __tablename__ = "sim_binding"
    __table_args__ = (
        no_overlap("sim_binding", "sim_id"),
        no_overlap("sim_binding", "device_id"),
        CheckConstraint("valid_to >= valid_from", name="sim_binding_forwards"),
        Index("sim_binding_of_sim", "sim_id", "valid_from"),
        Index("sim_binding_of_device", "device_id", "valid_from"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    sim_id: int = Field(sa_column=Column(BigInteger, ForeignKey("sim.id"), nullable=False))
    device_id: int = Field(sa_column=Column(BigInteger, ForeignKey("device.id"), nullable=False))
    valid_from: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    valid_to: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    source: BindingSource = Field(sa_column=Column(String(16), nullable=False))
    reason: str = Field(default="", sa_column=Column(String(400), nullable=False, server_default=""))
    bound_by: str = Field(sa_column=Column(String(80), nullable=False))
    """`operator:<name>` or `system:<part>`."""
    ended_by: str | None = Field(default=None, sa_column=Column(String(80)))
    end_reason: str | None = Field(default=None, sa_column=Column(String(400)))


class SimObservation(SQLModel, table=True):
    """What a carrier or a tablet said at one moment of a SIM and the radio around it; append-only, by month.

    The serving cell is not kept: it is a location, and those are for lost tablets only. Nothing points here, and no key
    points out, so that a month comes and goes by itself.
    """

    __tablename__ = "sim_observation"
    __table_args__ = (
        Index("sim_observation_iccid", "iccid_core", "observed_at"),
        Index("sim_observation_device", "device_id", "observed_at"),
        {"postgresql_partition_by": "RANGE (observed_at)"},
    )
    __mapper_args__ = {"primary_key": ["id"]}

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), nullable=False))
    observed_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    source: str = Field(sa_column=Column(String(8), nullable=False))
    """`carrier` or `device`."""
    sim_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    """NULL for a SIM that is not in the inventory."""
    device_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    """The tablet that said so, or whose radio the carrier names."""
    iccid_core: str | None = Field(default=None, sa_column=Column(String(19)))
    """NULL where a tablet reports an empty slot."""
    imei_key: str | None = Field(default=None, sa_column=Column(String(14)))
    imsi: str | None = Field(default=None, sa_column=Column(String(15)))
    msisdn: str | None = Field(default=None, sa_column=Column(String(15)))
    roaming: bool | None = Field(default=None, sa_column=Column(Boolean))
    online: bool | None = Field(default=None, sa_column=Column(Boolean))
