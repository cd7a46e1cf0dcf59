"""The operator API of SIMs: find them, bind them to tablets, exchange them, hand them out as a file.

A SIM is shown with the control number of its tablet and with nothing about a person (B5.2). Who needs numbers sees them
in full, the others their ends.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlmodel import Session

from mdm.api import Page, Paging, page_of
from mdm.api.csvanswer import CsvResponse, csv_file
from mdm.audit import chain
from mdm.audit.reads import on_record
from mdm.auth import Action, Principal, may
from mdm.cellular import bindings, sims
from mdm.cellular.bindings import Word
from mdm.cellular.models import BindingSource, SimStatus
from mdm.cellular.sim_columns import JAPANESE, Column
from mdm.cellular.sims import Filters, Found
from mdm.csvfile import csv_line
from mdm.db import SessionDep
from mdm.devices import search

router = APIRouter(prefix="/api/v1/sims", tags=["sims"])

_NUMBERS = ("iccid", "eid", "imsi", "msisdn", "imei_seen", "imei_lock")
_REASON = "Why; kept with the binding. No names."


class SimOut(BaseModel):
    """A SIM and the tablet it is in. Who may not read numbers sees their last four digits."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    iccid: str = Field(examples=["8981100000000000013"])
    eid: str | None
    imsi: str | None = Field(examples=["440100000000001"])
    msisdn: str | None = Field(description="E.164 without the plus.", examples=["812000000000001"])
    account: str = Field(examples=["soracom-1"])
    carrier_sim_id: str | None
    plan: str | None = Field(examples=["plan-7gb"])
    pool: str | None
    control_number: str | None = Field(description="Of the tablet it is in.", examples=["T000001"])
    device_id: int | None
    device_state: str | None = Field(description="Where the ledger says that the tablet stands.")
    bound_since: datetime | None
    intended_status: SimStatus | None = Field(description="What we last asked for; null: never anything.")
    effective_status: SimStatus = Field(description="What the carrier last said.")
    carrier_status: str = Field(description="The carrier's own word.")
    status_seen_at: datetime | None
    status_changed_at: datetime | None
    intended_speed: str | None
    effective_speed: str | None
    imei_seen: str | None = Field(description="The radio that the network last saw it in.")
    imei_seen_at: datetime | None
    imei_lock: str | None
    last_online_at: datetime | None
    missing_since: datetime | None = Field(description="Since when the carrier's whole list leaves it out.")
    source: str
    updated_at: datetime


class BindingOut(BaseModel):
    """One stretch of time of the SIM in one tablet."""

    model_config = ConfigDict(from_attributes=True)

    control_number: str
    device_id: int
    valid_from: datetime
    valid_to: datetime | None = Field(description="Exclusive; null: it is there now.")
    source: BindingSource
    reason: str
    bound_by: str
    ended_by: str | None
    end_reason: str | None


class MembershipOut(BaseModel):
    """One stretch of time of the SIM in a pool; it may lie ahead."""

    model_config = ConfigDict(from_attributes=True)

    pool: str
    valid_from: datetime
    valid_to: datetime | None
    reason: str
    set_by: str


class SimDetailOut(SimOut):
    """A SIM with where it was and which pools it is in."""

    bindings: list[BindingOut] = Field(description="Newest first.")
    memberships: list[MembershipOut] = Field(description="Newest first.")


class BindSim(BaseModel):
    """The tablet that a SIM is in."""

    model_config = ConfigDict(extra="forbid")

    device_id: int
    reason: str = Field(min_length=1, max_length=400, description=_REASON, examples=["the tray was empty"])
    since: AwareDatetime | None = Field(default=None, description="If it is told later than it was done; 90 days back.")


class UnbindSim(BaseModel):
    """A SIM that is in no tablet any more."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=400, description=_REASON)
    since: AwareDatetime | None = None


class ExchangeSims(BaseModel):
    """Two tablets whose SIMs changed places, or a spare that took over."""

    model_config = ConfigDict(extra="forbid")

    device_id: int
    other_device_id: int
    hand_over: bool = Field(default=False, description="The other one has no SIM and takes this one's.")
    reason: str = Field(min_length=1, max_length=400, description=_REASON)
    since: AwareDatetime | None = None


def filters_of(
    *,
    q: Annotated[
        str | None, Query(max_length=64, description="Start of an ICCID, telephone number, IMSI or control number.")
    ] = None,
    iccid: Annotated[str | None, Query(max_length=40, description="In any of its forms.")] = None,
    imsi: Annotated[str | None, Query(max_length=32)] = None,
    msisdn: Annotated[str | None, Query(max_length=32, description="Domestic or with the country code.")] = None,
    eid: Annotated[str | None, Query(max_length=48)] = None,
    control_number: Annotated[str | None, Query(max_length=64)] = None,
    account: Annotated[str | None, Query(max_length=64)] = None,
    plan: Annotated[str | None, Query(max_length=64)] = None,
    pool: Annotated[str | None, Query(max_length=64)] = None,
    school: Annotated[str | None, Query(max_length=32, description="The code of the tablet's school.")] = None,
    status: SimStatus | None = None,
    bound: Annotated[bool | None, Query(description="Whether it is in a tablet.")] = None,
    missing: Annotated[bool | None, Query(description="Whether the carrier's whole list leaves it out.")] = None,
    unsettled: Annotated[bool | None, Query(description="What we asked for is not yet so.")] = None,
) -> Filters:
    """Take the filters of a list of SIMs."""
    return Filters(
        q, iccid, imsi, msisdn, eid, control_number, account, plan, pool, school, status, bound, missing, unsettled
    )


def shown(principal: Principal, found: Found) -> SimOut:
    """Return a SIM as this principal may see it."""
    sim = SimOut.model_validate(found)
    if principal.may(Action.READ_SIM_NUMBERS):
        return sim
    numbers = {name: getattr(sim, name) for name in _NUMBERS}
    return sim.model_copy(update={name: f"…{value[-4:]}" for name, value in numbers.items() if value})


@router.get("", operation_id="listSims", summary="Search SIMs", dependencies=[on_record("sim.list", "sims")])
def list_sims(
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.READ_SIMS))],
    window: Paging,
    filters: Annotated[Filters, Depends(filters_of)],
) -> Page[SimOut]:
    """Search the SIMs in the caller's scope; all filters that are given must fit."""
    after = int(window.after[0]) if window.after else None
    rows = sims.find(session, principal.scope, filters, after=after, limit=window.limit + 1)
    return page_of(window, rows, key=lambda row: [row.id], show=lambda row: shown(principal, row))


