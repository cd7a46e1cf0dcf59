"""What is watched: limits and when they were passed, what does not fit together, and what was forecast."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

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
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class Watched(StrEnum):
    """Of what a limit or a forecast speaks; its id is `scope_id`, 0 for all there is."""

    SIM = "sim"
    POOL = "pool"
    SCHOOL = "school"
    ACCOUNT = "account"
    FLEET = "fleet"


class ThresholdRule(SQLModel, table=True):
    """A limit, and what is done the first time in a cycle that it is passed."""

    __tablename__ = "threshold_rule"
    __table_args__ = (
        CheckConstraint("num_nonnulls(limit_bytes, limit_percent) = 1", name="threshold_rule_one_limit"),
        Index("threshold_rule_active", "scope", postgresql_where=text("active")),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    scope: Watched = Field(sa_column=Column(String(8), nullable=False))
    scope_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    """NULL: each of them."""
    metric: str = Field(sa_column=Column(String(32), nullable=False))
    """What is compared: used so far in the cycle, forecast for its end, used in a day."""
    level: int = Field(sa_column=Column(SmallInteger, nullable=False))
    """Its place among the stages, from 1."""
    limit_bytes: int | None = Field(default=None, sa_column=Column(BigInteger))
    limit_percent: int | None = Field(default=None, sa_column=Column(Integer))
    """Of the allowance."""
    action: str = Field(sa_column=Column(String(24), nullable=False))
    parameters: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}")
    )
    active: bool = Field(default=True, sa_column=Column(Boolean, nullable=False, server_default="true"))
    reason: str = Field(default="", sa_column=Column(String(400), nullable=False, server_default=""))
    set_by: str = Field(sa_column=Column(String(80), nullable=False))
    set_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))


class ThresholdEvent(SQLModel, table=True):
    """A limit that was passed; once per rule, subject, cycle and level, and never taken back, only annotated."""

    __tablename__ = "threshold_event"
    __table_args__ = (
        UniqueConstraint("rule_id", "scope_id", "cycle_start", "level"),
        Index("threshold_event_newest", "fired_at"),
        Index("threshold_event_slowed", "id", postgresql_where=text("speed IS NOT NULL AND lifted_at IS NULL")),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    rule_id: int = Field(sa_column=Column(BigInteger, ForeignKey("threshold_rule.id"), nullable=False))
    scope: Watched = Field(sa_column=Column(String(8), nullable=False))
    scope_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    cycle_start: date = Field(sa_column=Column(Date, nullable=False))
    level: int = Field(sa_column=Column(SmallInteger, nullable=False))
    value_bytes: int = Field(sa_column=Column(BigInteger, nullable=False))
    limit_bytes: int = Field(sa_column=Column(BigInteger, nullable=False))
    action: str = Field(sa_column=Column(String(24), nullable=False))
    done: str = Field(default="", sa_column=Column(String(200), nullable=False, server_default=""))
    """What was in fact done, and by which means."""
    note: str = Field(default="", sa_column=Column(String(200), nullable=False, server_default=""))
    """What corrections have said since."""
    fired_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    settled_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    speed: str | None = Field(default=None, sa_column=Column(String(32)))
    """The carrier's speed class that was asked for because of it."""
    speed_before: str | None = Field(default=None, sa_column=Column(String(32)))
    """What the line gets back when the cycle is over; NULL where that is not known."""
    lifted_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))


class FindingState(StrEnum):
    """How sure something odd is."""

    SUSPECTED = "suspected"
    """Seen once; it may go away by itself."""
    OPEN = "open"
    CLOSED = "closed"
    GONE = "gone"
    """It went away before anybody acted."""


class SimFinding(SQLModel, table=True):
    """Something that does not fit: a swapped pair, a foreign SIM, use while in stock. One live row for each."""

    __tablename__ = "sim_finding"
    __table_args__ = (
        Index(
            "sim_finding_live",
            "kind",
            "subject",
            unique=True,
            postgresql_where=text("state IN ('suspected', 'open')"),
        ),
        Index("sim_finding_newest", "state", "id"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    kind: str = Field(sa_column=Column(String(32), nullable=False))
    subject: str = Field(sa_column=Column(String(64), nullable=False))
    """Our own ids, such as `sim:12` or `school:3`; it tells one live finding of a kind from another."""
    sim_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("sim.id"), index=True))
    device_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("device.id"), index=True))
    school_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("school.id"), index=True))
    state: FindingState = Field(sa_column=Column(String(16), nullable=False))
    details: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}"))
    """Ids and figures; no numbers of lines, no names."""
    times: int = Field(default=1, sa_column=Column(Integer, nullable=False, server_default="1"))
    first_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    last_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    opened_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    closed_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    closed_by: str | None = Field(default=None, sa_column=Column(String(80)))
    close_reason: str | None = Field(default=None, sa_column=Column(String(400)))


class ForecastSnapshot(SQLModel, table=True):
    """What was forecast on a day for the end of a cycle, kept so that forecasts can be scored."""

    __tablename__ = "forecast_snapshot"
    __table_args__ = (
        PrimaryKeyConstraint("made_on", "scope", "scope_id", "method"),
        Index("forecast_snapshot_of", "scope", "scope_id", "cycle_start"),
    )

    made_on: date = Field(sa_column=Column(Date, nullable=False))
    scope: Watched = Field(sa_column=Column(String(8), nullable=False))
    scope_id: int = Field(sa_column=Column(BigInteger, nullable=False, autoincrement=False))
    method: str = Field(sa_column=Column(String(24), nullable=False))
    cycle_start: date = Field(sa_column=Column(Date, nullable=False))
    used_bytes: int = Field(sa_column=Column(BigInteger, nullable=False))
    """Used in the cycle up to that day."""
    p10: int = Field(sa_column=Column(BigInteger, nullable=False))
    p50: int = Field(sa_column=Column(BigInteger, nullable=False))
    p90: int = Field(sa_column=Column(BigInteger, nullable=False))
    actual_bytes: int | None = Field(default=None, sa_column=Column(BigInteger))
    """What it came to, once the cycle was over."""


class SimRound(SQLModel, table=True):
    """A regular look at all SIMs: how far it has read, when it last ended, and what has come in since."""

    __tablename__ = "sim_round"

    name: str = Field(sa_column=Column(String(32), primary_key=True))
    through: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """What came in up to then has been read."""
    news_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When something last came in that calls for another round."""
    finished_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    counts: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}"))
    """What the last one found."""
