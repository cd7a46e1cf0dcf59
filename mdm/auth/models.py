"""Tables of operators. Passwords as argon2id, sessions and tokens as SHA-256 of 256 random bits; nothing reversible."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    LargeBinary,
    String,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class Role(StrEnum):
    """A person's duty, which decides what it may do (`mdm.auth.rights`); which schools is a matter of scope."""

    ADMINISTRATOR = "administrator"
    """The board's own: policies, accounts, limits, safeguards."""
    SUPPORT = "support"
    """The board's own desk."""
    AUDITOR = "auditor"
    """Inspects: reads what the board reads, with the trail, and changes nothing (R-33)."""
    VIEWER = "viewer"
    SUPERVISION = "supervision"
    """Watches over sub-contractors and decides on their wipes as a second person (R-31, R-42)."""
    OPERATION = "operation"
    """Operation, maintenance and faults of tablets (R-29)."""
    LOSS_DESK = "loss_desk"
    """Theft and loss (R-28, R-42)."""
    REPAIR_DESK = "repair_desk"
    """Faults and repairs (R-41)."""
    SCHOOL = "school"
    """A school's own staff: its tablets, calendar and whereabouts checks (R-19)."""


class Operator(SQLModel, table=True):
    """A person (or a machine) who signs in."""

    __tablename__ = "operator"
    __table_args__ = (
        ForeignKeyConstraint(
            ["handler_id", "organization_id"], ["handler.id", "handler.organization_id"], name="operator_handler"
        ),
        CheckConstraint("(organization_id IS NULL) = (handler_id IS NULL)", name="operator_of_handler"),
        CheckConstraint(
            "organization_id IS NULL OR role IN ('supervision', 'operation', 'loss_desk', 'repair_desk')",
            name="operator_duty",
        ),
        Index("operator_handler_id", "handler_id"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    name: str = Field(sa_column=Column(String(64), nullable=False, unique=True))
    password_hash: str = Field(sa_column=Column(String(256), nullable=False))
    role: Role = Field(sa_column=Column(String(16), nullable=False))
    all_schools: bool = False
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    disabled_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    break_glass: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default="false"))
    """For when nothing else lets anybody in: its sign-in calls everyone."""
    second_factor_waived: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default="false"))
    """The founding account before it has its first second factor; never set again afterwards."""
    elevated_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When somebody else last gave the account more: a higher role, more schools, a password, its way back in."""
    made_on_host: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default="false"))
    """Made with the database in hand, as the first ones are: never too young for what cannot be undone."""
    organization_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    """The contractor's or sub-contractor's whose account it is; None: the board's own."""
    handler_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    """The registered handler who signs in with it; `mdm.auth.entitlement` says when that lets anybody in."""


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
    used_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """Of a session: its last use, to the minute."""
    proved_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When its person last proved to be there; None for a token, and for a sign-in elsewhere that does not say."""
    factors: list[str] = Field(default=[], sa_column=Column(JSONB, nullable=False, server_default=text("'[]'")))
    """By what (`mdm.auth.principal.Factor`)."""
    address: str = Field(default="", sa_column=Column(String(64), nullable=False, server_default=""))
    """From where it was opened."""
    actions: list[str] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    """What a token may do, a part of what its owner may; None: all of it (a session)."""
    school_ids: list[int] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    """Which of its owner's schools a token reaches; None: all of them."""


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
