"""The operator API of rollouts. It reads and shows; the rules are in the room's other modules."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from mdm.api import Page, Paging, page_of
from mdm.auth import Action, Principal, may
from mdm.db import SessionDep
from profiles import plans, rollouts
from profiles.rollouts.schedules import Schedule
from profiles.rollouts.thresholds import Thresholds
from profiles.rollouts.waves import Place, Waves

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


class AskRollout(_Body):
    """What to roll out to whom, and how."""

    policy: str = Field(max_length=63, examples=["district"])
    target: str = Field(max_length=80, examples=["fleet", "school=0101", "class=0101/6/1", "serial=DMPXINVENTED"])
    revision: int | None = Field(default=None, ge=1, description="The latest when absent.")
    exclude: list[Place] = Field(
        default=[], max_length=500, description="Places that are left out: their tablets keep what they have."
    )
    waves: Waves | None = Field(default=None, description="By its size when absent: staged from 500 tablets on.")
    schedule: Schedule | None = Field(
        default=None, description="When absent: at once for less than 100 tablets, else outside class hours."
    )
    thresholds: Thresholds | None = None

    def options(self, reason: str | None) -> rollouts.Options:
        """The way it goes out, as the rules take it."""
        return rollouts.Options(tuple(self.exclude), self.waves, self.schedule, self.thresholds, reason)


class StartRollout(AskRollout, Overriding):
    """What to roll out to whom, how, and which stops are overridden."""


class Because(_Body):
    """Why somebody does it; it is kept with the rollout."""

    reason: str = Field(min_length=1, max_length=400, examples=["an invented reason"])


@router.post("", operation_id="startRollout", summary="Roll a policy out", status_code=HTTPStatus.CREATED)
def start_rollout(
    body: StartRollout, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.RUN_ROLLOUTS))]
) -> rollouts.ShownRollout:
    """Freeze the target's tablets and tell the first wave what to hold. Above the gate it is held (state `held`)."""
    return rollouts.start(
        session,
        principal,
        policy=body.policy,
        target=body.target,
        revision=body.revision,
        overrides=body.taken(),
        options=body.options(body.reason),
    )


@router.post("/estimate", operation_id="estimateRollout", summary="Say what a rollout would reach and cost")
def estimate_rollout(
    body: AskRollout, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.RUN_ROLLOUTS))]
) -> rollouts.Estimate:
    """Return snapshot, exclusions, waves and cost of a rollout; nothing of it is kept."""
    return rollouts.estimate(
        session,
        principal,
        policy=body.policy,
        target=body.target,
        revision=body.revision,
        options=body.options(None),
    )


@router.get("", operation_id="listRollouts", summary="List rollouts")
def list_rollouts(
    session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_ROLLOUTS))], window: Paging
) -> Page[rollouts.ShownRollout]:
    """Return the rollouts of policies in scope, newest first."""
    before = UUID(str(window.after[0])) if window.after else None
    rows = rollouts.overview(session, principal, limit=window.limit + 1, before=before)
    return page_of(window, rows, key=lambda row: [row.id], show=lambda row: row)


@router.get("/{rollout_id}", operation_id="showRollout", summary="How far a rollout is")
def show_rollout(
    rollout_id: UUID, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_ROLLOUTS))]
) -> rollouts.ShownRollout:
    """Return the numbers of a rollout, counted now over the caller's schools."""
    return rollouts.show(session, principal, rollout_id)


@router.post("/{rollout_id}/approve", operation_id="approveRollout", summary="Let a held rollout run")
def approve_rollout(
    rollout_id: UUID, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.APPROVE_ROLLOUT))]
) -> rollouts.ShownRollout:
    """Agree as a second operator to a rollout that costs more than the gate lets through."""
    return rollouts.approve(session, principal, rollout_id)


@router.post("/{rollout_id}/pause", operation_id="pauseRollout", summary="Pause a rollout")
def pause_rollout(
    rollout_id: UUID,
    body: Because,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.RUN_ROLLOUTS))],
) -> rollouts.ShownRollout:
    """Open no further wave and take back wake-ups that were not sent. Asked twice it changes nothing."""
    return rollouts.pause(session, principal, rollout_id, reason=body.reason)


@router.post("/{rollout_id}/resume", operation_id="resumeRollout", summary="Resume a paused rollout")
def resume_rollout(
    rollout_id: UUID,
    body: Because,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.RUN_ROLLOUTS))],
) -> rollouts.ShownRollout:
    """Go on where it was paused."""
    return rollouts.resume(session, principal, rollout_id, reason=body.reason)


@router.post("/{rollout_id}/abort", operation_id="abortRollout", summary="Stop a rollout for good")
def abort_rollout(
    rollout_id: UUID,
    body: Because,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.RUN_ROLLOUTS))],
) -> rollouts.ShownRollout:
    """Tablets that have not installed it fall back, the others keep it. Declines a rollout that is held."""
    return rollouts.abort(session, principal, rollout_id, reason=body.reason)


@router.post("/{rollout_id}/roll-back", operation_id="rollBackRollout", summary="Take a rollout back")
def roll_back_rollout(
    rollout_id: UUID,
    body: Because,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.RUN_ROLLOUTS))],
) -> rollouts.ShownRollout:
    """All its tablets go back to what speaks to them without it, also long after its end."""
    return rollouts.roll_back(session, principal, rollout_id, reason=body.reason)


@router.post("/{rollout_id}/waves/{number}/release", operation_id="releaseWave", summary="Open a wave by hand")
def release_wave(
    rollout_id: UUID,
    number: int,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.RUN_ROLLOUTS))],
) -> rollouts.ShownRollout:
    """Open a wave before its time, or because the rollout's waves wait for hands."""
    return rollouts.release_wave(session, principal, rollout_id, number)


@router.post("/{rollout_id}/finish", operation_id="finishRollout", summary="End a rollout")
def finish_rollout(
    rollout_id: UUID, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.RUN_ROLLOUTS))]
) -> rollouts.ShownRollout:
    """Freeze a running rollout's numbers. Its tablets keep what they should hold, and still get it when they wake."""
    return rollouts.finish(session, principal, rollout_id)
