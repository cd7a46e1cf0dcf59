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
    """The life of a rollout; each change of state is one function in `rollouts.states`."""

    HELD = "held"
    """Waits for a second operator; it changes nothing until then."""
    RUNNING = "running"
    PAUSED = "paused"
    """No further tablet is woken or told anything until somebody resumes it."""
    HALTED = "halted"
    """Stopped by itself at its thresholds; tablets that had not installed it fall back."""
    FINISHED = "finished"
    SUPERSEDED = "superseded"
    """Every tablet it had not reached is wanted otherwise by a later one."""
    ABORTED = "aborted"
    """Stopped by hand; tablets that had not installed it fall back, the others keep it."""
    ROLLED_BACK = "rolled_back"
    """All its tablets go back to what they had before it."""
    EXPIRED = "expired"
    """Nobody approved it in time."""


class Rollout(SQLModel, table=True):
    """One push of one policy revision to one target, in waves."""

    __tablename__ = "rollout"
    __table_args__ = (
        Index("rollout_of_layer", "policy_id", "id", postgresql_where=text("whole_layer")),
        Index("rollout_open", "id", postgresql_where=text("state IN ('held', 'running', 'paused', 'halted')")),
        Index(
            "rollout_falling",
            "id",
            postgresql_where=text("state IN ('halted', 'aborted', 'rolled_back') AND fallen_back_at IS NULL"),
        ),
    )

    id: UUID | None = Field(default=None, sa_column=Column(Uuid, primary_key=True, server_default=text("uuidv7()")))
    policy_id: int = Field(sa_column=Column(BigInteger, ForeignKey("policy.id"), nullable=False, index=True))
    revision: int
    target: str = Field(sa_column=Column(String(80), nullable=False))
    """As asked: `fleet`, `school=…`, `class=…` or `serial=…`."""
    whole_layer: bool = Field(default=False, sa_column=Column(Boolean, nullable=False))
    """It covers the policy's layer: once its last wave is released, tablets that come later get the revision too."""
    layer_released_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), server_default=func.now())
    )
    """When that was. The default serves the former version, which released everything at the start."""
    leaves_out: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default="false"))
    """Tablets were left out by hand: for them it is as if it had not been, even when the layer gets the revision."""
    state: RolloutState = Field(sa_column=Column(String(16), nullable=False))
    waves: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    """How its tablets are divided (`rollouts.waves`)."""
    schedule: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    """When its tablets may be woken (`rollouts.windows`)."""
    thresholds: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default=text("'{}'"))
    )
    """When it goes on, and when it stops by itself (`rollouts.thresholds`)."""
    estimate: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    """What it was expected to cost when it was started."""
    reason: str | None = Field(default=None, sa_column=Column(String(400)))
    digest: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    """Over revision, waves and snapshot: what a second operator approves is what runs."""
    halt: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    """Why it stopped by itself: a code, the wave and the numbers."""
    created_by: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("operator.id")))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    approved_by: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("operator.id")))
    approved_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    expires_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """Until when a held one can be approved."""
    ended_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    fallen_back_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When the last tablet that falls back was told so, after a halt, an abort or a roll back."""
    counts: dict[str, int] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    """The final numbers, written once at the end; while it runs they are counted."""


class RolloutWave(SQLModel, table=True):
    """One wave of a rollout. Its tablets are released some hundred at a time once it is open."""

    __tablename__ = "rollout_wave"

    rollout_id: UUID = Field(sa_column=Column(Uuid, ForeignKey("rollout.id", ondelete="CASCADE"), primary_key=True))
    number: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    name: str = Field(sa_column=Column(String(200), nullable=False))
    size: int = Field(sa_column=Column(Integer, nullable=False))
    """Tablets of the snapshot in it that could be reached at the start."""
    opened_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    released_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When the last of its tablets was told."""


class RolloutTarget(SQLModel, table=True):
    """One tablet of a rollout's snapshot. How far it is follows from its enrolment and profiles."""

    __tablename__ = "rollout_target"
    __table_args__ = (
        Index(
            "rollout_target_waiting", "rollout_id", "wave", "device_id", postgresql_where=text("released_at IS NULL")
        ),
        Index(
            "rollout_target_under_way",
            "rollout_id",
            "device_id",
            postgresql_where=text("released_at IS NOT NULL AND installed_at IS NULL AND withdrawn_at IS NULL"),
        ),
        Index(
            "rollout_target_unproved",
            "rollout_id",
            "installed_at",
            postgresql_where=text("installed_at IS NOT NULL AND heard_at IS NULL"),
        ),
    )

    rollout_id: UUID = Field(sa_column=Column(Uuid, ForeignKey("rollout.id", ondelete="CASCADE"), primary_key=True))
    device_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("device.id", ondelete="CASCADE"), primary_key=True, index=True)
    )
    wave: int | None = Field(default=None, sa_column=Column(Integer, server_default="1"))
    """NULL: left out by hand, it does not get the revision."""
    excluded: str | None = Field(default=None, sa_column=Column(String(120)))
    """Why it is left out of the numbers, or NULL. One with a wave still gets the revision when it comes back."""
    released_at: datetime | None = Field(
        default=None, sa_column=Column(DateTime(timezone=True), server_default=func.now())
    )
    """When it was told to hold the revision. The default serves the former version, which told all at the start."""
    former: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    """The manifest it was to hold before that."""
    manifest: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    """The manifest that brings the revision."""
    installed_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    failed_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """Noted by the job when it first saw so; a tablet that failed may still install it."""
    pulsed_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When it was woken to show that it still lives with what it installed."""
    heard_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When that was proved, or found not to be asked for."""
    silent_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When it was counted as silent."""
    withdrawn_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When the revision was taken from it again, because the rollout was stopped or rolled back."""
