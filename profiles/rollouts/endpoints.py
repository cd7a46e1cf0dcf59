"""The operator API of rollouts. It reads and shows; the rules are in the room's other modules."""

from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from mdm.api import Page, Paging, page_of
from mdm.auth import Administrator, Viewer
from mdm.db import SessionDep
from profiles import plans, rollouts

router = APIRouter(prefix="/rollouts", tags=["rollouts"])


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Overriding(_Body):
    """Stops that somebody takes upon themselves."""

    overrides: list[str] = Field(
        default=[], max_length=20, description="Lints that are overridden.", examples=[["learning-blocked"]]
    )
    reason: str | None = Field(default=None, max_length=400, description="Why; it goes on record.")

    def taken(self) -> plans.Overrides:
        """The overrides, as the rules take them."""
        return plans.Overrides(tuple(self.overrides), self.reason)


class StartRollout(Overriding):
    """What to roll out to whom."""

    policy: str = Field(max_length=63, examples=["district"])
    target: str = Field(max_length=80, examples=["fleet", "school=0101", "class=0101/6/1", "serial=DMPXINVENTED"])
    revision: int | None = Field(default=None, ge=1, description="The latest when absent.")


@router.post(
    "",
    operation_id="startRollout",
    summary="Roll a policy out",
    status_code=HTTPStatus.CREATED,
)
def start_rollout(body: StartRollout, session: SessionDep, principal: Administrator) -> rollouts.ShownRollout:
    """Set what the target's tablets should hold, in one wave, and make them due a wake-up."""
    return rollouts.start(
        session,
        principal,
        policy=body.policy,
        target=body.target,
        revision=body.revision,
        overrides=body.taken(),
    )


@router.get("", operation_id="listRollouts", summary="List rollouts")
def list_rollouts(session: SessionDep, principal: Viewer, window: Paging) -> Page[rollouts.ShownRollout]:
    """Return the rollouts of policies in scope, newest first."""
    before = UUID(str(window.after[0])) if window.after else None
    rows = rollouts.overview(session, principal, limit=window.limit + 1, before=before)
    return page_of(window, rows, key=lambda row: [row.id], show=lambda row: row)


@router.get("/{rollout_id}", operation_id="showRollout", summary="How far a rollout is")
def show_rollout(rollout_id: UUID, session: SessionDep, principal: Viewer) -> rollouts.ShownRollout:
    """Return the numbers of a rollout, counted now over the caller's schools."""
    return rollouts.show(session, principal, rollout_id)


@router.post("/{rollout_id}/finish", operation_id="finishRollout", summary="End a rollout")
def finish_rollout(rollout_id: UUID, session: SessionDep, principal: Administrator) -> rollouts.ShownRollout:
    """Freeze a running rollout's numbers. Its tablets keep what they should hold, and still get it when they wake."""
    return rollouts.finish(session, principal, rollout_id)
