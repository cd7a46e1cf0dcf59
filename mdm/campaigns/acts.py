"""Stop a campaign, let it go on, end it. Whoever may withdraw a wipe may stop all of them; going on takes more."""

from typing import Final
from uuid import UUID

from sqlmodel import Session

from mdm import jobs
from mdm.audit import chain
from mdm.auth import Action, Principal
from mdm.campaigns import choosing, progress, requesting
from mdm.campaigns.fitness import Why
from mdm.campaigns.models import LIVE, Campaign, CampaignState, TabletState
from mdm.commands import batches
from mdm.errors import Conflict
from mdm.jobs import Job
from mdm.safeguards import breaker, notices, seasoned, thresholds

_UNDER_WAY: Final = (CampaignState.APPROVED, CampaignState.RUNNING)


def pause(session: Session, principal: Principal, campaign_id: UUID, *, reason: str = "") -> Campaign:
    """Stop a campaign at once; what no tablet has been handed is held back. Pausing twice is harmless."""
    principal.must(Action.WITHDRAW)
    campaign = requesting.find(session, principal.scope, campaign_id, locked=True)
    if campaign.state != CampaignState.PAUSED:
        if campaign.state not in _UNDER_WAY:
            raise Conflict(f"this campaign is {CampaignState(campaign.state).value}: there is nothing to pause")
        stop(session, principal, campaign, reason or "by hand")
    return campaign


def stop(session: Session, actor: Principal | str, campaign: Campaign, why: str) -> None:
    """Pause a locked campaign, put it on record and call whoever is on duty."""
    assert campaign.id is not None
    commands = [each.command_id for each in progress.open_tablets(session, campaign.id) if each.command_id]
    held = batches.hold_back(session, commands, note="the campaign is paused")
    campaign.state, campaign.note = CampaignState.PAUSED, f"{_named(actor)}: {why}"[:200]
    session.add(campaign)
    session.flush()
    chain.record(session, actor, "campaign.pause", f"campaign:{campaign.id}", {"held_back": len(held)})
    _tell(session, actor, campaign, "campaign.pause", "A bulk wipe is paused")


def resume(session: Session, principal: Principal, campaign_id: UUID) -> Campaign:
    """Let a paused campaign go on: whoever does has looked at its failures, and they stop it no more.

    Raises `Forbidden` without the right and for tokens, `YoungAccount`, `Frozen`, `Conflict` unless it is paused.
    """
    with breaker.counted(principal, "campaign.resume"):
        principal.must(Action.RUN_CAMPAIGN)
        breaker.must_be_closed(session)
        seasoned.must_be(session, principal.id, thresholds.current(session), what="resume a bulk wipe")
        campaign = requesting.find(session, principal.scope, campaign_id, locked=True)
    if campaign.state != CampaignState.PAUSED:
        raise Conflict(f"this campaign is {CampaignState(campaign.state).value}, not paused")
    campaign.state = CampaignState.APPROVED if campaign.started_at is None else CampaignState.RUNNING
    campaign.tolerated = progress.results(session, campaign_id).failed
    campaign.note = ""
    session.add(campaign)
    session.flush()
    details = {"failures_seen": campaign.tolerated}
    chain.record(session, principal, "campaign.resume", f"campaign:{campaign.id}", details)
    _tell(session, principal, campaign, "campaign.resume", "A paused bulk wipe goes on")
    jobs.ring(session, Job.CAMPAIGNS)
    return campaign


def abort(session: Session, principal: Principal, campaign_id: UUID, *, reason: str = "") -> Campaign:
    """End a campaign, whatever it waits for; what no tablet has been handed is cancelled. Twice is harmless."""
    principal.must(Action.WITHDRAW)
    campaign = requesting.find(session, principal.scope, campaign_id, locked=True)
    if campaign.state == CampaignState.ABORTED:
        return campaign
    if campaign.state not in LIVE:
        raise Conflict(f"this campaign is over: {CampaignState(campaign.state).value}")
    finish(session, principal, campaign, CampaignState.ABORTED, Why.ABORTED, why=reason or "by hand")
    return campaign


def finish(
    session: Session, actor: Principal | str, campaign: Campaign, state: CampaignState, why_left: Why, *, why: str
) -> None:
    """End a locked campaign; what no tablet has been handed is cancelled, and falls out for `why_left`."""
    assert campaign.id is not None
    progress.settle(session, campaign.id)
    still = progress.open_tablets(session, campaign.id)
    ended = set(batches.end(session, [each.command_id for each in still if each.command_id], note=f"campaign: {why}"))
    fallen = [each for each in still if each.state == TabletState.WAITING or each.command_id in ended]
    progress.drop(session, campaign.id, {each.signed.device_id: why_left for each in fallen})
    campaign.state, campaign.note = state, f"{_named(actor)}: {why}"[:200]
    campaign.ended_at = choosing.now(session)
    session.add(campaign)
    session.flush()
    found = {name.value: number for name, number in progress.counts(session, campaign.id).items()}
    verb = {CampaignState.ABORTED: "abort", CampaignState.REFUSED: "refuse"}.get(state, "end")
    chain.record(session, actor, f"campaign.{verb}", f"campaign:{campaign.id}", {"state": state.value, **found})
    _tell(session, actor, campaign, f"campaign.{verb}", f"A bulk wipe is over ({state.value})", **found)


def _tell(
    session: Session, actor: Principal | str, campaign: Campaign, what: str, subject: str, **more: object
) -> None:
    # Not the note: people write names into it, and this leaves the house.
    details = {"campaign": str(campaign.id), "tablets": campaign.tablets, "by": _named(actor), **more}
    notices.page(session, what, subject, details)


def _named(actor: Principal | str) -> str:
    return actor if isinstance(actor, str) else actor.actor
