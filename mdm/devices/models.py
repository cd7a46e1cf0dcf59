"""The ledger row of a tablet, its enrolment, the identities issued to it, what it reported, and when to wake it."""

from datetime import datetime
from enum import IntEnum, StrEnum
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
    SmallInteger,
    String,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel


class LedgerState(StrEnum):
    """Where a tablet stands in the ledger (台帳)."""

    STOCK = "stock"
    ISSUED = "issued"
    LOST = "lost"
    REPAIR = "repair"
    RETURNED = "returned"
    RETIRED = "retired"


class EnrollmentStatus(StrEnum):
    """How far the conversation with a tablet has come."""

    ABSENT = "absent"
    """Never arrived."""
    PENDING = "pending"
    """Authenticated; no push token yet."""
    ACTIVE = "active"
    ENDED = "ended"
    """Checked out."""


class Lane(IntEnum):
    """The order in which wake-ups are served; a smaller number goes first."""

    URGENT = 0
    NORMAL = 1
    BULK = 2


class Device(SQLModel, table=True):
    """A tablet in the ledger, enrolled or not."""

    __tablename__ = "device"
    __table_args__ = (Index("device_school_state", "school_id", "state"),)

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(always=True), primary_key=True))
    control_number: str = Field(sa_column=Column(String(32), nullable=False, unique=True))
    serial: str = Field(sa_column=Column(String(32), nullable=False, unique=True))
    """Upper case."""
    platform: str = Field(sa_column=Column(String(16), nullable=False))
    model: str = Field(default="", sa_column=Column(String(64), nullable=False))
    imei: str | None = Field(default=None, sa_column=Column(String(16), index=True))
    """As given, digits only: 14, 15 or 16 of them (lte-and-usage A3.2)."""
    iccid: str | None = Field(default=None, sa_column=Column(String(22), index=True))
    """Digits only, without the check digit's doubt resolved: 18 to 20 of them (A3.2)."""
    school_id: int = Field(sa_column=Column(BigInteger, ForeignKey("school.id"), nullable=False))
    holder_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("holder.id"), index=True))
    lease_contract: str = Field(default="", sa_column=Column(String(64), nullable=False))
    state: LedgerState = Field(default=LedgerState.STOCK, sa_column=Column(String(16), nullable=False))
    updated_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    stocktaken_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When somebody last had it in hand, by a scan or by their word (R-19)."""


class Enrollment(SQLModel, table=True):
    """The conversation with one tablet; made together with its ledger row."""

    __tablename__ = "enrollment"
    __table_args__ = (
        Index("enrollment_stale", "device_id", postgresql_where=text("desired_stale")),
        {"postgresql_with": {"fillfactor": 70}},
    )

    device_id: int = Field(sa_column=Column(BigInteger, ForeignKey("device.id", ondelete="CASCADE"), primary_key=True))
    status: EnrollmentStatus = Field(
        default=EnrollmentStatus.ABSENT, sa_column=Column(String(16), nullable=False, server_default="absent")
    )
    epoch: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    """Raised by each new enrolment; commands of an older epoch are never served."""
    udid: str | None = Field(default=None, sa_column=Column(String(64), unique=True))
    topic: str | None = Field(default=None, sa_column=Column(String(128)))
    push_token: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    push_magic: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    """`vault.seal("enrollment.push_magic", …)`."""
    token_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    unreachable_since: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """Set when the push service says the token is dead; only the tablet's own TokenUpdate repairs it."""
    unlock_token: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    """`vault.seal("enrollment.unlock_token", …)`; never overwritten by absence."""
    awaiting_configuration: bool = Field(
        default=False, sa_column=Column(Boolean, nullable=False, server_default="false")
    )
    supervised: bool | None = None
    os_version: str = Field(default="", sa_column=Column(String(32), nullable=False, server_default=""))
    product: str = Field(default="", sa_column=Column(String(64), nullable=False, server_default=""))
    lost_mode: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default="false"))
    """What the tablet itself last said, by an acknowledged command or its inventory."""
    desired_manifest: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    installed_manifest: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    """Equal to `desired_manifest` when nothing is left to install or remove."""
    desired_stale: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default="false"))
    """The ledger or the facts changed: Job.RETARGET recomputes `desired_manifest`."""
    enrolled_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    last_seen_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    last_push_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))


