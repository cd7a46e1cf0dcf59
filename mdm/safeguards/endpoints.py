"""The operator API of the safeguards' thresholds. It reads and shows; the rules are in `thresholds`."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from mdm.api import Page, Paging, page_of
from mdm.auth import Principal
from mdm.auth.access import may
from mdm.auth.rights import Action
from mdm.db import SessionDep
from mdm.safeguards import thresholds
from mdm.safeguards.consents import SignedWord
from mdm.safeguards.threshold_models import RequestState
from mdm.safeguards.threshold_values import FACTS, Looser, Name

router = APIRouter(prefix="/api/v1/safeguards", tags=["safeguards"])
_Reader = Annotated[Principal, Depends(may(Action.READ_SAFEGUARDS))]
_Tightener = Annotated[Principal, Depends(may(Action.TIGHTEN))]
_Loosener = Annotated[Principal, Depends(may(Action.LOOSEN))]


class ThresholdSetting(BaseModel):
    """One line of a threshold's history."""

    model_config = ConfigDict(from_attributes=True)

    value: int
    set_at: datetime | None = Field(description="Null: nobody has set it, and its first value holds.")
    set_by: str = Field(examples=["operator:hanako"])
    approved_by: str | None = Field(description="The second administrator, where it was loosened.")
    reason: str


class ThresholdOut(ThresholdSetting):
    """A threshold as it holds now."""

    name: Name
    meaning: str
    first: int = Field(description="What holds until somebody sets another.")
    looser: Looser = Field(description="Which way gives more away, and takes two administrators.")
    least: int
    most: int


class RequestOut(BaseModel):
    """A wish to loosen a threshold, which another administrator decides on within 24 hours."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    name: str
    value: int
    before: int = Field(description="What held when it was asked for.")
    reason: str
    state: RequestState
    requested_by: str
    requested_by_id: int
    requested_at: datetime
    expires_at: datetime
    decided_by: str | None
    action: str = Field(description="With `subject`: what a second administrator signs, see docs/safeguards.md.")
    subject: dict[str, Any]


class SetThreshold(BaseModel):
    """A new value for a threshold."""

    model_config = ConfigDict(extra="forbid")

    value: int = Field(ge=0, le=1_000_000, examples=[2])
    reason: str = Field(default="", max_length=400, description="Needed for loosening.", examples=["holidays"])


class ThresholdChange(BaseModel):
    """What holds now, and the request where a second administrator must agree first."""

    threshold: ThresholdOut
    request: RequestOut | None


@router.get("/thresholds", operation_id="listThresholds", summary="The thresholds that hold")
def list_thresholds(session: SessionDep, principal: _Reader) -> list[ThresholdOut]:  # noqa: ARG001 - the guard
    """List every threshold of the safeguards as it holds now."""
    return [_shown(line) for line in thresholds.overview(session)]


@router.put("/thresholds/{name}", operation_id="setThreshold", summary="Tighten a threshold, or ask to loosen it")
def set_threshold(name: Name, body: SetThreshold, session: SessionDep, principal: _Tightener) -> ThresholdChange:
    """Tighten at once; what loosens waits for another administrator (`approveThreshold`)."""
    line, asked = thresholds.set_threshold(session, principal, name, body.value, reason=body.reason)
    return ThresholdChange(threshold=_shown(line), request=None if asked is None else RequestOut.model_validate(asked))


@router.get("/thresholds/{name}/history", operation_id="listThresholdHistory", summary="What a threshold was")
def list_threshold_history(
    name: Name,
    session: SessionDep,
    principal: _Reader,  # noqa: ARG001 - the guard
    window: Paging,
) -> Page[ThresholdSetting]:
    """List every value that was set, newest first."""
    before = int(window.after[0]) if window.after else None
    rows = thresholds.history(session, name, before=before, limit=window.limit + 1)
    return page_of(window, rows, key=lambda row: [row.id], show=ThresholdSetting.model_validate)


@router.get("/threshold-requests", operation_id="listThresholdRequests", summary="Wishes to loosen a threshold")
def list_threshold_requests(
    session: SessionDep,
    principal: _Reader,  # noqa: ARG001 - the guard
    window: Paging,
) -> Page[RequestOut]:
    """List the requests, decided or not, newest first."""
    before = UUID(window.after[0]) if window.after else None
    rows = thresholds.requests(session, before=before, limit=window.limit + 1)
    return page_of(window, rows, key=lambda row: [str(row.id)], show=RequestOut.model_validate)


@router.post(
    "/threshold-requests/{request_id}/approve", operation_id="approveThreshold", summary="Loosen as second person"
)
def approve_threshold(request_id: UUID, body: SignedWord, session: SessionDep, principal: _Loosener) -> RequestOut:
    """Agree to somebody else's wish with a signature; it holds at once. Tokens and fresh accounts cannot."""
    return RequestOut.model_validate(thresholds.approve(session, principal, request_id, body.consent()))


@router.post(
    "/threshold-requests/{request_id}/reject", operation_id="rejectThreshold", summary="Refuse or withdraw a wish"
)
def reject_threshold(request_id: UUID, session: SessionDep, principal: _Tightener) -> RequestOut:
    """Refuse somebody else's wish, or withdraw one's own; the threshold stays as it is."""
    return RequestOut.model_validate(thresholds.reject(session, principal, request_id))


def _shown(line: thresholds.Line) -> ThresholdOut:
    name = Name(line.name)
    fact = FACTS[name]
    return ThresholdOut(
        name=name,
        value=line.value,
        set_at=line.set_at,
        set_by=line.set_by,
        approved_by=line.approved_by,
        reason=line.reason,
        meaning=fact.meaning,
        first=fact.first,
        looser=fact.looser,
        least=fact.least,
        most=fact.most,
    )
