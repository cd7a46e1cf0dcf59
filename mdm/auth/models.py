"""Tables of operators. Passwords as argon2id, sessions and tokens as SHA-256 of 256 random bits; nothing reversible."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, Identity, LargeBinary, String, func
from sqlmodel import Field, SQLModel


class Role(StrEnum):
    """What an operator may do; which schools is a matter of scope, not of role."""

    ADMINISTRATOR = "administrator"
    SUPPORT = "support"
    VIEWER = "viewer"


class Operator(SQLModel, table=True):
    """A person (or a machine) who signs in."""

    __tablename__ = "operator"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    name: str = Field(sa_column=Column(String(64), nullable=False, unique=True))
    password_hash: str = Field(sa_column=Column(String(256), nullable=False))
    role: Role = Field(sa_column=Column(String(16), nullable=False))
    all_schools: bool = False
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    disabled_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))


class OperatorSchool(SQLModel, table=True):
    """One school in an operator's scope; not read where `all_schools` is set."""

    __tablename__ = "operator_school"

    operator_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("operator.id", ondelete="CASCADE"), primary_key=True)
    )
    school_id: int = Field(sa_column=Column(BigInteger, ForeignKey("school.id"), primary_key=True))


class Credential(SQLModel, table=True):
    """A session or an API token: the hash of a secret that was shown once."""

    __tablename__ = "credential"

    secret_hash: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    operator_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("operator.id", ondelete="CASCADE"), nullable=False, index=True)
    )
    kind: str = Field(sa_column=Column(String(16), nullable=False))
    """`session` or `token`."""
    label: str = Field(default="", sa_column=Column(String(64), nullable=False))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    expires_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    revoked_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))


class IdempotencyRecord(SQLModel, table=True):
    """The answer to a request that carried an `Idempotency-Key`, replayed for 24 hours."""

    __tablename__ = "idempotency_record"

    operator_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("operator.id", ondelete="CASCADE"), primary_key=True)
    )
    key: str = Field(sa_column=Column(String(128), primary_key=True))
    route: str = Field(sa_column=Column(String(200), primary_key=True))
    body_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    status: int
    answer: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
