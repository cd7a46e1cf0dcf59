"""Schools, classes, holders; and the organizations, contracts and handlers to whom work is entrusted.

A holder is exactly the items of R-26; the control number stands on the tablet.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
    String,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel


class School(SQLModel, table=True):
    """A school of the district, known by its code."""

    __tablename__ = "school"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    code: str = Field(sa_column=Column(String(32), nullable=False, unique=True))
    name: str = Field(sa_column=Column(String(100), nullable=False))


class SchoolClass(SQLModel, table=True):
    """A class: a school year (学年) and a name within a school."""

    __tablename__ = "school_class"
    __table_args__ = (UniqueConstraint("school_id", "year", "name"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    school_id: int = Field(sa_column=Column(BigInteger, ForeignKey("school.id"), nullable=False))
    year: int = Field(sa_column=Column(SmallInteger, nullable=False))
    name: str = Field(sa_column=Column(String(32), nullable=False))


class SchoolCalendar(SQLModel, table=True):
    """The district's calendar (no school) or what a school has of its own; `calendar_document` says what is in it."""

    __tablename__ = "school_calendar"
    __table_args__ = (UniqueConstraint("school_id", postgresql_nulls_not_distinct=True),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    school_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("school.id")))
    document: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    updated_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))


class Holder(SQLModel, table=True):
    """A pupil or teacher: school, year and class, name (sealed), user id. Nothing else may be added (R-26)."""

    __tablename__ = "holder"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    school_id: int = Field(sa_column=Column(BigInteger, ForeignKey("school.id"), nullable=False, index=True))
    class_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("school_class.id"), index=True))
    user_id: str = Field(sa_column=Column(String(64), nullable=False, unique=True))
    name_sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """`vault.seal("holder.name", …)`."""


class Tier(StrEnum):
    """Whose an organization is (R-51). The tree ends there: nobody may entrust work on from the third."""

    BOARD = "board"
    """甲."""
    CONTRACTOR = "contractor"
    """乙."""
    SUBCONTRACTOR = "subcontractor"
    """丙."""


class HandlerKind(StrEnum):
    """What a handler answers for (R-57)."""

    RESPONSIBLE = "responsible"
    """取扱責任者."""
    HANDLER = "handler"
    """取扱者."""


class Organization(SQLModel, table=True):
    """The board, a contractor or a sub-contractor; the database keeps the tree from growing below the third."""

    __tablename__ = "organization"
    __table_args__ = (
        CheckConstraint("tier IN ('board', 'contractor', 'subcontractor')", name="organization_tier"),
        CheckConstraint("(tier = 'board') = (parent_id IS NULL)", name="organization_parent"),
        CheckConstraint(
            "tier <> 'subcontractor' OR (consent_document IS NOT NULL AND consent_on IS NOT NULL)",
            name="organization_consent",
        ),
        UniqueConstraint("id", "tier", name="organization_id_tier"),
        ForeignKeyConstraint(
            ["parent_id", "parent_tier"], ["organization.id", "organization.tier"], name="organization_depth"
        ),
        Index("organization_board", "tier", unique=True, postgresql_where="tier = 'board'"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    name: str = Field(sa_column=Column(String(100), nullable=False, unique=True))
    tier: Tier = Field(sa_column=Column(String(16), nullable=False))
    parent_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    parent_tier: str | None = Field(
        default=None,
        sa_column=Column(
            String(16),
            Computed(
                # In PostgreSQL's own words, so that a comparison with the database finds no difference.
                "CASE tier WHEN 'contractor'::text THEN 'board'::text"
                " WHEN 'subcontractor'::text THEN 'contractor'::text ELSE NULL::text END",
                persisted=True,
            ),
        ),
    )
    """The tier that its parent must have."""
    consent_document: str | None = Field(default=None, sa_column=Column(String(200)))
    """Where the board's written consent is filed, for a sub-contractor."""
    consent_on: date | None = Field(default=None, sa_column=Column(Date))
    certificate: str | None = Field(default=None, sa_column=Column(String(200)))
    """A third party's certificate, such as the Privacy Mark (R-43)."""
    certificate_until: date | None = Field(default=None, sa_column=Column(Date))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))


class Contract(SQLModel, table=True):
    """One version of a contract: a period, the duties, and which one it renews (R-32). Nothing is overwritten."""

    __tablename__ = "contract"
    __table_args__ = (
        CheckConstraint("starts_on <= ends_on AND cardinality(duties) > 0", name="contract_period"),
        Index("contract_organization", "organization_id"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    organization_id: int = Field(sa_column=Column(BigInteger, ForeignKey("organization.id"), nullable=False))
    starts_on: date = Field(sa_column=Column(Date, nullable=False))
    ends_on: date = Field(sa_column=Column(Date, nullable=False))
    """Its last day."""
    duties: list[str] = Field(sa_column=Column(ARRAY(String(16)), nullable=False))
    document: str = Field(sa_column=Column(String(200), nullable=False))
    renews_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("contract.id"), unique=True))
    terminated_on: date | None = Field(default=None, sa_column=Column(Date))
    """The last day after all, when it ended before its time."""
    recorded_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    recorded_by: str = Field(sa_column=Column(String(80), nullable=False))


class Handler(SQLModel, table=True):
    """Who handles information at a contractor (取扱責任者, 取扱者); no account without one (R-57)."""

    __tablename__ = "handler"
    __table_args__ = (
        CheckConstraint("valid_until IS NULL OR valid_from <= valid_until", name="handler_period"),
        CheckConstraint("kind IN ('responsible', 'handler')", name="handler_kind"),
        UniqueConstraint("organization_id", "label"),
        UniqueConstraint("id", "organization_id", name="handler_id_organization"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    organization_id: int = Field(sa_column=Column(BigInteger, ForeignKey("organization.id"), nullable=False))
    kind: HandlerKind = Field(sa_column=Column(String(16), nullable=False))
    label: str = Field(sa_column=Column(String(64), nullable=False))
    """The number or code by which the organization knows the person."""
    name_sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """`vault.seal("handler.name", …)`."""
    duties: list[str] = Field(sa_column=Column(ARRAY(String(16)), nullable=False))
    valid_from: date = Field(sa_column=Column(Date, nullable=False))
    valid_until: date | None = Field(default=None, sa_column=Column(Date))
    """The last day."""
    notice_on: date | None = Field(default=None, sa_column=Column(Date))
    """When the person was told of its duties and of the penalties, and pledged (R-52)."""
    notice_document: str | None = Field(default=None, sa_column=Column(String(200)))


class HandlerChange(SQLModel, table=True):
    """One change of a handler, for the reports that are due of it (R-57). Holds no name."""

    __tablename__ = "handler_change"
    __table_args__ = (Index("handler_change_handler", "handler_id"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    handler_id: int = Field(sa_column=Column(BigInteger, ForeignKey("handler.id"), nullable=False))
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    by: str = Field(sa_column=Column(String(80), nullable=False))
    what: str = Field(sa_column=Column(String(16), nullable=False))
    """`registered` or `changed`."""
    before: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB))
    after: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
