"""The tables of bulk wipes: the campaign, its frozen list of tablets, and the signatures under both."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
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


class CampaignState(StrEnum):
    """The life of a campaign."""

    REQUESTED = "requested"
    """Waits for its two signatures."""
    APPROVED = "approved"
    """Signed twice; the cooling time runs, or the window is not open yet."""
    RUNNING = "running"
    """A first wipe has left."""
    PAUSED = "paused"
    ENDED = "ended"
    ABORTED = "aborted"
    EXPIRED = "expired"
    """Nobody signed in time."""
    REFUSED = "refused"
    """The sender found that what would be done is not what was signed."""


LIVE = (CampaignState.REQUESTED, CampaignState.APPROVED, CampaignState.RUNNING, CampaignState.PAUSED)
"""What is not over."""
_LIVE_SQL = "state IN ('requested', 'approved', 'running', 'paused')"


class TabletState(StrEnum):
    """Where one tablet of a campaign stands."""

    WAITING = "waiting"
    HELD = "held"
    """Its wipe is written down and waits for the sender."""
    SENT = "sent"
    """The sender let its wipe go; the tablet has not said that it is done."""
    DONE = "done"
    FAILED = "failed"
    FELL_OUT = "fell_out"
    """It is not wiped by this campaign; `reason` says why."""


def _moment(*, nullable: bool = True) -> "Column[datetime]":
    return Column(DateTime(timezone=True), nullable=nullable)


class Campaign(SQLModel, table=True):
    """One bulk wipe. What was signed of it is never changed; the database holds that, and the digest shows it."""

    __tablename__ = "campaign"
    __table_args__ = (Index("campaign_live", "id", postgresql_where=text(_LIVE_SQL)),)

    id: UUID | None = Field(default=None, sa_column=Column(Uuid, primary_key=True, server_default=text("uuidv7()")))
    name: str = Field(sa_column=Column(String(100), nullable=False))
    reason: str = Field(sa_column=Column(String(400), nullable=False))
    filter: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """How the tablets were chosen; of a list of control numbers only how many there were."""
    window: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """When wipes may leave (`terms.Window`)."""
    arguments: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    """Of every wipe."""
    tablets: int = Field(sa_column=Column(Integer, nullable=False))
    snapshot: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """SHA-256 of the list of tablets (`manifest`)."""
    digest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))
    """SHA-256 of all of it, as `signing.digest` makes it: what is signed."""
    left_out: list[dict[str, str]] = Field(sa_column=Column(JSONB, nullable=False))
    """Who was asked for and is not in it: `control_number` and `reason`."""
    school_ids: list[int] = Field(sa_column=Column(ARRAY(BigInteger), nullable=False))
    """The schools of all tablets that it names: whoever has not all of them does not see it."""
    state: CampaignState = Field(
        default=CampaignState.REQUESTED, sa_column=Column(String(16), nullable=False, server_default="requested")
    )
    requested_by: int = Field(sa_column=Column(BigInteger, ForeignKey("operator.id"), nullable=False))
    requested_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))
    expires_at: datetime = Field(sa_column=_moment(nullable=False))
    """Signatures are taken until then."""
    started_at: datetime | None = Field(default=None, sa_column=_moment())
    ended_at: datetime | None = Field(default=None, sa_column=_moment())
    note: str = Field(default="", sa_column=Column(String(200), nullable=False, server_default=""))
    """Why it is paused, or why it ended, and by whom."""
    tolerated: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    """Failures that somebody had seen when they let it go on."""


class CampaignSignature(SQLModel, table=True):
    """One approver's signature under a campaign. Rows are only added: one of each side, by pinned keys."""

    __tablename__ = "campaign_signature"
    __table_args__ = (CheckConstraint("side IN ('board', 'contractor')", name="campaign_signature_side"),)

    campaign_id: UUID = Field(sa_column=Column(Uuid, ForeignKey("campaign.id"), primary_key=True))
    side: str = Field(sa_column=Column(String(16), primary_key=True))
    """The tier of the signer's organization: the board (甲) or a contractor (乙)."""
    operator_id: int = Field(sa_column=Column(BigInteger, ForeignKey("operator.id"), nullable=False))
    key_id: int = Field(sa_column=Column(BigInteger, ForeignKey("approver_key.id"), nullable=False))
    signature: dict[str, str] = Field(sa_column=Column(JSONB, nullable=False))
    """As it was given (`signing.Signature`), so that the sender can verify it again."""
    signed_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False, server_default=func.now()))


class CampaignTablet(SQLModel, table=True):
    """One tablet of a campaign: what was signed of it, and what became of it."""

    __tablename__ = "campaign_tablet"
    __table_args__ = (
        Index("campaign_tablet_command", "command_id", unique=True, postgresql_where=text("command_id IS NOT NULL")),
        Index("campaign_tablet_open", "device_id", postgresql_where=text("state IN ('waiting', 'held', 'sent')")),
    )

    campaign_id: UUID = Field(sa_column=Column(Uuid, ForeignKey("campaign.id"), primary_key=True))
    device_id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    """No foreign key: the record of what was erased outlives the tablet's row."""
    serial: str = Field(sa_column=Column(String(32), nullable=False))
    control_number: str = Field(sa_column=Column(String(32), nullable=False))
    school: str = Field(sa_column=Column(String(32), nullable=False))
    """Its school's code."""
    epoch: int = Field(sa_column=Column(Integer, nullable=False))
    """Of its enrolment: one that enrols again is another tablet."""
    evidence_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    """The scan that shows that it is in our hands (`checks`); so far all this is signed."""
    scanned_at: datetime = Field(sa_column=_moment(nullable=False))
    scanned_in: int | None = Field(default=None, sa_column=Column(BigInteger))
    """The school in which, where that was said; not signed."""
    holder_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    """Whoever had it last; not signed, never shown."""
    state: TabletState = Field(
        default=TabletState.WAITING, sa_column=Column(String(16), nullable=False, server_default="waiting")
    )
    reason: str = Field(default="", sa_column=Column(String(40), nullable=False, server_default=""))
    wave: int | None = Field(default=None, sa_column=Column(SmallInteger))
    command_id: UUID | None = Field(default=None, sa_column=Column(Uuid))
    """Its wipe. No foreign key: old commands are dropped by month."""
    left_at: datetime | None = Field(default=None, sa_column=_moment())
    delivered_at: datetime | None = Field(default=None, sa_column=_moment())
    ended_at: datetime | None = Field(default=None, sa_column=_moment())
