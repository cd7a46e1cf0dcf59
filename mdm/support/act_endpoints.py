"""The operator API of what is done about a lost, stolen or late tablet. Renders; the rules are in `acts`."""

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session

from mdm.api import Once
from mdm.api.problems import refusal
from mdm.auth import Principal
from mdm.auth.access import may
from mdm.auth.rights import Action
from mdm.db import SessionDep
from mdm.support import acts, cases, locations, memos, repairs, views
from mdm.support.acts import WriteOff
from mdm.support.endpoints import ShownText, Worker
from mdm.support.kinds import CaseKind, Purpose, Verified
from mdm.support.models import Case
from mdm.support.states import State
from mdm.support.views import CaseOut

router = APIRouter(prefix="/api/v1/cases/{case_id}", tags=["cases"])
LossWorker = Annotated[Principal, Depends(may(Action.WORK_LOSS))]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class WipeCase(_Body):
    """Why the tablet is to be erased; the second person decides on it."""

    reason: str = Field(min_length=1, max_length=400, examples=["stolen, police report 12"])


class VerifyCaller(_Body):
    """How the caller was verified after all."""

    verified: Verified = Field(examples=["call_back"])


class SimWish(StrEnum):
    """What the carrier is to be asked for."""

    SUSPEND = "suspend"
    RESUME = "resume"


class AskSim(_Body):
    """A wish for the tablet's SIM."""

    wish: SimWish
    reason: str = Field(default="", max_length=400, description="Needed where lock or wipe have not landed.")
    wait_hours: int = Field(default=24, ge=1, le=24 * 30, description="How long the tablet is waited for first.")


class WriteOffCase(_Body):
    """What is written down when a tablet is given up."""

    police_report_no: str | None = Field(default=None, min_length=1, max_length=64, examples=["2026-0815"])
    insurance_no: str | None = Field(default=None, min_length=1, max_length=64)


class BecomeLost(ShownText):
    """A late tablet turns out to be lost or stolen."""

    kind: CaseKind = Field(default=CaseKind.LOST, description="lost or stolen")


class WriteNote(_Body):
    """A memo for the timeline. No names, no health, no creed (R-47); it cannot be taken back."""

    text: str = Field(min_length=1, max_length=400, examples=["The school looks in the gym once more."])
    sure: bool = Field(default=False, description="The warning about this text was read.")


class CloseCase(_Body):
    """How the case ends."""

    outcome: State = Field(description="closed_found, closed_mistaken, closed_repaired, closed_retired, …")


class LocationOut(BaseModel):
    """Where the tablet says it is."""

    command_id: UUID
    answered_at: datetime
    answer: dict[str, Any] = Field(examples=[{"Latitude": 35.0, "Longitude": 135.0}])


def _answered(session: Session, principal: Principal, once: Once, act: Callable[[], Case]) -> Response:
    """Do what puts commands in line, once for each Idempotency-Key, and show the case."""
    return once.run(lambda: views.case_of(session, principal, act()))


@router.post(
    "/message",
    operation_id="showMessage",
    summary="Lock, or show another text",
    status_code=HTTPStatus.ACCEPTED,
    response_model=CaseOut,
)
def show_message(case_id: int, body: ShownText, session: SessionDep, principal: LossWorker, once: Once) -> Response:
    """Put lost mode in line with this text; what is left out stays as it was."""
    shown = body.model_dump(exclude_none=True)
    return _answered(session, principal, once, lambda: acts.show_message(session, principal, case_id, shown))


@router.post(
    "/locate",
    operation_id="locateCase",
    summary="Ask where the tablet is",
    status_code=HTTPStatus.ACCEPTED,
    response_model=CaseOut,
)
def locate(
    case_id: int, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.LOCATE))], once: Once
) -> Response:
    """Ask a tablet in lost mode, or on its way there, where it is. The answer is read apart."""
    return _answered(session, principal, once, lambda: acts.ask(session, principal, case_id, Purpose.LOCATE))


@router.get("/location", operation_id="readLocation", summary="Where the tablet says it is")
def read_location(
    case_id: int, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_LOCATION))]
) -> LocationOut:
    """Return the latest answer. Each look is on record; all is erased when the tablet is found or the case ends."""
    seen = locations.latest(session, principal, case_id)
    return LocationOut(command_id=seen.command_id, answered_at=seen.answered_at, answer=seen.answer)


@router.post(
    "/sound",
    operation_id="soundCase",
    summary="Let the tablet play a sound",
    status_code=HTTPStatus.ACCEPTED,
    response_model=CaseOut,
)
def sound(
    case_id: int, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.LOCK))], once: Once
) -> Response:
    """Let a tablet in lost mode play a sound."""
    return _answered(session, principal, once, lambda: acts.ask(session, principal, case_id, Purpose.SOUND))


