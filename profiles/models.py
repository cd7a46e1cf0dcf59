"""Tables of policies, their exceptions and rollouts. Columns only; the rules are in the noun modules."""

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
    Index,
    Integer,
    LargeBinary,
    String,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class Layer(StrEnum):
    """The layers of policy, weakest first; a later one is merged over the earlier."""

    FLEET = "fleet"
    SCHOOL = "school"
    CLASS = "class"
    TABLET = "tablet"


class Policy(SQLModel, table=True):
    """A named policy placed at one layer; its content is its revisions."""

    __tablename__ = "policy"
    __table_args__ = (
        UniqueConstraint("layer", "school_id", "class_id", "device_id", postgresql_nulls_not_distinct=True),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    name: str = Field(sa_column=Column(String(64), nullable=False, unique=True))
    layer: Layer = Field(sa_column=Column(String(16), nullable=False))
    school_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("school.id")))
    class_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("school_class.id")))
    device_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("device.id")))
    released: int | None = Field(default=None, sa_column=Column(Integer))
    """The revision number that tablets get unless a rollout pinned another; set by a rollout to the whole layer."""


class PolicyRevision(SQLModel, table=True):
    """One state of a policy's document; never changed."""

    __tablename__ = "policy_revision"

    policy_id: int = Field(sa_column=Column(BigInteger, ForeignKey("policy.id"), primary_key=True))
    number: int = Field(sa_column=Column(Integer, primary_key=True))
    document: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    sha256: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    overrides: list[dict[str, Any]] = Field(
        default_factory=list, sa_column=Column(JSONB, nullable=False, server_default=text("'[]'"))
    )
    """Codes of `lint` that were overridden when it was stored, each with the reason: a rollout need not ask again."""
    created_by: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("operator.id")))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))


class ExceptionState(StrEnum):
    """The life of an exception."""

    PENDING = "pending"
    """Asked for; it changes nothing until a second person agrees."""
    ACTIVE = "active"
    DECLINED = "declined"
    ENDED = "ended"
    """Withdrawn or ended by hand."""
    EXPIRED = "expired"


class PolicyException(SQLModel, table=True):
    """Leave for one school, class or tablet to differ from wider layers in named fields, until a day."""

    __tablename__ = "policy_exception"
    __table_args__ = (
        Index("ix_policy_exception_open", "state", postgresql_where=text("state IN ('pending', 'active')")),
    )

    id: UUID | None = Field(default=None, sa_column=Column(Uuid, primary_key=True, server_default=text("uuidv7()")))
    layer: Layer = Field(sa_column=Column(String(16), nullable=False))
    school_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("school.id")))
    class_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("school_class.id")))
    device_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("device.id")))
    place: str = Field(sa_column=Column(String(110), nullable=False))
    """As asked: `school=…`, `class=…` or `serial=…`."""
    document: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """`set`: values in place of the wider layers'; `without`: entries taken out of their lists. Secrets are sealed."""
    reason: str = Field(sa_column=Column(String(400), nullable=False))
    state: ExceptionState = Field(sa_column=Column(String(16), nullable=False))
    requested_by: int = Field(sa_column=Column(BigInteger, ForeignKey("operator.id"), nullable=False))
    requested_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    expires_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    decided_by: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("operator.id")))
    decided_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    ended_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))


class PolicyTurn(SQLModel, table=True):
    """When the clock alone changes what a tablet should hold: an exception runs out, an examination begins or ends."""

    __tablename__ = "policy_turn"

    device_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("device.id", ondelete="CASCADE"), primary_key=True, autoincrement=False)
    )
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, index=True))


class Ring(SQLModel, table=True):
    """A named group of places that rollouts reach before others; rings have an order."""

    __tablename__ = "ring"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    name: str = Field(sa_column=Column(String(64), nullable=False, unique=True))
    position: int = Field(sa_column=Column(Integer, nullable=False))
    """1 is reached first; without gaps after every change."""
    places: list[str] = Field(sa_column=Column(JSONB, nullable=False))
    """`school=…`, `class=…` or `serial=…`, each once."""


class RolloutState(StrEnum):
    """The life of a rollout."""

    RUNNING = "running"
    FINISHED = "finished"
    SUPERSEDED = "superseded"
    """Every tablet it had not reached is wanted otherwise by a later one."""


class Rollout(SQLModel, table=True):
    """One push of one policy revision to one target."""

    __tablename__ = "rollout"

    id: UUID | None = Field(default=None, sa_column=Column(Uuid, primary_key=True, server_default=text("uuidv7()")))
    policy_id: int = Field(sa_column=Column(BigInteger, ForeignKey("policy.id"), nullable=False, index=True))
    revision: int
    target: str = Field(sa_column=Column(String(80), nullable=False))
    """As asked: `fleet`, `school=…`, `class=…` or `serial=…`."""
    whole_layer: bool = Field(default=False, sa_column=Column(Boolean, nullable=False))
    state: RolloutState = Field(sa_column=Column(String(16), nullable=False))
    created_by: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("operator.id")))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    ended_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    counts: dict[str, int] | None = Field(default=None, sa_column=Column(JSONB))
    """The final numbers, written once at the end; while it runs they are counted."""


class RolloutTarget(SQLModel, table=True):
    """One tablet of a rollout's snapshot. How far it is follows from its enrolment and profiles."""

    __tablename__ = "rollout_target"

    rollout_id: UUID = Field(sa_column=Column(Uuid, ForeignKey("rollout.id", ondelete="CASCADE"), primary_key=True))
    device_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("device.id", ondelete="CASCADE"), primary_key=True, index=True)
    )
    manifest: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    excluded: str | None = Field(default=None, sa_column=Column(String(80)))
    """Why it was left out, or NULL."""
