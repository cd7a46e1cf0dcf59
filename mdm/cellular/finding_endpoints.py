"""The operator API of findings: what does not fit together, and a person's word that it is done with."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from mdm.api import Page, Paging, page_of
from mdm.auth import Action, Principal, may
from mdm.cellular import finding_views, findings, mending
from mdm.cellular.finding_views import Filters
from mdm.cellular.findings import Kind, Severity
from mdm.cellular.models import FindingState
from mdm.db import SessionDep

router = APIRouter(prefix="/api/v1/sims/findings", tags=["sims"])


class FindingOut(BaseModel):
    """Something that does not fit, with the tablet it speaks of. No numbers of lines, no person."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    kind: str = Field(examples=["swapped_pair"])
    severity: Severity
    title: str = Field(examples=["two tablets' SIMs have changed places"])
    state: FindingState = Field(description="`suspected` until a second observation, or 24 hours.")
    sim_id: int | None
    account: str | None
    device_id: int | None
    control_number: str | None = Field(examples=["T000001"])
    other_device_id: int | None
    other_control_number: str | None = Field(description="The other tablet, where it is in the caller's scope.")
    school_code: str | None
    details: dict[str, Any] = Field(description="Ids and figures.")
    times: int = Field(description="How many observations say so.")
    first_at: datetime
    last_at: datetime
    opened_at: datetime | None
    closed_at: datetime | None = Field(description="When a person closed it, or when it had gone.")
    closed_by: str | None
    close_reason: str | None


class CloseFinding(BaseModel):
    """A person's word that this is done with."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=400, description="Why. No names.", examples=["known: a test SIM"])
    quiet_days: int = Field(default=7, ge=0, le=365, description="For how long the same thing is not raised again.")


class FixFinding(BaseModel):
    """A person's word that the ledger is to be mended."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=400, description="Why; kept with the bindings. No names.")


def filters_of(
    *,
    kind: Kind | None = None,
    state: Annotated[FindingState | None, Query(description="Suspected and open ones when absent.")] = None,
    severity: Severity | None = None,
    school: Annotated[str | None, Query(max_length=32)] = None,
    control_number: Annotated[str | None, Query(max_length=64)] = None,
    sim_id: int | None = None,
) -> Filters:
    """Take the filters of a list of findings."""
    return Filters(kind, state, severity, school, control_number, sim_id)


@router.get("", operation_id="listSimFindings", summary="What does not fit together")
def list_findings(
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.READ_SIMS))],
    window: Paging,
    filters: Annotated[Filters, Depends(filters_of)],
) -> Page[FindingOut]:
    """List findings in the caller's scope, newest first; all filters that are given must fit."""
    before = int(window.after[0]) if window.after else None
    rows = finding_views.find(session, principal, filters, before=before, limit=window.limit + 1)
    return page_of(window, rows, key=lambda row: [row.id], show=FindingOut.model_validate)


@router.get("/{finding_id}", operation_id="showSimFinding", summary="One finding")
def show_finding(
    finding_id: int, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_SIMS))]
) -> FindingOut:
    """Show one finding."""
    return FindingOut.model_validate(finding_views.one(session, principal, finding_id))


@router.post("/{finding_id}/closing", operation_id="closeSimFinding", summary="Close a finding")
def close_finding(
    finding_id: int,
    body: CloseFinding,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.MANAGE_SIMS))],
) -> FindingOut:
    """Close a finding with a reason; for some days the same thing is not raised again. It changes nothing else."""
    finding_views.one(session, principal, finding_id)
    reason = body.reason.strip()
    findings.close(session, principal.actor, finding_id, reason=reason, quiet_days=body.quiet_days)
    return FindingOut.model_validate(finding_views.one(session, principal, finding_id))


@router.post("/{finding_id}/fix", operation_id="fixSimFinding", summary="Mend the ledger as a finding says")
def fix_finding(
    finding_id: int,
    body: FixFinding,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.MANAGE_SIMS))],
) -> FindingOut:
    """Exchange a swapped pair, or bind a SIM where it is in fact, and close the finding. 409 where neither would do."""
    return FindingOut.model_validate(mending.fix(session, principal, finding_id, reason=body.reason))