@router.post(
    "/wipe",
    operation_id="wipeCase",
    summary="Ask for the tablet to be erased",
    status_code=HTTPStatus.ACCEPTED,
    response_model=CaseOut,
)
def wipe(
    case_id: int,
    body: WipeCase,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.REQUEST_WIPE))],
    once: Once,
) -> Response:
    """Ask for the tablet to be erased; held until a second person agrees. The caller must have been verified."""
    return _answered(
        session, principal, once, lambda: acts.request_wipe(session, principal, case_id, reason=body.reason)
    )


@router.post("/wipe/cancel", operation_id="cancelCaseWipe", summary="Take the wish to erase back")
def cancel_wipe(
    case_id: int, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.CANCEL_COMMAND))]
) -> CaseOut:
    """Cancel the wipe of this case, as long as the tablet has not been handed it."""
    return views.case_of(session, principal, acts.cancel_wipe(session, principal, case_id))


@router.post(
    "/sim",
    operation_id="askSim",
    summary="Wish for the SIM's suspension or resumption",
    status_code=HTTPStatus.ACCEPTED,
    response_model=CaseOut,
)
def ask_sim(case_id: int, body: AskSim, request: Request, session: SessionDep, principal: LossWorker) -> Response:
    """Ask the carrier, after the gate: the SIM is the only way to the tablet. Its own word comes onto the timeline.

    409 `sim-gate` says that something has not landed yet and nothing was noted; `no-carrier` and the like that the wish
    is on the case and nobody could be asked.
    """
    if body.wish is SimWish.SUSPEND:
        wait = timedelta(hours=body.wait_hours)
        asked = acts.suspend_sim(session, principal, case_id, reason=body.reason, wait=wait)
    else:
        asked = acts.resume_sim(session, principal, case_id)
    if asked.refusal is not None:
        return refusal(request, asked.refusal)
    answer = views.case_of(session, principal, cases.find(session, principal, case_id))
    return JSONResponse(answer.model_dump(mode="json"), HTTPStatus.ACCEPTED)


@router.post("/verify", operation_id="verifyCaller", summary="Note how the caller was verified")
def verify(case_id: int, body: VerifyCaller, session: SessionDep, principal: Worker) -> CaseOut:
    """Note how the caller was verified after all."""
    return views.case_of(session, principal, acts.verify(session, principal, case_id, body.verified))


@router.post(
    "/found",
    operation_id="foundCase",
    summary="The tablet is back",
    status_code=HTTPStatus.ACCEPTED,
    response_model=CaseOut,
)
def found(case_id: int, session: SessionDep, principal: LossWorker, once: Once) -> Response:
    """Turn lost mode off, cancel what waits, erase where it was. The case closes when the tablet says it is free."""
    return _answered(session, principal, once, lambda: acts.found(session, principal, case_id))


@router.post("/written-off", operation_id="writeOffCase", summary="Give the tablet up")
def write_off(case_id: int, body: WriteOffCase, session: SessionDep, principal: LossWorker) -> CaseOut:
    """Call the tablet lost in the ledger and close the case; lock and wipe stay in line for it."""
    what = WriteOff(body.police_report_no, body.insurance_no)
    return views.case_of(session, principal, acts.write_off(session, principal, case_id, what))


@router.post("/reminders", operation_id="remindHolder", summary="Note that the holder was reminded")
def remind(case_id: int, session: SessionDep, principal: LossWorker) -> CaseOut:
    """Note a reminder of a late return; its time counts anew."""
    return views.case_of(session, principal, acts.remind(session, principal, case_id))


@router.post(
    "/lost",
    operation_id="becomeLost",
    summary="A late tablet is lost",
    status_code=HTTPStatus.ACCEPTED,
    response_model=CaseOut,
)
def become_lost(case_id: int, body: BecomeLost, session: SessionDep, principal: LossWorker, once: Once) -> Response:
    """Make a case of a late return one of a lost or stolen tablet, and lock it at once."""
    shown = body.model_dump(exclude_none=True, exclude={"kind"})
    return _answered(session, principal, once, lambda: acts.become_lost(session, principal, case_id, body.kind, shown))


@router.post("/notes", operation_id="noteCase", summary="Write a memo on the timeline")
def write_note(case_id: int, body: WriteNote, session: SessionDep, principal: Worker) -> CaseOut:
    """Put a memo on the timeline; what looks personal is sent back once with a warning."""
    memos.check(body.text, sure=body.sure)
    return views.case_of(session, principal, acts.write_note(session, principal, case_id, body.text))


@router.post("/close", operation_id="closeCase", summary="Close a case")
def close(case_id: int, body: CloseCase, session: SessionDep, principal: Worker) -> CaseOut:
    """Close a case; one that was opened in error frees its tablet."""
    return views.case_of(session, principal, repairs.end(session, principal, case_id, body.outcome))
