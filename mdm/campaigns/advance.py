"""Brings campaigns forward: tablets fall out, the next wave is written down, what fails pauses, what is through ends.

A wave is written down as held commands. It lets none of them leave: that is the sender's, which looks at all again.
"""

from collections import Counter
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlmodel import Session

from mdm import jobs
from mdm.audit import chain
from mdm.campaigns import acts, choosing, progress, requesting, signatures
from mdm.campaigns.fitness import Why, fallen_out
from mdm.campaigns.models import LIVE, Campaign, CampaignState, TabletState
from mdm.campaigns.progress import Open
from mdm.campaigns.terms import Window
from mdm.campaigns.waves import Verdict, judge
from mdm.commands import batches
from mdm.commands.decisions import RECALLABLE
from mdm.commands.kinds import Kind
from mdm.commands.models import CommandState
from mdm.jobs import Job
from mdm.safeguards import breaker, proven
from mdm.safeguards.threshold_values import Name

ACTOR: Final = "job:campaigns"
_OVER: Final = (CommandState.CANCELLED, CommandState.SUPERSEDED)
_UNHEARD: Final = (
    "SELECT DISTINCT campaign_id FROM campaign_tablet t JOIN campaign c ON c.id = t.campaign_id"
    " WHERE t.state IN ('held', 'sent') AND c.ended_at IS NOT NULL"
)


def to_look_at(session: Session) -> list[UUID]:
    """Return the campaigns that are not over, and those of which a tablet has not answered yet."""
    unheard = session.execute(text(_UNHEARD)).scalars()
    return list(dict.fromkeys([*requesting.live(session), *unheard]))


def look(session: Session, campaign_id: UUID) -> Counter[str]:
    """Bring one campaign forward; return what was done. Two at once are harmless: the second waits, and finds it."""
    done: Counter[str] = Counter()
    campaign = requesting.lock(session, campaign_id)
    progress.settle(session, campaign_id)
    now = choosing.now(session)
    if campaign.state not in LIVE:
        return done
    if campaign.state == CampaignState.REQUESTED:
        if campaign.expires_at <= now:
            acts.finish(session, ACTOR, campaign, CampaignState.EXPIRED, Why.EXPIRED, why="nobody signed in time")
            done["expired"] += 1
        return done
    done["fell_out"] += _let_fall(session, campaign, now)
    if _is_through(session, campaign, now):
        done["ended"] += 1
    elif campaign.state != CampaignState.PAUSED and not _is_stopped(session, campaign):
        done["placed"] += _place(session, campaign, now)
    return done


def _let_fall(session: Session, campaign: Campaign, now: datetime) -> int:
    """Take out of a campaign what is not any more what was signed for; end its wipe unless the tablet has it."""
    assert campaign.id is not None
    there = [each for each in progress.open_tablets(session, campaign.id) if _can_fall(each)]
    found = choosing.facts_of(session, [each.signed.device_id for each in there], mine=campaign.id)
    days = proven.current(session)[Name.CAMPAIGN_STOCKTAKE_DAYS]
    fallen: dict[int, Why] = {}
    for each in there:
        why = fallen_out(found.get(each.signed.device_id), each.signed, now=now, days=days)
        if why is None and each.command in _OVER:
            why = Why.CANCELLED
        if why is not None:
            fallen[each.signed.device_id] = why
    if fallen:
        batches.end(
            session,
            [each.command_id for each in there if each.command_id and each.signed.device_id in fallen],
            note="fell out of the campaign",
        )
        progress.drop(session, campaign.id, fallen)
        details = {"reasons": {str(device_id): why.value for device_id, why in fallen.items()}}
        chain.record(session, ACTOR, "campaign.fall_out", f"campaign:{campaign.id}", details)
    return len(fallen)


def _can_fall(tablet: Open) -> bool:
    """Say whether it can still be taken out: not when the tablet has been handed its wipe."""
    return tablet.state == TabletState.WAITING or tablet.command in (*RECALLABLE, *_OVER)


def _is_through(session: Session, campaign: Campaign, now: datetime) -> bool:
    assert campaign.id is not None
    found = progress.counts(session, campaign.id)
    if not any(found[state] for state in (TabletState.WAITING, TabletState.HELD, TabletState.SENT)):
        acts.finish(session, ACTOR, campaign, CampaignState.ENDED, Why.WINDOW_OVER, why="every tablet is through")
        return True
    if Window.model_validate(campaign.window).is_over(now):
        acts.finish(session, ACTOR, campaign, CampaignState.ENDED, Why.WINDOW_OVER, why="the window is over")
        return True
    return False


def verdict(session: Session, campaign: Campaign) -> Verdict:
    """Return what the results of a campaign say of its going on."""
    assert campaign.id is not None
    percent = proven.current(session)[Name.CAMPAIGN_FAILURES]
    return judge(progress.results(session, campaign.id), percent=percent, tolerated=campaign.tolerated)


def _is_stopped(session: Session, campaign: Campaign) -> bool:
    if verdict(session, campaign) is not Verdict.STOP:
        return False
    acts.stop(session, ACTOR, campaign, "too many wipes failed")
    return True


def may_leave_at(session: Session, campaign: Campaign, now: datetime) -> bool:
    """Say whether the cooling time is over and the window open."""
    assert campaign.id is not None
    there = signatures.of_campaign(session, campaign.id)
    if not there or signatures.cooled_at(session, there) > now:
        return False
    return Window.model_validate(campaign.window).is_open(now)


def _place(session: Session, campaign: Campaign, now: datetime) -> int:
    """Write down what may leave of the present wave, or of the next."""
    assert campaign.id is not None
    if breaker.frozen(session) or not may_leave_at(session, campaign, now):
        return 0
    there = progress.open_tablets(session, campaign.id)
    held = [each.command_id for each in there if each.command == CommandState.HELD and each.command_id]
    room = progress.room_now(session, campaign.id, now)
    if room.fresh and verdict(session, campaign) is not Verdict.GO_ON:
        return 0
    free = room.free - len(set(held) - progress.gone_already(session, held))
    wanted = {each.signed.device_id: each.signed.epoch for each in there if each.state == TabletState.WAITING}
    wanted = dict(list(wanted.items())[: max(0, free)])
    if not wanted:
        return 0
    commands = batches.hold(
        session,
        wanted,
        Kind.WIPE,
        campaign.arguments,
        asker=campaign.requested_by,
        note=f"campaign {campaign.id}, wave {room.wave}",
    )
    progress.placed(session, campaign.id, commands, wave=room.wave)
    progress.drop(session, campaign.id, {each: Why.OTHER_WIPE for each in wanted if each not in commands})
    jobs.ring(session, Job.LET_GO)
    return len(commands)
