"""Plan and ask for a bulk wipe: freeze the list of tablets, and find campaigns again. Wipes and signs nothing."""

from typing import Final
from uuid import UUID

from sqlalchemy import func, text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import Session, col, select

from mdm.audit import chain
from mdm.auth import Action, Principal, Scope
from mdm.campaigns import choosing, manifest
from mdm.campaigns.choosing import Chosen
from mdm.campaigns.fitness import Facts
from mdm.campaigns.models import LIVE, Campaign, CampaignState, CampaignTablet
from mdm.campaigns.terms import Terms
from mdm.commands.arguments import check_arguments
from mdm.commands.kinds import Kind
from mdm.devices import ledger
from mdm.errors import Conflict, Invalid, NotFound
from mdm.safeguards import approvals, breaker, notices, seasoned, thresholds

_SEEN: Final = "(CAST(:schools AS bigint[]) IS NULL OR campaign.school_ids <@ CAST(:schools AS bigint[]))"
"""A campaign is there for whoever has all of its schools; for others it does not exist."""
_CHUNK: Final = 1000
_SNAPSHOT: Final = {
    *("campaign_id", "device_id", "serial", "control_number", "school", "epoch"),
    *("evidence_id", "scanned_at", "scanned_in", "holder_id"),
}
"""What is written down of a tablet when the list is frozen, and never changed."""


def plan(session: Session, principal: Principal, terms: Terms) -> Chosen:
    """Return who would be in a campaign and who not, and keep nothing."""
    principal.must(Action.RUN_CAMPAIGN)
    _must_come(session, terms)
    return choosing.choose(session, principal.scope, terms.filter)


def request(session: Session, principal: Principal, terms: Terms, *, reason: str) -> Campaign:
    """Ask for a bulk wipe; it waits for two signatures for 24 hours.

    Raises `Forbidden` without the right and for tokens, `YoungAccount`, `Frozen`, `Invalid` without a reason or with a
    window that is over, `Conflict` when no tablet may be wiped.
    """
    with breaker.counted(principal, "campaign.request"):
        principal.must(Action.RUN_CAMPAIGN)
        breaker.must_be_closed(session)
        seasoned.must_be(session, principal.id, thresholds.current(session), what="ask for a bulk wipe")
    if not reason.strip():
        detail = "say why; two others decide on it"
        raise Invalid("this needs approvals, and an approval needs a reason", errors=[_at("/reason", detail)])
    _must_come(session, terms)
    ledger.hold(session)  # a list of one moment, not of half an import
    chosen = choosing.choose(session, principal.scope, terms.filter)
    if not chosen.tablets:
        raise Conflict("no tablet of these may be wiped; `plan` says why each is left out")
    campaign = _made(session, principal, terms, chosen, reason.strip()[:400])
    details = {"tablets": campaign.tablets, "left_out": len(chosen.left_out), "snapshot": campaign.snapshot}
    chain.record(session, principal, "campaign.request", f"campaign:{campaign.id}", details)
    told = {"campaign": str(campaign.id), "tablets": campaign.tablets, "by": principal.actor}
    notices.page(session, "campaign.request", f"A bulk wipe of {campaign.tablets} tablets is asked for", told)
    return campaign


def _must_come(session: Session, terms: Terms) -> None:
    if terms.window.is_over(choosing.now(session)):
        detail = "this window is over"
        raise Invalid("wipes must have a time in which they may leave", errors=[_at("/window/last_day", detail)])


def _at(pointer: str, detail: str) -> dict[str, str]:
    return {"pointer": pointer, "detail": detail}


def _made(session: Session, principal: Principal, terms: Terms, chosen: Chosen, reason: str) -> Campaign:
    id_: UUID = session.exec(select(func.uuidv7())).one()
    moment = choosing.now(session)
    tablets = [_tablet(id_, each) for each in chosen.tablets]
    campaign = Campaign(
        id=id_,
        name=terms.name,
        reason=reason,
        filter=terms.filter.kept(),
        window=terms.window.model_dump(mode="json"),
        arguments=check_arguments(Kind.WIPE, {"preserve_data_plan": terms.preserve_data_plan}),
        tablets=len(tablets),
        snapshot=manifest.snapshot([manifest.line(each) for each in tablets]),
        digest=b"",
        left_out=chosen.left_out,
        school_ids=chosen.school_ids,
        requested_by=principal.id,
        requested_at=moment,
        expires_at=moment + approvals.LIFETIME,
    )
    campaign.digest = manifest.digest(campaign)
    session.add(campaign)
    session.flush()
    rows = [each.model_dump(include=_SNAPSHOT) for each in tablets]
    for start in range(0, len(rows), _CHUNK):
        session.execute(insert(CampaignTablet).values(rows[start : start + _CHUNK]))
    return campaign


def _tablet(campaign_id: UUID, facts: Facts) -> CampaignTablet:
    assert facts.scan_id is not None
    assert facts.scanned_at is not None
    return CampaignTablet(
        campaign_id=campaign_id,
        device_id=facts.device_id,
        serial=facts.serial,
        control_number=facts.control_number,
        school=facts.school,
        epoch=facts.epoch,
        evidence_id=facts.scan_id,
        scanned_at=facts.scanned_at,
        scanned_in=facts.scanned_in,
        holder_id=facts.holder_id,
    )


def find(session: Session, scope: Scope, campaign_id: UUID, *, locked: bool = False) -> Campaign:
    """Return one campaign all of whose schools are in scope, or raise `NotFound`."""
    statement = select(Campaign).where(Campaign.id == campaign_id, text(_SEEN).bindparams(schools=scope.parameter))
    if locked:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    campaign = session.exec(statement).first()
    if campaign is None:
        raise NotFound("there is no such campaign")
    return campaign


def visible(
    session: Session, scope: Scope, *, state: CampaignState | None, before: UUID | None, limit: int
) -> list[Campaign]:
    """List campaigns in scope, newest first (ids are in the order of time)."""
    statement = select(Campaign).where(text(_SEEN).bindparams(schools=scope.parameter))
    if state is not None:
        statement = statement.where(col(Campaign.state) == state.value)
    if before is not None:
        statement = statement.where(col(Campaign.id) < before)
    return list(session.exec(statement.order_by(col(Campaign.id).desc()).limit(limit)))


def live(session: Session) -> list[UUID]:
    """Return the campaigns that are not over, oldest first; for the jobs."""
    statement = select(Campaign.id).where(col(Campaign.state).in_([state.value for state in LIVE]))
    return [each for each in session.exec(statement.order_by(col(Campaign.id))) if each is not None]


def lock(session: Session, campaign_id: UUID) -> Campaign:
    """Lock a campaign before its commands: everybody locks in this order, so nobody waits in a circle."""
    return session.get_one(Campaign, campaign_id, with_for_update=True, populate_existing=True)


def tablets_of(session: Session, campaign_id: UUID) -> list[CampaignTablet]:
    """Return all tablets of a campaign, in the order of their ids."""
    statement = select(CampaignTablet).where(CampaignTablet.campaign_id == campaign_id)
    statement = statement.order_by(col(CampaignTablet.device_id)).execution_options(populate_existing=True)
    return list(session.exec(statement))
