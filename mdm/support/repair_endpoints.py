"""The operator API of broken tablets: spare, repairer, return. Renders; the rules are in `repairs`."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from mdm.auth import Principal
from mdm.auth.access import may
from mdm.auth.rights import Action
from mdm.db import SessionDep
from mdm.support import repairs, views
from mdm.support.repairs import ADVICE, Order
from mdm.support.tablets import Sought
from mdm.support.views import CaseOut

router = APIRouter(prefix="/api/v1/cases/{case_id}", tags=["cases"])
RepairWorker = Annotated[Principal, Depends(may(Action.WORK_REPAIR))]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SwapTablet(_Body):
    """Which spare is handed out; one of the two."""

    control_number: str | None = Field(default=None, max_length=64, examples=["T000900"])
    serial: str | None = Field(default=None, max_length=64)


class SendRepair(_Body):
    """An order to a repairer."""

    order_number: str = Field(min_length=1, max_length=64, examples=["R-2026-0042"])
    vendor: str = Field(min_length=1, max_length=100, examples=["Invented Repairs"], description="The company.")
    sent_on: date


class RepairBack(_Body):
    """The tablet is back."""

    back_on: date | None = Field(default=None, description="Today when left out.")


class SentOut(BaseModel):
    """The case, and what to tell the repairer."""

    case: CaseOut
    advice: str = Field(examples=[ADVICE])


@router.post("/swap", operation_id="swapTablet", summary="Hand out a spare")
def swap(case_id: int, body: SwapTablet, session: SessionDep, principal: RepairWorker) -> CaseOut:
    """Give the holder a spare of the same school; holder and policy follow in the ledger, in one transaction."""
    sought = Sought(control_number=body.control_number, serial=body.serial)
    return views.case_of(session, principal, repairs.swap(session, principal, case_id, sought))


@router.post("/swap/undo", operation_id="undoSwap", summary="Take the spare back")
def undo_swap(case_id: int, session: SessionDep, principal: RepairWorker) -> CaseOut:
    """Give the holder the first tablet back."""
    return views.case_of(session, principal, repairs.undo_swap(session, principal, case_id))


@router.post("/repairs", operation_id="sendRepair", summary="Send the tablet to a repairer")
def send_repair(case_id: int, body: SendRepair, session: SessionDep, principal: RepairWorker) -> SentOut:
    """Note the order; the ledger has the tablet in repair."""
    order = Order(body.order_number, body.vendor, body.sent_on)
    return SentOut(
        case=views.case_of(session, principal, repairs.send(session, principal, case_id, order)), advice=ADVICE
    )


@router.post("/repairs/back", operation_id="repairBack", summary="The tablet is back from the repairer")
def repair_back(case_id: int, body: RepairBack, session: SessionDep, principal: RepairWorker) -> CaseOut:
    """Note the return."""
    return views.case_of(session, principal, repairs.back(session, principal, case_id, body.back_on))
