"""Tables of how operators prove who they are. Secrets sealed or hashed; of a security key only its public half."""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, Column, DateTime, ForeignKey, Index, LargeBinary, String, func
from sqlalchemy import Identity as Counted
from sqlmodel import Field, SQLModel


def _operator(*, primary_key: bool = False, nullable: bool = False, index: bool = False) -> Column[int]:
    key = ForeignKey("operator.id", ondelete="CASCADE")
    return Column("operator_id", BigInteger, key, primary_key=primary_key, nullable=nullable, index=index)


def _moment(*, default: bool = False, index: bool = False, nullable: bool = False) -> Column[datetime]:
    server_default = func.now() if default else None
    return Column(DateTime(timezone=True), nullable=nullable, server_default=server_default, index=index)


class Totp(SQLModel, table=True):
    """An operator's app that shows a code each 30 seconds (RFC 6238)."""

    __tablename__ = "totp"

    operator_id: int = Field(sa_column=_operator(primary_key=True))
    secret_sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    created_at: datetime = Field(sa_column=_moment(default=True))
    confirmed_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))
    """None until a first code has shown that the app has the secret; till then it opens nothing."""
    last_step: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    """The time step of the newest accepted code: no code opens twice, nor one that is older."""


class RecoveryCode(SQLModel, table=True):
    """One way in for who has lost the second factor: 80 random bits, kept as a hash, good once."""

    __tablename__ = "recovery_code"

    code_hash: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    operator_id: int = Field(sa_column=_operator(index=True))
    created_at: datetime = Field(sa_column=_moment(default=True))
    used_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))


class Passkey(SQLModel, table=True):
    """An operator's security key or passkey (WebAuthn)."""

    __tablename__ = "passkey"

    credential_id: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    operator_id: int = Field(sa_column=_operator(index=True))
    public_key: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """COSE."""
    sign_count: int = Field(sa_column=Column(BigInteger, nullable=False))
    aaguid: str = Field(sa_column=Column(String(36), nullable=False))
    backed_up: bool = Field(sa_column=Column(Boolean, nullable=False))
    label: str = Field(sa_column=Column(String(64), nullable=False))
    created_at: datetime = Field(sa_column=_moment(default=True))
    used_at: datetime | None = Field(default=None, sa_column=_moment(nullable=True))


class Ceremony(SQLModel, table=True):
    """Something that begins in one request and ends, once, in another: a challenge, a way to the identity provider."""

    __tablename__ = "ceremony"

    handle_hash: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    kind: str = Field(sa_column=Column(String(24), nullable=False))
    operator_id: int | None = Field(default=None, sa_column=_operator(nullable=True))
    content_sealed: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    expires_at: datetime = Field(sa_column=_moment(index=True))


class Identity(SQLModel, table=True):
    """Who an operator is at the identity provider: never an e-mail address, which may pass to somebody else."""

    __tablename__ = "operator_identity"

    issuer: str = Field(sa_column=Column(String(200), primary_key=True))
    subject: str = Field(sa_column=Column(String(255), primary_key=True))
    operator_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("operator.id", ondelete="CASCADE"), nullable=False, unique=True)
    )
    signed_in_at: datetime = Field(sa_column=_moment(default=True))


class SignInAttempt(SQLModel, table=True):
    """An attempt that counts as failed, under one of the keys by which it is counted; for a quarter of an hour."""

    __tablename__ = "sign_in_attempt"
    __table_args__ = (Index("sign_in_attempt_recent", "key", "at"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Counted(always=True), primary_key=True))
    key: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """A digest of name and address, address, or name."""
    at: datetime = Field(sa_column=_moment(index=True))
