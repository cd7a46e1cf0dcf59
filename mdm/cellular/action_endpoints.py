"""The operator API of acts on lines: ask for one, see how far it is, take it back. The rules are in `sim_wishes`."""

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session

from mdm.api import Page, Paging, page_of
from mdm.api.idempotency import Once
from mdm.audit import chain
from mdm.auth import Action, Principal, may
from mdm.cellular import sim_actions, sim_wishes, sims
from mdm.cellular.models import ActionKind, ActionState
from mdm.cellular.sim_actions import Shown
from mdm.cellular.sim_wishes import Outcome, Wish
from mdm.db import SessionDep

router = APIRouter(prefix="/api/v1/sims", tags=["sims"])

_Controller = Annotated[Principal, Depends(may(Action.CONTROL_SIMS))]
_Reader = Annotated[Principal, Depends(may(Action.READ_SIMS))]
_RADIOS = (ActionKind.LOCK_IMEI, ActionKind.UNLOCK_IMEI)


class ActOnLine(BaseModel):
    """What is wanted of a line."""

    model_config = ConfigDict(extra="forbid")

    kind: ActionKind
    value: str = Field(
        default="",
        max_length=64,
        description="A speed class or a plan, in the carrier's words; an IMEI, where it is not the tablet's own.",
    )
    reason: str = Field(min_length=1, max_length=400, description="Why; kept with it. No names.", examples=["idle"])
    wait_hours: int = Field(
        default=24, ge=1, le=24 * 30, description="Suspending: how long a tablet that has not answered was waited for."
    )

    def wish(self) -> Wish:
        """Return it as the rules take it."""
        return Wish(self.kind, self.reason, self.value, timedelta(hours=self.wait_hours))


class ActOnLines(ActOnLine):
    """What is wanted of several lines. Above a threshold a second person must agree."""

    sims: list[int] = Field(min_length=1, max_length=2000)


class ActionOut(BaseModel):
    """An act and how far it is. Only the carrier's own word makes it effective."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    sim_id: int
    control_number: str | None = Field(default=None, description="Of the tablet that the line is in.")
    kind: ActionKind
    value: str
    state: ActionState = Field(
        description="requested (waits for a second person), approved, sent, accepted, effective, failed, …"
    )
    reason: str
    requested_by: str
    requested_at: datetime
    approval_id: UUID | None
    sent_at: datetime | None
    accepted_at: datetime | None = Field(description="When the carrier took it, which is not yet that it is so.")
    ended_at: datetime | None
    expires_at: datetime
    error: str


class ActedOut(BaseModel):
    """An act that was noted."""

    action: ActionOut
    created: bool = Field(description="False: the same was under way already.")
    warning: str | None


class RefusedOut(BaseModel):
    """A line for which a wish was refused; nothing was noted for it."""

    sim_id: int
    slug: str = Field(examples=["sim-gate"])
    detail: str


class ActedOnOut(BaseModel):
    """What became of a wish for several lines."""

    acted: list[ActedOut]
    refused: list[RefusedOut]
    approval_id: UUID | None = Field(description="The request that a second person must approve first.")


@router.get("/actions", operation_id="listSimActions", summary="Acts on lines")
def list_actions(
    session: SessionDep, principal: _Reader, window: Paging, state: ActionState | None = None
) -> Page[ActionOut]:
    """List acts on lines in scope, newest first."""
    return _page(session, principal, window, state=state)


@router.post(
    "/actions",
    operation_id="actOnSims",
    summary="Suspend, resume or change several lines",
    status_code=HTTPStatus.ACCEPTED,
    response_model=ActedOnOut,
)
def act_on_sims(body: ActOnLines, session: SessionDep, principal: _Controller, once: Once) -> Response:
    """Note a wish for several lines, each judged by itself. Above the threshold they wait for a second person."""

    def act() -> ActedOnOut:
        found = sim_wishes.ask(session, principal, body.sims, body.wish())
        acted = [_acted(principal, each) for each in found if each.refusal is None]
        return ActedOnOut(
            acted=acted,
            refused=[
                RefusedOut(sim_id=each.sim_id, slug=each.refusal.slug, detail=each.refusal.detail)
                for each in found
                if each.refusal is not None
            ],
            approval_id=next((each.action.approval_id for each in acted if each.created), None),
        )

    return once.run(act)


@router.post("/actions/{action_id}/cancel", operation_id="cancelSimAction", summary="Take an act back")
def cancel_action(action_id: UUID, session: SessionDep, principal: _Controller) -> ActionOut:
    """Take back what has not been sent. What waits for a second person is withdrawn there."""
    action = sim_actions.find(session, principal.scope, action_id)
    sim_actions.take_back(session, action, f"taken back by {principal.actor}")
    chain.record(session, principal, "sim.cancel", f"sim:{action.sim_id}", {"action": str(action.id)})
    return _shown(principal, Shown(action, None))


@router.post(
    "/{sim_id}/actions",
    operation_id="actOnSim",
    summary="Suspend, resume or change a line",
    status_code=HTTPStatus.ACCEPTED,
    response_model=ActedOut,
)
def act_on_sim(sim_id: int, body: ActOnLine, session: SessionDep, principal: _Controller, once: Once) -> Response:
    """Note a wish for a line; a worker sends it, and only the line itself, read back, says that it is so.

    Suspending is refused (409 `sim-gate`) while a lock or wipe is on its way to the tablet: it comes by the SIM.
    """

    def act() -> ActedOut:
        [outcome] = sim_wishes.ask(session, principal, [sim_id], body.wish())
        outcome.must()
        return _acted(principal, outcome)

    return once.run(act)


@router.get("/{sim_id}/actions", operation_id="listActionsOfSim", summary="The acts on one line")
def list_actions_of_sim(sim_id: int, session: SessionDep, principal: _Reader, window: Paging) -> Page[ActionOut]:
    """List the acts on one line, newest first."""
    sims.one(session, principal.scope, sim_id)
    return _page(session, principal, window, sim_id=sim_id)


def _page(
    session: Session,
    principal: Principal,
    window: Paging,
    *,
    sim_id: int | None = None,
    state: ActionState | None = None,
) -> Page[ActionOut]:
    before = UUID(window.after[0]) if window.after else None
    rows = sim_actions.listed(
        session, principal.scope, sim_id=sim_id, state=state, before=before, limit=window.limit + 1
    )
    return page_of(window, rows, key=lambda row: [str(row.action.id)], show=lambda row: _shown(principal, row))


def _acted(principal: Principal, outcome: Outcome) -> ActedOut:
    action = _shown(principal, Shown(outcome.must(), None))
    return ActedOut(action=action, created=outcome.fresh, warning=outcome.warning)


def _shown(principal: Principal, row: Shown) -> ActionOut:
    """Return an act as this principal may see it: an IMEI is a number of a line's."""
    shown = ActionOut.model_validate(row.action).model_copy(update={"control_number": row.control_number})
    if shown.kind in _RADIOS and shown.value and not principal.may(Action.READ_SIM_NUMBERS):
        return shown.model_copy(update={"value": f"…{shown.value[-4:]}"})
    return shown
