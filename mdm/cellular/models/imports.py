"""Files that came in, and what was wrong with which of their lines. Knows lines by number, not by what they say."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    func,
    text,
)
from sqlmodel import Field, SQLModel


class ImportKind(StrEnum):
    """What a file holds."""

    SIMS = "sims"
    USAGE = "usage"
    BILL = "bill"


class BatchState(StrEnum):
    """How far a file has come."""

    RUNNING = "running"
    APPLIED = "applied"
    REFUSED = "refused"
    """Nothing of it was written."""


class ImportBatch(SQLModel, table=True):
    """One file; the same bytes under the same mapping are applied once."""

    __tablename__ = "import_batch"
    __table_args__ = (
        Index(
            "import_batch_once",
            "account_id",
            "kind",
            "sha256",
            "mapping_version",
            unique=True,
            postgresql_where=text("state = 'applied'"),
        ),
        Index("import_batch_newest", "account_id", "id"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    account_id: int = Field(sa_column=Column(BigInteger, ForeignKey("carrier_account.id"), nullable=False))
    kind: ImportKind = Field(sa_column=Column(String(8), nullable=False))
    sha256: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    mapping_version: int = Field(sa_column=Column(Integer, nullable=False))
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    state: BatchState = Field(sa_column=Column(String(16), nullable=False))
    rows_new: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    rows_changed: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    rows_same: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    rows_bad: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    started_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    finished_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    brought_by: str = Field(sa_column=Column(String(80), nullable=False))
    """`operator:<name>` or `system:<part>`."""


class ImportRow(SQLModel, table=True):
    """A line that was left out, or is odd; lines without a fault leave no row."""

    __tablename__ = "import_row"
    __table_args__ = (PrimaryKeyConstraint("batch_id", "line", "level"),)

    batch_id: int = Field(
        sa_column=Column(
            BigInteger, ForeignKey("import_batch.id", ondelete="CASCADE"), nullable=False, autoincrement=False
        )
    )
    line: int = Field(sa_column=Column(Integer, nullable=False, autoincrement=False))
    level: str = Field(sa_column=Column(String(8), nullable=False))
    """`error`, `warning` or `info`."""
    reason: str = Field(sa_column=Column(String(200), nullable=False))
    """Which column and what is wrong with it; never the value."""
