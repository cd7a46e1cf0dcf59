"""Tables of the support desk. A case keeps the tablet's numbers itself, so that it outlives the tablet's record."""

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
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

from mdm.support.kinds import Caller, CaseKind, Verified
from mdm.support.states import State


def _moment(*, nullable: bool = True) -> Column[Any]:
    return Column(DateTime(timezone=True), nullable=nullable)


class Case(SQLModel, table=True):
    """One matter of one tablet. No name and no free text of persons: who holds it is a user id (R-26)."""

    __tablename__ = "support_case"
    __table_args__ = (
        Index("support_case_open", "serial", unique=True, postgresql_where=text("closed_at IS NULL")),
        Index("support_case_deadline", "deadline_at", postgresql_where=text("closed_at IS NULL")),
        Index("support_case_serial", "serial", "id"),
        Index("support_case_school", "school_id", "id"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    kind: CaseKind = Field(sa_column=Column(String(16), nullable=False))
    state: State = Field(sa_column=Column(String(24), nullable=False))
    """As last settled (`progress`); what is shown is worked out anew from what the tablet has said."""
    device_id: int | None = Field(
        default=None, sa_column=Column(BigInteger, ForeignKey("device.id", ondelete="SET NULL"), index=True)
    )
    """NULL once the tablet's record is gone; the two numbers below stay."""
    control_number: str = Field(sa_column=Column(String(32), nullable=False))
    serial: str = Field(sa_column=Column(String(32), nullable=False))
    school_id: int = Field(sa_column=Column(BigInteger, ForeignKey("school.id"), nullable=False))
    user_id: str | None = Field(default=None, sa_column=Column(String(64)))
    """Who held the tablet when the case was opened."""
    caller: Caller = Field(sa_column=Column(String(16), nullable=False))
    verified: Verified = Field(sa_column=Column(String(16), nullable=False))
    opened_by: int = Field(sa_column=Column(BigInteger, ForeignKey("operator.id"), nullable=False))
    opened_at: datetime = Field(sa_column=_moment(nullable=False))
    deadline_at: datetime = Field(sa_column=_moment(nullable=False))
    escalations: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    """How often its time has run out."""
    due_on: date | None = Field(default=None, sa_column=Column(Date))
    """For a late return: the day on which the tablet should have come back."""
    text_shown: dict[str, Any] = Field(
        default_factory=dict, sa_column=Column(JSONB, nullable=False, server_default="{}")
    )
    """Message, telephone number and footnote on the locked tablet (R-09)."""
    wants_lock: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default="false"))
    wants_wipe: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default="false"))
    """The desk wants it erased, whatever has become of single requests."""
    came_back_at: datetime | None = Field(default=None, sa_column=_moment())
    """When the tablet enrolled anew while it was being looked for."""
    sim_wanted: str | None = Field(default=None, sa_column=Column(String(16)))
    """`suspended` or `active`: what the carrier is to be asked for; NULL as long as nobody has said."""
    found_at: datetime | None = Field(default=None, sa_column=_moment())
    spare_id: int | None = Field(
        default=None, sa_column=Column(BigInteger, ForeignKey("device.id", ondelete="SET NULL"))
    )
    """The tablet that was handed out instead."""
    spare_number: str | None = Field(default=None, sa_column=Column(String(32)))
    police_report_no: str | None = Field(default=None, sa_column=Column(String(64)))
    insurance_no: str | None = Field(default=None, sa_column=Column(String(64)))
    closed_at: datetime | None = Field(default=None, sa_column=_moment())
    closed_by: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("operator.id")))
    """NULL for a case that closed by itself, when the tablet had said the last word."""


class CaseEvent(SQLModel, table=True):
    """One line of a case's timeline; the database refuses to change or delete it."""

    __tablename__ = "case_event"
    __table_args__ = (Index("case_event_case", "case_id", "id"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    case_id: int = Field(sa_column=Column(BigInteger, ForeignKey("support_case.id"), nullable=False))
    at: datetime = Field(
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp())
    )
    actor: str = Field(sa_column=Column(String(80), nullable=False))
    what: str = Field(sa_column=Column(String(40), nullable=False))
    details: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """Facts; nothing personal beyond the six items of R-26."""


class CaseCommand(SQLModel, table=True):
    """A command that a case asked for, or found in line when it asked."""

    __tablename__ = "case_command"
    __table_args__ = (Index("case_command_of", "command_id"),)

    case_id: int = Field(sa_column=Column(BigInteger, ForeignKey("support_case.id"), primary_key=True))
    command_id: UUID = Field(sa_column=Column(Uuid, primary_key=True))
    """No foreign key: ended commands move to another table."""
    purpose: str = Field(sa_column=Column(String(16), nullable=False))


class Repair(SQLModel, table=True):
    """One journey of a broken tablet to a repairer and back."""

    __tablename__ = "case_repair"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    case_id: int = Field(sa_column=Column(BigInteger, ForeignKey("support_case.id"), nullable=False, index=True))
    order_number: str = Field(sa_column=Column(String(64), nullable=False))
    vendor: str = Field(sa_column=Column(String(100), nullable=False))
    """The company."""
    sent_on: date = Field(sa_column=Column(Date, nullable=False))
    back_on: date | None = Field(default=None, sa_column=Column(Date))


class DeskSetting(SQLModel, table=True):
    """One setting of the desk; rows are only added, the newest of a name and school holds."""

    __tablename__ = "desk_setting"
    __table_args__ = (Index("desk_setting_newest", "name", "school_id", "id"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    name: str = Field(sa_column=Column(String(32), nullable=False))
    school_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("school.id")))
    value: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    """NULL takes it back."""
    set_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    set_by: str = Field(sa_column=Column(String(80), nullable=False))
