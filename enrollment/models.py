"""Tables of the way in: the device CA, tickets, and SCEP transactions."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Integer,
    LargeBinary,
    String,
    Uuid,
    func,
    text,
)
from sqlmodel import Field, SQLModel


class Authority(SQLModel, table=True):
    """The device CA; the newest row signs, all rows are trusted until they expire."""

    __tablename__ = "authority"

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    certificate: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """DER."""
    key_sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """`vault.seal("authority.key", PKCS#8 DER)`."""
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))


class TicketKind(StrEnum):
    """Whom a ticket admits."""

    TABLET = "tablet"
    """One tablet of the ledger, once."""
    STAGING = "staging"
    """The set-up bench of one school: N uses until a time."""
    RENEWAL = "renewal"
    """The challenge inside a renewal profile: one tablet, once, longer lived."""


class Ticket(SQLModel, table=True):
    """A one-time challenge or a staging ticket; only the hash of its secret is kept."""

    __tablename__ = "ticket"

    id: UUID | None = Field(default=None, sa_column=Column(Uuid, primary_key=True, server_default=text("uuidv7()")))
    kind: TicketKind = Field(sa_column=Column(String(16), nullable=False))
    secret_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False, unique=True))
    """SHA-256 of the secret that is both the profile's download key and the SCEP challenge."""
    platform: str = Field(sa_column=Column(String(16), nullable=False))
    device_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("device.id"), index=True))
    school_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("school.id"), index=True))
    uses: int = Field(sa_column=Column(Integer, nullable=False))
    """How often it may be used in all."""
    used: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    created_by: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("operator.id")))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    expires_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    revoked_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))


class ScepTransaction(SQLModel, table=True):
    """A finished SCEP transaction: the same id with the same key gets the same certificate again."""

    __tablename__ = "scep_transaction"

    transaction_id: str = Field(sa_column=Column(String(128), primary_key=True))
    public_key_hash: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """SHA-256 of the SubjectPublicKeyInfo in DER."""
    certificate: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """The issued certificate in DER."""
    at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
