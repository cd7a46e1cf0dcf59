"""The two signatures under a campaign: the board's (甲) and a contractor's (乙), neither of them the asker's.

`sign` takes one from a person; `verify` looks at both again for whoever sends, trusting no row.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlmodel import Session, col, select

from mdm.audit import chain
from mdm.auth import Action, Principal
from mdm.auth.credentials import principal_of
from mdm.auth.entitlement import is_entitled
from mdm.auth.models import Operator
from mdm.auth.rights import allowed
from mdm.campaigns import choosing, manifest, requesting
from mdm.campaigns.models import Campaign, CampaignSignature, CampaignState
from mdm.errors import Conflict, Forbidden, Invalid
from mdm.organization.models import Tier
from mdm.safeguards import approvals, breaker, budgets, keys, notices, proven, seasoned, signing, thresholds
from mdm.safeguards.approvals import Consent
from mdm.safeguards.models import ApproverKey, KeyKind
from mdm.safeguards.threshold_values import Name

SIDES: Final = frozenset({Tier.BOARD.value, Tier.CONTRACTOR.value})
_SLACK: Final = timedelta(minutes=1)
"""Between the clock of the web process and the database's."""


class SameSide(Conflict):
    """The other organization must sign, too."""

    slug = "same-side"


class NotSigned(Conflict):
    """What would be done is not what two organizations signed, or may not be done any more."""

    slug = "not-signed"


def sign(session: Session, principal: Principal, campaign_id: UUID, consent: Consent) -> Campaign:
    """Approve a campaign with one's own key; with the other side's signature there, its cooling time begins.

    Raises `NotFound` outside scope, `Forbidden` for tokens, without the right and for a sub-contractor, `Frozen`,
    `SelfApproval`, `SameSide`, `Conflict` when it is over or its asker has left, `SubjectChanged`, `NotPinned`,
    `NotProved`.
    """
    with breaker.counted(principal, "campaign.approve"):
        principal.must(Action.APPROVE)
        breaker.must_be_closed(session)
        seasoned.must_be(session, principal.id, thresholds.current(session), what="approve")
        campaign = requesting.find(session, principal.scope, campaign_id, locked=True)
        there = of_campaign(session, campaign_id)
        _must_be_theirs(session, principal, campaign, there)
        if manifest.digest(campaign) != campaign.digest or _snapshot(session, campaign) != campaign.snapshot:
            raise approvals.SubjectChanged("what was asked for has changed since; ask again")
        signature = _signed(session, principal, campaign, consent)
        budgets.spend_approval(session, principal, what=manifest.ACTION)
        return _noted(session, principal, campaign, [*there, signature])


def _must_be_theirs(session: Session, principal: Principal, campaign: Campaign, there: list[CampaignSignature]) -> None:
    if campaign.requested_by == principal.id:
        raise approvals.SelfApproval("two others must approve; you asked for this yourself")
    if principal.tier not in SIDES:
        raise Forbidden("the board and its contractor decide on a bulk wipe, a sub-contractor does not")
    if campaign.state != CampaignState.REQUESTED:
        raise Conflict(f"this campaign is {CampaignState(campaign.state).value} already")
    if campaign.expires_at <= choosing.now(session):
        raise Conflict("this request has run out; ask again")
    if any(each.side == principal.tier for each in there):
        raise SameSide(f"the {principal.tier} has signed already; the other organization must")
    if not is_entitled(session, campaign.requested_by):
        raise Conflict("whoever asked for this may no longer sign in; let somebody else ask again")


def _signed(session: Session, principal: Principal, campaign: Campaign, consent: Consent) -> CampaignSignature:
    if consent.urgent:
        raise Invalid("a campaign always waits; sign it without haste", errors=[_HASTE])
    key = keys.usable(session, principal.id, consent.key_id)
    challenge = signing.challenge(campaign.digest, approver=principal.name, urgent=False)
    key.sign_count = signing.verify(
        signing.Key(KeyKind(key.kind), key.public_key, key.sign_count), challenge, consent.signature
    )
    session.add(key)
    assert campaign.id is not None
    signature = CampaignSignature(
        campaign_id=campaign.id,
        side=principal.tier,
        operator_id=principal.id,
        key_id=consent.key_id,
        signature=consent.signature.stored(),
        signed_at=choosing.now(session),
    )
    session.add(signature)
    session.flush()
    return signature


