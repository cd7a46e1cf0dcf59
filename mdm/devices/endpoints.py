"""The operator API of tablets: search, one tablet, its ledger state, its holder's name (an audited read, R-26)."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from mdm.api.pages import Page, Paging, page_of
from mdm.audit import chain
from mdm.audit.reads import on_record
from mdm.auth import Action, Principal
from mdm.auth.access import may
from mdm.db import SessionDep
from mdm.devices import search
from mdm.devices.models import EnrollmentStatus, LedgerState, VerificationStatus
from mdm.devices.search import Filters, Found
from mdm.errors import NotFound
from mdm.organization import holders, six
from mdm.organization.six import View

router = APIRouter(prefix="/api/v1/devices", tags=["devices"])

_LOOK = on_record("device.read", "device:{device_id}")
_LEAVES_THE_FLEET = frozenset([LedgerState.RETURNED, LedgerState.RETIRED])


class HolderOut(BaseModel):
    """Who has the tablet: the name is masked, `GET …/holder-name` shows it and is on record.

    A contractor's loss desk sees this and no IMEI or ICCID; its other duties see those and no holder (R-26).
    """

    user_id: str = Field(examples=["p-e001-0001"])
    year: int | None = Field(examples=[1])
    class_name: str | None = Field(examples=["2"])
    name: str = Field(default=holders.MASK, description="Always masked here.")


class EnrollmentOut(BaseModel):
    """How the conversation with the tablet stands."""

    model_config = ConfigDict(from_attributes=True)

    status: EnrollmentStatus
    epoch: int
    supervised: bool | None
    os_version: str = Field(examples=["26.1"])
    product: str = Field(examples=["iPad13,18"])
    lost_mode: bool = Field(description="What the tablet itself last said.")
    up_to_date: bool = Field(description="Everything that the policy wants is installed.")
    verification: VerificationStatus | None = Field(
        description="Whether the tablet's own lists prove that; null until everything is installed."
    )
    enrolled_at: datetime | None
    last_seen_at: datetime | None
    last_push_at: datetime | None


class DeviceOut(BaseModel):
    """A tablet: its line in the ledger and its enrolment."""

    id: int
    control_number: str = Field(examples=["T000001"])
    serial: str = Field(examples=["ZZ3TQ00001"])
    platform: str = Field(examples=["apple"])
    model: str
    imei: str | None
    iccid: str | None
    school_code: str = Field(examples=["E001"])
    school_name: str = Field(examples=["青葉小学校"])
    holder: HolderOut | None
    lease_contract: str
    state: LedgerState
    updated_at: datetime
    enrollment: EnrollmentOut


class ReportOut(BaseModel):
    """An inventory answer that the tablet has given."""

    model_config = ConfigDict(from_attributes=True)

    kind: str = Field(examples=["device_information"])
    received_at: datetime


class FindingOut(BaseModel):
    """One thing that is not on the tablet as it should be, or that the tablet does not prove."""

    identifier: str = Field(examples=["tabane.policy.usb"])
    key: str | None = Field(examples=["allowHostPairing"], description="Of a restriction; null is the whole profile.")
    what: str = Field(examples=["missing"], description="missing, other, loosened; or unreported, refused.")


class DeviceDetailOut(DeviceOut):
    """A tablet, which inventory answers it has given, and what they say against it."""

    reports: list[ReportOut]
    findings: list[FindingOut] = Field(description="Why it drifted, or what is not proved.")
    healed_at: datetime | None = Field(description="When what had drifted was handed over again; that is done once.")


class DevicePatch(BaseModel):
    """What may be changed on a single tablet; everything else comes with the ledger file."""

    model_config = ConfigDict(extra="forbid")

    state: LedgerState = Field(examples=["lost"])


class HolderNameOut(BaseModel):
    """A holder's name in clear."""

    user_id: str
    name: str


def _filters(
    *,
    q: Annotated[
        str | None, Query(max_length=64, description="Start of a control number, serial, user id, IMEI or ICCID.")
    ] = None,
    control_number: Annotated[str | None, Query(max_length=64)] = None,
    serial: Annotated[str | None, Query(max_length=64)] = None,
    imei: Annotated[str | None, Query(max_length=32, description="In any of its forms.")] = None,
    iccid: Annotated[str | None, Query(max_length=40, description="In any of its forms.")] = None,
    user_id: Annotated[str | None, Query(max_length=64)] = None,
    school: Annotated[str | None, Query(max_length=32, description="A school code.")] = None,
    year: Annotated[int | None, Query(ge=1, le=12)] = None,
    class_name: Annotated[str | None, Query(alias="class", max_length=32)] = None,
    state: LedgerState | None = None,
    enrollment: EnrollmentStatus | None = None,
    verification: VerificationStatus | None = None,
) -> Filters:
    return Filters(
        q, control_number, serial, imei, iccid, user_id, school, year, class_name, state, enrollment, verification
    )


