"""Schools, classes and holders. A holder is exactly the items of R-26; the control number stands on the tablet."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    LargeBinary,
    SmallInteger,
    String,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
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