class DeviceIdentity(SQLModel, table=True):
    """A certificate the device CA issued, and the tablet it belongs to; the association table of apple.md §1.6."""

    __tablename__ = "device_identity"
    __table_args__ = (Index("device_identity_due", "renew_at", postgresql_where=text("revoked_at IS NULL")),)

    sha256: bytes = Field(sa_column=Column(LargeBinary, primary_key=True))
    """SHA-256 of the certificate in DER."""
    device_id: int | None = Field(
        default=None, sa_column=Column(BigInteger, ForeignKey("device.id", ondelete="CASCADE"), index=True)
    )
    """The tablet it is bound to: at issuance for a ticket of one tablet, at Authenticate for a staging ticket."""
    school_id: int | None = Field(default=None, sa_column=Column(BigInteger, ForeignKey("school.id")))
    """For a staging ticket: only tablets that the ledger places in this school may take it."""
    ticket_id: UUID | None = Field(default=None, sa_column=Column(Uuid))
    """Where it came from, for the record; absent for a renewal."""
    renewal: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default="false"))
    """Issued to renew a live identity of the same tablet: its Authenticate keeps the epoch and everything under it."""
    associated_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When a tablet authenticated with it; before that it opens nothing but Authenticate."""
    not_after: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    renew_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    issued_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    revoked_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))


class DeviceReport(SQLModel, table=True):
    """The latest answer of a tablet to one inventory question (DeviceInformation, SecurityInfo, …)."""

    __tablename__ = "device_report"

    device_id: int = Field(sa_column=Column(BigInteger, ForeignKey("device.id", ondelete="CASCADE"), primary_key=True))
    kind: str = Field(sa_column=Column(String(40), primary_key=True))
    received_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    body: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))


class VerificationStatus(StrEnum):
    """How far it is proved that a tablet is what it should be, by its own word."""

    ASKED = "asked"
    """Everything is installed; the tablet has not yet said what it holds."""
    VERIFIED = "verified"
    """It holds every profile and enforces every restriction that was wanted."""
    HEALING = "healing"
    """Something was missing; it is being handed over once more."""
    DRIFTED = "drifted"
    """Something is missing still, after it was handed over twice."""
    UNSUPPORTED = "unsupported"
    """Nothing is missing as far as it says, but it does not say everything."""


class Verification(SQLModel, table=True):
    """What a tablet's own lists say about the manifest that it installed; the row of a tablet's latest manifest."""

    __tablename__ = "verification"

    device_id: int = Field(sa_column=Column(BigInteger, ForeignKey("device.id", ondelete="CASCADE"), primary_key=True))
    manifest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """It speaks of the tablet only while this is its installed manifest."""
    status: VerificationStatus = Field(sa_column=Column(String(16), nullable=False))
    installed_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    """When nothing was left to install; older answers prove nothing."""
    heard_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """The newest answer that was compared."""
    healed_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When what was missing was handed over again; that happens once for each manifest."""
    findings: list[dict[str, Any]] = Field(
        default_factory=list, sa_column=Column(JSONB, nullable=False, server_default="[]")
    )
    """What is missing or not proved: `identifier`, `key` (of a restriction, or null) and `what`."""


class Wakeup(SQLModel, table=True):
    """A tablet that is due a push. The row exists as long as something waits for it; one push whatever waits."""

    __tablename__ = "wakeup"
    __table_args__ = (
        Index("wakeup_due", "lane", "due_at"),
        Index("wakeup_turn", "lane", "school_id", "due_at"),
        {"postgresql_with": {"fillfactor": 70}},
    )

    device_id: int = Field(sa_column=Column(BigInteger, ForeignKey("device.id", ondelete="CASCADE"), primary_key=True))
    school_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    """The tablet's school, so that the next of each school is found without looking at the others; triggers keep it."""
    lane: int = Field(sa_column=Column(SmallInteger, nullable=False))
    due_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    closes_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """Not sent from then on: its window is over, and whoever planned it plans it again. NULL: any time."""
    payload_bytes: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default="0"))
    """About how much this wake-up will make the tablet fetch over LTE."""
    generation: int = Field(default=1, sa_column=Column(BigInteger, nullable=False, server_default="1"))
    """Raised each time new work comes in, so that a check-in that saw less cannot clear it."""
    attempts: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    """Pushes accepted since the tablet was last heard."""
    lease_until: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    lease_token: UUID | None = Field(default=None, sa_column=Column(Uuid))
    """Fencing: only the holder of this token settles."""