_UNSEEN = {View.WHOLE: (), View.PERSON: ("imei", "iccid"), View.TABLET: ("user_id",)}
"""Where the start of a text is not looked for."""


def _sought(filters: Filters, view: View) -> Filters:
    """Return the search as the view allows it; `Forbidden` for one by what is not shown (R-26)."""
    by_person = any(value is not None for value in (filters.user_id, filters.year, filters.class_name))
    by_number = any(value is not None for value in (filters.imei, filters.iccid))
    six.must_not_seek(view, by_person=by_person, by_number=by_number)
    return replace(filters, starts=tuple(each for each in search.STARTS if each not in _UNSEEN[view]))


def shown(found: Found, view: View) -> DeviceOut:
    """Return a tablet as the API shows it to somebody with this view."""
    return DeviceOut(**_fields(found, view))


def _fields(found: Found, view: View) -> dict[str, object]:
    if view is View.PERSON:
        found = replace(found, imei=None, iccid=None)
    names = ("id", "control_number", "serial", "platform", "model", "imei", "iccid", "school_code", "school_name")
    return {
        **{name: getattr(found, name) for name in (*names, "lease_contract", "state", "updated_at")},
        "holder": None
        if found.user_id is None or view is View.TABLET
        else HolderOut(user_id=found.user_id, year=found.year, class_name=found.class_name),
        "enrollment": EnrollmentOut(
            status=found.enrollment,
            epoch=found.epoch or 0,
            supervised=found.supervised,
            os_version=found.os_version or "",
            product=found.product or "",
            lost_mode=found.lost_mode,
            up_to_date=found.up_to_date,
            verification=found.verification,
            enrolled_at=found.enrolled_at,
            last_seen_at=found.last_seen_at,
            last_push_at=found.last_push_at,
        ),
    }


@router.get("", operation_id="listDevices", dependencies=[on_record("device.list", "devices")])
def list_devices(
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.READ_FLEET))],
    window: Paging,
    filters: Annotated[Filters, Depends(_filters)],
) -> Page[DeviceOut]:
    """Search the tablets in the caller's scope; all filters that are given must fit."""
    after = str(window.after[0]) if window.after else None
    view = six.view_of(principal)
    rows = search.find(session, principal.scope, _sought(filters, view), after=after, limit=window.limit + 1)
    return page_of(window, rows, key=lambda row: [row.control_number], show=lambda row: shown(row, view))


@router.get("/{device_id}", operation_id="showDevice", dependencies=[_LOOK])
def show_device(
    session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_FLEET))], device_id: int
) -> DeviceDetailOut:
    """Show one tablet."""
    found = search.one(session, principal.scope, device_id)
    reports = [ReportOut.model_validate(report) for report in search.reports(session, device_id)]
    findings = [FindingOut.model_validate(finding) for finding in found.findings or ()]
    fields = _fields(found, six.view_of(principal))
    return DeviceDetailOut(**fields, reports=reports, findings=findings, healed_at=found.healed_at)


@router.patch("/{device_id}", operation_id="changeDevice", dependencies=[_LOOK])
def change_device(
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.CHANGE_DEVICE))],
    device_id: int,
    change: DevicePatch,
) -> DeviceOut:
    """Set where a tablet stands. Taking it out of the fleet (returned, retired) needs more of a right than the rest."""
    if change.state in _LEAVES_THE_FLEET:
        principal.must(Action.RETIRE_DEVICE)
    before = search.set_state(session, principal.scope, device_id, change.state)
    if before is not change.state:
        details = {"old": before.value, "new": change.state.value}
        chain.record(session, principal, "device.set_state", f"device:{device_id}", details)
    return shown(search.one(session, principal.scope, device_id), six.view_of(principal))


@router.get("/{device_id}/holder-name", operation_id="readHolderName")
def read_holder_name(
    session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_NAME))], device_id: int
) -> HolderNameOut:
    """Show the name of who has the tablet. Each read is on record."""
    found = search.one(session, principal.scope, device_id)
    if found.holder_id is None or found.user_id is None:
        raise NotFound("nobody has this tablet")
    name = holders.open_name(session, found.holder_id)
    chain.record(session, principal, "holder.read_name", f"device:{device_id}", {"user_id": found.user_id})
    return HolderNameOut(user_id=found.user_id, name=name)
