"""The operator API of bulk wipes. It reads and shows; the rules are in the modules beside it."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from mdm.api import Once, Page, Paging, page_of
from mdm.api.csvanswer import CsvResponse, csv_file
from mdm.audit import chain
from mdm.auth import Action, Principal, may
from mdm.campaigns import acts, report, requesting, signatures, views
from mdm.campaigns.models import CampaignState, TabletState
from mdm.campaigns.terms import Terms
from mdm.campaigns.views import CampaignDetail, CampaignLine, PlannedCampaign, TabletLine
from mdm.db import SessionDep
from mdm.safeguards.approvals import Consent
from mdm.safeguards.signing import Signature

router = APIRouter(prefix="/api/v1/campaigns", tags=["campaigns"])

_Asker = Annotated[Principal, Depends(may(Action.RUN_CAMPAIGN))]
_Reader = Annotated[Principal, Depends(may(Action.READ_APPROVALS))]
_Approver = Annotated[Principal, Depends(may(Action.APPROVE))]
_Stopper = Annotated[Principal, Depends(may(Action.WITHDRAW))]
_EXAMPLE: dict[str, Any] = {
    "name": "リース満了 2027",
    "filter": {"lease_contract": "L2022-1"},
    "window": {"first_day": "2027-04-05", "last_day": "2027-04-16", "hours": "09:00-17:00", "closed": []},
}


class PlanCampaign(Terms):
    """A bulk wipe to be tried out."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})


class AskCampaign(Terms):
    """A bulk wipe to be asked for."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [_EXAMPLE | {"reason": "the lease ends on 31 March"}]}
    )

    reason: str = Field(max_length=400, description="Why; two others decide on it.")


class CampaignConsent(BaseModel):
    """An approver's signature under a campaign. How to make it: docs/campaigns.md."""

    model_config = ConfigDict(extra="forbid")

    key: int = Field(description="The id of one's own key; it must be pinned.")
    signature: str = Field(max_length=2048, description="base64url.")
    client_data: str = Field(default="", max_length=8192, description="A security key's clientDataJSON, base64url.")
    authenticator_data: str = Field(default="", max_length=2048, description="Its authenticatorData, base64url.")

    def consent(self) -> Consent:
        """Return it as the rules take it."""
        return Consent(self.key, Signature(self.signature, self.client_data, self.authenticator_data))


class Stop(BaseModel):
    """Why it is stopped."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=150, examples=["the wrong shelf"])


@router.post("/plan", operation_id="planCampaign", summary="Who would be wiped by a campaign, and who not")
def plan_campaign(body: PlanCampaign, session: SessionDep, principal: _Asker) -> PlannedCampaign:
    """Say which tablets a campaign would be about and why others are left out. Nothing is kept."""
    return views.planned(session, requesting.plan(session, principal, body))


@router.post(
    "",
    operation_id="requestCampaign",
    summary="Ask for a bulk wipe",
    status_code=201,
    response_model=CampaignDetail,
)
def request_campaign(body: AskCampaign, session: SessionDep, principal: _Asker, once: Once) -> Response:
    """Freeze the list of returned tablets; the board and a contractor must sign it within 24 hours."""

    def act() -> CampaignDetail:
        return views.detail(session, requesting.request(session, principal, body, reason=body.reason))

    return once.run(act, status=201)


@router.get("", operation_id="listCampaigns", summary="The bulk wipes")
def list_campaigns(
    session: SessionDep, principal: _Reader, window: Paging, *, state: CampaignState | None = None
) -> Page[CampaignLine]:
    """List campaigns all of whose schools are in scope, newest first."""
    before = UUID(window.after[0]) if window.after else None
    rows = requesting.visible(session, principal.scope, state=state, before=before, limit=window.limit + 1)
    return page_of(window, views.lines(session, rows), key=lambda line: [line.id], show=lambda line: line)


@router.get("/{campaign_id}", operation_id="showCampaign", summary="One bulk wipe")
def show_campaign(campaign_id: UUID, session: SessionDep, principal: _Reader) -> CampaignDetail:
    """Show a campaign with what is signed of it, by whom, and how far it is."""
    return views.detail(session, requesting.find(session, principal.scope, campaign_id))


@router.get("/{campaign_id}/tablets", operation_id="listCampaignTablets", summary="The tablets of a bulk wipe")
def list_campaign_tablets(
    campaign_id: UUID, session: SessionDep, principal: _Reader, window: Paging, *, state: TabletState | None = None
) -> Page[TabletLine]:
    """List the tablets as they are signed, with what became of each."""
    requesting.find(session, principal.scope, campaign_id)
    after = int(window.after[0]) if window.after else 0
    rows = views.tablets(session, campaign_id, state=state, after=after, limit=window.limit + 1)
    return page_of(window, rows, key=lambda row: [row.device_id], show=views.tablet)


@router.get(
    "/{campaign_id}/report.csv",
    operation_id="exportCampaign",
    summary="What became of each tablet, as CSV",
    response_class=CsvResponse,
)
def export_campaign(campaign_id: UUID, session: SessionDep, principal: _Reader) -> Response:
    """Give the report (UTF-8 with a mark, for spreadsheets): state and times of every tablet."""
    requesting.find(session, principal.scope, campaign_id)
    chain.record(session, principal, "campaign.export", f"campaign:{campaign_id}")
    body = "".join(report.csv_lines(requesting.tablets_of(session, campaign_id)))
    return csv_file(body, "campaign")


@router.post("/{campaign_id}/approve", operation_id="approveCampaign", summary="Sign a bulk wipe")
def approve_campaign(
    campaign_id: UUID, body: CampaignConsent, session: SessionDep, principal: _Approver
) -> CampaignDetail:
    """Sign for the board or for a contractor, with a key that the host has pinned; whoever asked cannot. Nor tokens."""
    return views.detail(session, signatures.sign(session, principal, campaign_id, body.consent()))


@router.post("/{campaign_id}/pause", operation_id="pauseCampaign", summary="Stop a bulk wipe for now")
def pause_campaign(campaign_id: UUID, body: Stop, session: SessionDep, principal: _Stopper) -> CampaignDetail:
    """Stop at once; wipes that no tablet has been handed are held back."""
    return views.detail(session, acts.pause(session, principal, campaign_id, reason=body.reason))


@router.post("/{campaign_id}/resume", operation_id="resumeCampaign", summary="Let a paused bulk wipe go on")
def resume_campaign(campaign_id: UUID, session: SessionDep, principal: _Asker) -> CampaignDetail:
    """Let it go on in waves; failures up to now have been looked at and stop it no more."""
    return views.detail(session, acts.resume(session, principal, campaign_id))


@router.post("/{campaign_id}/abort", operation_id="abortCampaign", summary="End a bulk wipe")
def abort_campaign(campaign_id: UUID, body: Stop, session: SessionDep, principal: _Stopper) -> CampaignDetail:
    """End it for good; wipes that no tablet has been handed are cancelled."""
    return views.detail(session, acts.abort(session, principal, campaign_id, reason=body.reason))