@router.get("/export", operation_id="exportSims", summary="The SIMs as a file", response_class=CsvResponse)
def export_sims(
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.READ_SIM_NUMBERS))],
    filters: Annotated[Filters, Depends(filters_of)],
    english: Annotated[bool, Query(description="English headers instead of Japanese ones.")] = False,
) -> Response:
    """Give the SIMs that fit as CSV (UTF-8 with a mark), in the form that the import reads."""
    body = "".join(_export(sims.everything(session, principal.scope, filters), english=english))
    chain.record(session, principal, "sim.export", "sims", {"lines": body.count("\r\n") - 1})
    return csv_file(body, "sims")


@router.get(
    "/{sim_id}", operation_id="showSim", summary="One SIM", dependencies=[on_record("sim.read", "sim:{sim_id}")]
)
def show_sim(
    sim_id: int, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_SIMS))]
) -> SimDetailOut:
    """Show one SIM with the tablets it was in, within the caller's scope, and its pools."""
    return _detail(session, principal, sim_id)


@router.post("/{sim_id}/binding", operation_id="bindSim", summary="Put a SIM into a tablet")
def bind_sim(
    sim_id: int,
    body: BindSim,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.MANAGE_SIMS))],
) -> SimDetailOut:
    """Note that a SIM is in a tablet. Refused (409) where either is taken: unbind first, or exchange."""
    search.one(session, principal.scope, body.device_id)
    if bindings.of_sim(session, sim_id) is not None:
        sims.one(session, principal.scope, sim_id)  # a refusal says where it is
    bindings.bind(session, sim_id, body.device_id, _word(principal, body.reason, body.since))
    return _detail(session, principal, sim_id)


@router.post("/{sim_id}/unbinding", operation_id="unbindSim", summary="Take a SIM out of its tablet")
def unbind_sim(
    sim_id: int,
    body: UnbindSim,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.MANAGE_SIMS))],
) -> BindingOut:
    """Note that a SIM is in no tablet any more; nothing is asked of the carrier."""
    sims.one(session, principal.scope, sim_id)
    bindings.unbind(session, sim_id, _word(principal, body.reason, body.since))
    return BindingOut.model_validate(bindings.history_of_sim(session, sim_id)[0])


@router.post("/exchanges", operation_id="exchangeSims", summary="Exchange the SIMs of two tablets")
def exchange_sims(
    body: ExchangeSims, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.MANAGE_SIMS))]
) -> list[SimOut]:
    """Note that two tablets' SIMs changed places, or that a spare took the SIM of the tablet it replaces."""
    for device_id in (body.device_id, body.other_device_id):
        search.one(session, principal.scope, device_id)
    word = _word(principal, body.reason, body.since, BindingSource.EXCHANGE)
    change = bindings.hand_over if body.hand_over else bindings.exchange
    change(session, body.device_id, body.other_device_id, word)
    now = [bindings.of_device(session, device_id) for device_id in (body.device_id, body.other_device_id)]
    return [shown(principal, sims.one(session, principal.scope, each.sim_id)) for each in now if each is not None]


def _word(
    principal: Principal, reason: str, since: datetime | None, source: BindingSource = BindingSource.OPERATOR
) -> Word:
    return Word(principal.actor, source, reason.strip(), since)


def _detail(session: Session, principal: Principal, sim_id: int) -> SimDetailOut:
    found = sims.one(session, principal.scope, sim_id)
    visible = {device for device in (found.device_id,) if device is not None}
    history = bindings.history_of_sim(session, sim_id)
    if principal.scope.all_schools:
        visible |= {each.device_id for each in history}
    return SimDetailOut(
        **shown(principal, found).model_dump(),
        bindings=[BindingOut.model_validate(each) for each in history if each.device_id in visible],
        memberships=[MembershipOut.model_validate(each) for each in sims.memberships(session, sim_id)],
    )


_CELLS = {
    Column.ICCID: "iccid",
    Column.EID: "eid",
    Column.IMSI: "imsi",
    Column.MSISDN: "msisdn",
    Column.CARRIER_SIM_ID: "carrier_sim_id",
    Column.PLAN: "plan",
    Column.POOL: "pool",
    Column.STATUS: "carrier_status",
    Column.CONTROL_NUMBER: "control_number",
}


def _export(found: Iterator[Found], *, english: bool) -> Iterator[str]:
    yield csv_line(column.value if english else JAPANESE[column] for column in _CELLS)
    for sim in found:
        yield csv_line(str(getattr(sim, name) or "") for name in _CELLS.values())
