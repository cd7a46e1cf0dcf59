"""What the sender looks at before wipes of a campaign leave: everything again, from the rows, trusting nobody.

What counts is two signatures over exactly this list, by keys that the host has pinned; then the times, the wave of this
hour, and each tablet as it stands. Only the sender's process may call this (the database refuses the others).
"""

from collections import Counter
from typing import Final
from uuid import UUID

from pydantic import ValidationError
from sqlalchemy import text
from sqlmodel import Session

from mdm.audit import chain
from mdm.campaigns import acts, advance, choosing, progress, requesting, signatures
from mdm.campaigns.fitness import Why, fallen_out
from mdm.campaigns.models import Campaign, CampaignState
from mdm.campaigns.progress import Open
from mdm.campaigns.waves import Verdict as Results
from mdm.commands import batches
from mdm.commands.kinds import Kind
from mdm.commands.leaving import ACTOR, Verdict
from mdm.commands.models import Command, CommandState
from mdm.errors import MdmError
from mdm.safeguards import breaker, budgets, notices, proven
from mdm.safeguards.threshold_values import Name

AT_ONCE: Final = 50
"""Wipes that one look lets go: a stop button must not wait for more."""
_SENDABLE: Final = (CampaignState.APPROVED, CampaignState.RUNNING)
_WAITING: Final = (
    "SELECT DISTINCT t.campaign_id FROM campaign_tablet t JOIN command c ON c.id = t.command_id"
    " JOIN campaign k ON k.id = t.campaign_id WHERE c.state = 'held' AND k.state IN ('approved', 'running')"
)


def waiting(session: Session) -> list[UUID]:
    """Return the campaigns of which wipes are held."""
    return sorted(session.execute(text(_WAITING)).scalars())


def let_go(session: Session, campaign_id: UUID) -> Counter[str]:
    """Let what may leave of a campaign leave; end what must not. Returns verdicts counted."""
    campaign = requesting.lock(session, campaign_id)
    held = [each for each in progress.open_tablets(session, campaign_id) if each.command == CommandState.HELD]
    if campaign.state not in _SENDABLE or not held:
        return Counter({Verdict.GONE.value: 1})
    try:
        if not advance.may_leave_at(session, campaign, choosing.now(session)):
            return Counter({Verdict.WAITS.value: len(held)})
        signers = [each.operator_id for each in signatures.verify(session, campaign)]
    except (MdmError, ValidationError) as refusal:
        why = refusal.detail if isinstance(refusal, MdmError) else "its window is none"
        acts.finish(session, ACTOR, campaign, CampaignState.REFUSED, Why.ABORTED, why=why)
        return Counter({Verdict.REFUSED.value: len(held)})
    return _leave(session, campaign, held, signers)


def _leave(session: Session, campaign: Campaign, held: list[Open], signers: list[int]) -> Counter[str]:
    """Let go what this hour's wave has room for."""
    assert campaign.id is not None
    ids = [each.command_id for each in held if each.command_id]
    commands = batches.locked(session, ids)
    fit = _fit(session, campaign, [each for each in held if each.command_id in commands], commands)
    refused = len(commands) - len(fit)
    # In the line of whoever opens the breaker: what is let go is seen and pulled back, or nothing is let go.
    chain.stand_in_line(session)
    now = choosing.now(session)
    room = progress.room_now(session, campaign.id, now)
    results = advance.verdict(session, campaign)
    stopped = results is Results.STOP or (room.fresh and results is Results.WAIT)
    if breaker.frozen(session) or stopped or not advance.may_leave_at(session, campaign, now):
        return Counter({Verdict.WAITS.value: len(fit), Verdict.REFUSED.value: refused})
    again = progress.gone_already(session, ids)
    fresh = [each for each in fit if each.id not in again][: room.free]
    leaving = [*(each for each in fit if each.id in again), *fresh][:AT_ONCE]
    for each in leaving:
        budgets.recheck(session, each, signers=signers, campaign_id=campaign.id)
    if leaving:
        _released(session, campaign, leaving)
    left = {Verdict.LEFT.value: len(leaving), Verdict.WAITS.value: len(fit) - len(leaving)}
    return Counter(left | {Verdict.REFUSED.value: refused})


def _fit(session: Session, campaign: Campaign, held: list[Open], commands: dict[UUID, Command]) -> list[Command]:
    """Return the wipes that may leave, in the order of the list; end the others and put on record why."""
    assert campaign.id is not None
    found = choosing.facts_of(session, [each.signed.device_id for each in held], mine=campaign.id)
    days = proven.current(session)[Name.CAMPAIGN_STOCKTAKE_DAYS]
    now = choosing.now(session)
    fit, fallen = [], {}
    for each in held:
        assert each.command_id is not None
        command = commands[each.command_id]
        why = fallen_out(found.get(each.signed.device_id), each.signed, now=now, days=days)
        if not _is_its_own(campaign, command, each):
            why = Why.CHANGED
        if why is None:
            fit.append(command)
            continue
        fallen[each.signed.device_id] = why
        batches.end(session, [each.command_id], note=f"not sent: {why.value}")
        details = {"campaign": campaign.id, "kind": command.kind, "command": each.command_id, "reason": why.value}
        chain.record(session, ACTOR, "command.refuse", f"device:{each.signed.device_id}", details)
    progress.drop(session, campaign.id, fallen)
    return fit


def _is_its_own(campaign: Campaign, command: Command, tablet: Open) -> bool:
    """Say whether a command is exactly the wipe that was signed for this tablet."""
    return (
        command.kind == Kind.WIPE
        and command.arguments == campaign.arguments
        and (command.device_id, command.epoch) == (tablet.signed.device_id, tablet.signed.epoch)
        and (command.approval_id, command.created_by) == (None, campaign.requested_by)
    )


def _released(session: Session, campaign: Campaign, leaving: list[Command]) -> None:
    if campaign.started_at is None:
        campaign.state, campaign.started_at = CampaignState.RUNNING, choosing.now(session)
        session.add(campaign)
        session.flush()
        chain.record(session, ACTOR, "campaign.start", f"campaign:{campaign.id}", {"tablets": campaign.tablets})
        subject = f"A bulk wipe of {campaign.tablets} tablets has begun"
        notices.page(session, "campaign.start", subject, {"campaign": str(campaign.id), "tablets": campaign.tablets})
    batches.let_go(session, leaving, note="by a campaign that two organizations have signed")
    for each in leaving:
        details = {"campaign": campaign.id, "kind": each.kind, "command": each.id}
        chain.record(session, ACTOR, "command.release", f"device:{each.device_id}", details)