_HASTE: Final = {"pointer": "/urgent", "detail": "false for a campaign"}


def _noted(session: Session, principal: Principal, campaign: Campaign, there: list[CampaignSignature]) -> Campaign:
    signer = there[-1]
    # By the name under which all approvals are on record; the auditor looks for it there.
    details = {"action": manifest.ACTION, "digest": campaign.digest, "requested_by": campaign.requested_by}
    details |= {"key": signer.key_id, "side": signer.side}
    chain.record(session, principal, "approval.approve", f"campaign:{campaign.id}", details)
    if {each.side for each in there} == SIDES:
        campaign.state = CampaignState.APPROVED
        session.add(campaign)
        session.flush()
        hours = proven.current(session)[Name.CAMPAIGN_COOLING_HOURS]
        subject = f"A bulk wipe of {campaign.tablets} tablets is approved; the first leave after {hours} hours"
        notices.page(session, "campaign.approve", subject, {"campaign": str(campaign.id), "tablets": campaign.tablets})
    return campaign


def of_campaign(session: Session, campaign_id: UUID) -> list[CampaignSignature]:
    """Return the signatures under a campaign, the board's first."""
    statement = select(CampaignSignature).where(CampaignSignature.campaign_id == campaign_id)
    statement = statement.order_by(col(CampaignSignature.side)).execution_options(populate_existing=True)
    return list(session.exec(statement))


def cooled_at(session: Session, there: list[CampaignSignature]) -> datetime:
    """Return when the cooling time after the later signature is over."""
    hours = proven.current(session)[Name.CAMPAIGN_COOLING_HOURS]
    return max(each.signed_at for each in there) + timedelta(hours=hours)


def verify(session: Session, campaign: Campaign) -> list[CampaignSignature]:
    """Return both signatures if they are under exactly this campaign, by two who may still; else `NotSigned`.

    Makes the hashes again from the rows of all tablets, and verifies with the keys that the host has pinned.
    """
    assert campaign.id is not None
    if _snapshot(session, campaign) != campaign.snapshot or manifest.digest(campaign) != campaign.digest:
        raise NotSigned("what would be done now is not what was asked for")
    there = of_campaign(session, campaign.id)
    if {each.side for each in there} != SIDES:
        raise NotSigned("the board and a contractor have not both signed it")
    if len({campaign.requested_by, *(each.operator_id for each in there)}) != len(there) + 1:
        raise NotSigned("whoever asked for it signed it as well, or one person signed twice")
    if not is_entitled(session, campaign.requested_by):
        raise NotSigned("whoever asked may no longer sign in")
    for each in there:
        _verify(session, campaign, each)
    return there


def _verify(session: Session, campaign: Campaign, given: CampaignSignature) -> None:
    operator = session.get_one(Operator, given.operator_id, populate_existing=True)
    if not is_entitled(session, given.operator_id):
        raise NotSigned("whoever signed may no longer sign in")
    who = principal_of(session, operator)
    if not allowed(who.role, Action.APPROVE) or who.tier != given.side:
        raise NotSigned("whoever signed may not approve any more, or not for this side")
    if not (who.scope.all_schools or set(campaign.school_ids) <= who.scope.school_ids):
        raise NotSigned("the tablets are not in the schools of whoever signed")
    if not campaign.requested_at - _SLACK <= given.signed_at <= campaign.expires_at + _SLACK:
        raise NotSigned("it was signed too early or too late")
    key = session.get(ApproverKey, given.key_id, populate_existing=True)
    if key is None or key.operator_id != operator.id or key.pinned_at is None or key.revoked_at is not None:
        raise NotSigned("it is not signed with a key that the host has pinned for whoever signed")
    challenge = signing.challenge(campaign.digest, approver=operator.name, urgent=False)
    signing.verify(
        signing.Key(KeyKind(key.kind), key.public_key), challenge, signing.Signature.from_stored(given.signature)
    )


def _snapshot(session: Session, campaign: Campaign) -> bytes:
    """Return the hash of the tablets' rows as they stand."""
    assert campaign.id is not None
    rows = requesting.tablets_of(session, campaign.id)
    return manifest.snapshot([manifest.line(each) for each in rows]) if len(rows) == campaign.tablets else b""
