"""Whereabouts checks, their frozen lists, and the evidence for each tablet. No table here has room for a location."""

from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class CheckState(StrEnum):
    """The life of a check."""

    PLANNED = "planned"
    RUNNING = "running"
    """Its list is frozen, and evidence is taken."""
    CLOSED = "closed"
    """Its report is frozen too."""
    CANCELLED = "cancelled"
    """Given up before it began."""


class EvidenceKind(StrEnum):
    """What can prove that a tablet is where it should be (R-19)."""

    CHECKIN = "checkin"
    """It spoke with us."""
    SCAN = "scan"
    """Its control number was scanned off the tablet."""
    WORD = "word"
    """Somebody answerable says that it is there."""


class Hand(StrEnum):
    """Why somebody should look at a tablet by hand (ICT CONNECT 21: requirements.md B6)."""

    MUST_BE_SEEN = "must_be_seen"
    """As spares must: that one spoke with us does not say that it lies in its cupboard."""
    SILENT = "silent"
    """It has said nothing for long; should it speak during the check, that is enough."""


class Repeats(StrEnum):
    """Whether a check is planned anew by itself."""

    NEVER = "never"
    TERMLY = "termly"
    YEARLY = "yearly"


class Step(StrEnum):
    """Who is told of what is not verified, each once."""

    REMINDER = "reminder"
    """The school, before the last day."""
    SCHOOL = "school"
    """The school, when the last day is over."""
    BOARD = "board"
    """The board of education (甲)."""


def _key() -> Column[UUID]:
    return Column(Uuid, ForeignKey("whereabouts_check.id", ondelete="CASCADE"), primary_key=True)


class WhereaboutsCheck(SQLModel, table=True):
    """One check: over which schools, from when to when, and what counts."""

    __tablename__ = "whereabouts_check"
    __table_args__ = (Index("whereabouts_check_running", "id", postgresql_where=text("state = 'running'")),)

    id: UUID | None = Field(default=None, sa_column=Column(Uuid, primary_key=True, server_default=text("uuidv7()")))
    name: str = Field(sa_column=Column(String(100), nullable=False))
    fiscal_year: int = Field(sa_column=Column(SmallInteger, nullable=False))
    """Of its first day: April to March."""
    first_day: date = Field(sa_column=Column(Date, nullable=False))
    last_day: date = Field(sa_column=Column(Date, nullable=False))
    """The deadline, in Japan's time. Evidence is taken until the check is closed."""
    state: CheckState = Field(
        default=CheckState.PLANNED, sa_column=Column(String(16), nullable=False, server_default="planned")
    )
    all_schools: bool = Field(sa_column=Column(Boolean, nullable=False))
    states: list[str] = Field(sa_column=Column(JSONB, nullable=False))
    """The ledger states whose tablets must be verified."""
    by_hand: list[str] = Field(sa_column=Column(JSONB, nullable=False))
    """Those of them for which a check-in proves nothing."""
    checkin_days: int = Field(sa_column=Column(SmallInteger, nullable=False))
    silent_days: int = Field(sa_column=Column(SmallInteger, nullable=False))
    checkins_from: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    """An older check-in is no evidence."""
    deadlines: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """When which `Step` is due; `values.Deadlines`."""
    repeats: Repeats = Field(
        default=Repeats.NEVER, sa_column=Column(String(16), nullable=False, server_default="never")
    )
    follows: UUID | None = Field(
        default=None, sa_column=Column(Uuid, ForeignKey("whereabouts_check.id"), unique=True, nullable=True)
    )
    """The check that it repeats by itself; a copy made by hand follows none."""
    planned_by: str = Field(sa_column=Column(String(80), nullable=False))
    planned_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    started_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    closed_by: str | None = Field(default=None, sa_column=Column(String(80)))
    closed_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    report_digest: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    """SHA-256 of the report as it was frozen."""


class CheckSchool(SQLModel, table=True):
    """A school that a check is about."""

    __tablename__ = "check_school"

    check_id: UUID = Field(sa_column=_key())
    school_id: int = Field(sa_column=Column(BigInteger, ForeignKey("school.id"), primary_key=True))


class CheckTask(SQLModel, table=True):
    """A tablet on the list of a check, as it stood when the check began; the database keeps what is frozen so."""

    __tablename__ = "check_task"
    __table_args__ = (
        Index("check_task_school", "check_id", "school_id"),
        Index(
            "check_task_open",
            "check_id",
            "device_id",
            postgresql_where=text("verified_at IS NULL AND excluded IS NULL"),
        ),
        {"postgresql_with": {"fillfactor": 80}},
    )

    check_id: UUID = Field(sa_column=_key())
    device_id: int = Field(sa_column=Column(BigInteger, ForeignKey("device.id"), primary_key=True))
    school_id: int = Field(sa_column=Column(BigInteger, ForeignKey("school.id"), nullable=False))
    year: int | None = Field(default=None, sa_column=Column(SmallInteger))
    class_name: str | None = Field(default=None, sa_column=Column(String(32)))
    holder_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("holder.id")))
    """Who had it; the user id is read through it, so that it is kept in one place only."""
    state: str = Field(sa_column=Column(String(16), nullable=False))
    """Its ledger state when the check began."""
    hand: Hand | None = Field(default=None, sa_column=Column(String(16)))
    excluded: str | None = Field(default=None, sa_column=Column(String(16)))
    """Why nobody need look for it: a ledger state that the check leaves out, or `case` of loss."""
    verified_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """What was verified stays so."""
    verified_by: EvidenceKind | None = Field(default=None, sa_column=Column(String(16)))
    closed_state: str | None = Field(default=None, sa_column=Column(String(16)))
    """Where it stood when the check was closed, as `excluded` has it; from then on the row cannot change."""
    closed_seen_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When it had last been heard when the check was closed."""


class CheckEvidence(SQLModel, table=True):
    """One sign that a tablet is there. Rows are only added; the database refuses anything else."""

    __tablename__ = "check_evidence"
    __table_args__ = (
        Index("check_evidence_task", "check_id", "device_id", "id"),
        # To the task, not to the tablet: an import that exchanges tablets need not wait for the fleet's check-ins.
        ForeignKeyConstraint(["check_id", "device_id"], ["check_task.check_id", "check_task.device_id"]),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    check_id: UUID = Field(sa_column=Column(Uuid, nullable=False))
    device_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    kind: EvidenceKind = Field(sa_column=Column(String(16), nullable=False))
    seen_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    recorded_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    actor: str = Field(sa_column=Column(String(80), nullable=False))
    school_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("school.id")))
    """The school in which it was scanned, where that was said."""
    hint: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default="false"))
    """Scanned by somebody whose schools do not include the tablet's: for its school to follow up, no proof."""


class CheckStep(SQLModel, table=True):
    """An escalation that was done: of a check, to a school or (no school) to the board."""

    __tablename__ = "check_step"
    __table_args__ = (UniqueConstraint("check_id", "step", "school_id", postgresql_nulls_not_distinct=True),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    check_id: UUID = Field(
        sa_column=Column(Uuid, ForeignKey("whereabouts_check.id", ondelete="CASCADE"), nullable=False)
    )
    step: Step = Field(sa_column=Column(String(16), nullable=False))
    school_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("school.id")))
    done_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    unverified: int = Field(sa_column=Column(Integer, nullable=False))
    """How many tablets it was about."""
