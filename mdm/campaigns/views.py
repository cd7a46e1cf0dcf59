"""What the API shows of campaigns: the request as it is signed, where it stands, its tablets. Reads only."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field
from sqlmodel import Session, col, select

from mdm.auth.models import Operator
from mdm.campaigns import choosing, manifest, progress, signatures
from mdm.campaigns.fitness import Facts
from mdm.campaigns.models import LIVE, Campaign, CampaignState, CampaignTablet, TabletState
from mdm.campaigns.terms import Window


class LeftOutLine(BaseModel):
    """A tablet that was asked for and is not in a campaign."""

    control_number: str = Field(description="Or its place in the list (`#3`), for what is no control number.")
    reason: str = Field(examples=["no_scan"])


class PlannedTablet(BaseModel):
    """A tablet that would be in a campaign."""

    control_number: str
    serial: str
    school: str
    scanned_at: datetime


class PlannedCampaign(BaseModel):
    """What a campaign would be; nothing of it is kept."""

    tablets: list[PlannedTablet]
    left_out: list[LeftOutLine]
    waves: list[int] = Field(description="Wipes in the first wave, in the second, and in each later one.")


class SignatureLine(BaseModel):
    """Who approved for which side."""

    side: str = Field(description="`board` (甲) or `contractor` (乙).")
    by: str
    signed_at: datetime


class CampaignLine(BaseModel):
    """A bulk wipe."""

    id: UUID
    name: str
    state: CampaignState
    reason: str
    filter: dict[str, Any]
    window: dict[str, Any]
    tablets: int
    requested_by: str
    requested_by_id: int
    requested_at: datetime
    expires_at: datetime = Field(description="Signatures are taken until then.")
    started_at: datetime | None
    ended_at: datetime | None
    note: str = Field(description="Why it is paused or over, and by whom.")
    counts: dict[TabletState, int]
    left_out: int = Field(description="Tablets that were asked for and are not in it.")


class CampaignDetail(CampaignLine):
    """A bulk wipe with all that is signed of it."""

    action: str = Field(examples=[manifest.ACTION])
    subject: dict[str, Any] = Field(description="All of what would be done; with action, reason, asker and end signed.")
    digest: str = Field(description="SHA-256 of that: what the two approvers sign.")
    signatures: list[SignatureLine]
    not_before: datetime | None = Field(description="When the cooling time is over and the window open, as of now.")
    wave: int = Field(description="The present wave, or the next.")
    left_out_tablets: list[LeftOutLine]


class TabletLine(BaseModel):
    """A tablet of a campaign; the first seven fields are signed."""

    id: int
    serial: str
    control_number: str
    school: str
    epoch: int
    evidence: int = Field(description="The scan by which it was in our hands.")
    scanned_at: str = Field(
        description="In the spelling that is signed.", examples=["2027-03-30T01:00:00.000000+00:00"]
    )
    state: TabletState
    reason: str = Field(description="Why it fell out or failed.", examples=["not_returned"])
    wave: int | None
    command_id: UUID | None
    left_at: datetime | None = Field(description="When the sender let its wipe go.")
    delivered_at: datetime | None
    ended_at: datetime | None


def planned(session: Session, chosen: choosing.Chosen) -> PlannedCampaign:
    """Show a plan."""
    return PlannedCampaign(
        tablets=[_planned(each) for each in chosen.tablets],
        left_out=[LeftOutLine(**each) for each in chosen.left_out],
        waves=list(progress.sizes(session)),
    )


def _planned(facts: Facts) -> PlannedTablet:
    assert facts.scanned_at is not None
    return PlannedTablet(
        control_number=facts.control_number, serial=facts.serial, school=facts.school, scanned_at=facts.scanned_at
    )


def lines(session: Session, campaigns: list[Campaign]) -> list[CampaignLine]:
    """Show campaigns in short."""
    names = _names(session, {each.requested_by for each in campaigns})
    return [CampaignLine(**_common(session, each, names)) for each in campaigns]


def detail(session: Session, campaign: Campaign) -> CampaignDetail:
    """Show one campaign whole, but for its list of tablets."""
    assert campaign.id is not None
    session.refresh(campaign)
    there = signatures.of_campaign(session, campaign.id)
    names = _names(session, {campaign.requested_by, *(each.operator_id for each in there)})
    now = choosing.now(session)
    opens = None
    if campaign.state in LIVE and campaign.state != CampaignState.REQUESTED and there:
        opens = Window.model_validate(campaign.window).opens_at(max(now, signatures.cooled_at(session, there)))
    return CampaignDetail(
        **_common(session, campaign, names),
        action=manifest.ACTION,
        subject=manifest.subject(campaign),
        digest=campaign.digest.hex(),
        signatures=[SignatureLine(side=e.side, by=names[e.operator_id], signed_at=e.signed_at) for e in there],
        not_before=opens,
        wave=progress.room_now(session, campaign.id, now).wave,
        left_out_tablets=[LeftOutLine(**each) for each in campaign.left_out],
    )


def _common(session: Session, campaign: Campaign, names: dict[int, str]) -> dict[str, Any]:
    assert campaign.id is not None
    kept = ("id", "name", "state", "reason", "filter", "window", "tablets", "requested_at", "expires_at", "started_at")
    return {name: getattr(campaign, name) for name in (*kept, "ended_at", "note")} | {
        "requested_by": names[campaign.requested_by],
        "requested_by_id": campaign.requested_by,
        "counts": progress.counts(session, campaign.id),
        "left_out": len(campaign.left_out),
    }


def _names(session: Session, ids: set[int]) -> dict[int, str]:
    rows = session.exec(select(Operator.id, Operator.name).where(col(Operator.id).in_(ids)))
    return {id_: name for id_, name in rows if id_ is not None}


def tablets(
    session: Session, campaign_id: UUID, *, state: TabletState | None, after: int, limit: int
) -> list[CampaignTablet]:
    """Return tablets of a campaign, in the order of their ids, those after `after` only."""
    statement = select(CampaignTablet).where(
        CampaignTablet.campaign_id == campaign_id, col(CampaignTablet.device_id) > after
    )
    if state is not None:
        statement = statement.where(col(CampaignTablet.state) == state.value)
    return list(session.exec(statement.order_by(col(CampaignTablet.device_id)).limit(limit)))


def tablet(row: CampaignTablet) -> TabletLine:
    """Show one tablet of a campaign."""
    told = ("state", "reason", "wave", "command_id", "left_at", "delivered_at", "ended_at")
    return TabletLine(**manifest.line(row), **{name: getattr(row, name) for name in told})
