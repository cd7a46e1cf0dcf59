"""The operator API of organizations and their contracts. It reads and shows; the rules are in `contractors`."""

from datetime import date, datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session

from mdm.api import Page, Paging, page_of
from mdm.auth import Action, Principal, Role, may
from mdm.auth.entitlement import today
from mdm.db import SessionDep
from mdm.organization import activity, contractors
from mdm.organization.contractors import Access, Consent, Standing
from mdm.organization.models import Contract, Organization, Tier

router = APIRouter(prefix="/api/v1/organizations", tags=["organizations"])
Reader = Annotated[Principal, Depends(may(Action.READ_ORGANIZATIONS))]
Manager = Annotated[Principal, Depends(may(Action.MANAGE_ORGANIZATIONS))]
Duties = Annotated[list[Role], Field(min_length=1, max_length=4, examples=[["loss_desk"]])]
_Reference = Annotated[str, Field(min_length=1, max_length=200, examples=["file 2026-112"])]


class Body(BaseModel):
    """What comes in; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class ConsentIn(Body):
    """The board's written consent."""

    document: _Reference = Field(description="Where it is filed.")
    on: date


class NewOrganization(Body):
    """A contractor of the board, or with `parent_id` a sub-contractor of that contractor."""

    name: str = Field(min_length=1, max_length=100, examples=["Invented Systems"])
    parent_id: int | None = Field(default=None, examples=[None])
    consent: ConsentIn | None = Field(default=None, description="A sub-contractor takes it.")
    certificate: str | None = Field(default=None, max_length=200, description="A third party's (R-43).")
    certificate_until: date | None = None


class NewCertificate(Body):
    """A certificate in place of the former."""

    certificate: str = Field(min_length=1, max_length=200, examples=["Privacy Mark 00000000"])
    certificate_until: date | None = None


class NewContract(Body):
    """A contract: its days (both count), its duties, and which one it renews."""

    starts_on: date = Field(examples=["2026-04-01"])
    ends_on: date = Field(examples=["2027-03-31"])
    duties: Duties
    document: _Reference
    renews_id: int | None = Field(default=None, examples=[None])


class Termination(Body):
    """The last day of a contract that ends before its time."""

    on: date


class ContractOut(BaseModel):
    """One version of a contract."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    starts_on: date
    ends_on: date
    duties: list[Role]
    document: str
    renews_id: int | None
    terminated_on: date | None = Field(description="Its last day after all.")
    recorded_at: datetime
    recorded_by: str = Field(examples=["operator:hanako"])


class AccessOut(BaseModel):
    """Until when accounts of the organization open."""

    model_config = ConfigDict(from_attributes=True)

    standing: Standing
    ends_on: date | None
    days_left: int | None
    warning: bool = Field(description="It ends within 60 days, and no renewal is on record.")


class OrganizationOut(BaseModel):
    """An organization: the board (甲), a contractor (乙) or a sub-contractor (丙)."""

    id: int
    name: str
    tier: Tier
    parent_id: int | None
    consent_document: str | None
    consent_on: date | None
    certificate: str | None
    certificate_until: date | None
    access: AccessOut | None = Field(description="Null for the board, which needs no contract.")


class OrganizationDetailOut(OrganizationOut):
    """An organization with its contracts, oldest first."""

    contracts: list[ContractOut]


class ActOut(BaseModel):
    """One act of an organization's accounts, as the audit trail has it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    at: datetime
    organization_id: int
    actor: str = Field(examples=["operator:hanako"])
    action: str = Field(examples=["command.enqueue"])
    subject: str = Field(examples=["device:42"])
    details: dict[str, Any]


def _fields(row: Organization, access: Access) -> dict[str, Any]:
    return {
        **row.model_dump(exclude={"parent_tier", "created_at"}, warnings=False),
        "access": None if row.tier == Tier.BOARD else AccessOut.model_validate(access),
    }


def _detail(session: Session, row: Organization) -> OrganizationDetailOut:
    assert row.id is not None
    rows: list[Contract] = contractors.contracts(session, [row.id])[row.id]
    access = contractors.access_of(rows, today())
    return OrganizationDetailOut(**_fields(row, access), contracts=[ContractOut.model_validate(each) for each in rows])


@router.get("", operation_id="listOrganizations", summary="The board, contractors and sub-contractors")
def list_organizations(session: SessionDep, principal: Reader) -> list[OrganizationOut]:
    """List the organizations that the caller may know of: all for the board, else one's own and those below it."""
    rows = contractors.visible(session, principal)
    of_each = contractors.contracts(session, [row.id for row in rows if row.id is not None])
    day = today()
    return [OrganizationOut(**_fields(row, contractors.access_of(of_each[row.id or 0], day))) for row in rows]


@router.post("", operation_id="addOrganization", summary="Take up an organization", status_code=HTTPStatus.CREATED)
def add_organization(body: NewOrganization, session: SessionDep, principal: Manager) -> OrganizationDetailOut:
    """Take up a contractor, or a sub-contractor with the board's consent. Below a sub-contractor nobody can be."""
    row = contractors.add(
        session,
        principal,
        name=body.name,
        parent_id=body.parent_id,
        consent=Consent(body.consent.document, body.consent.on) if body.consent else None,
        certificate=body.certificate,
        certificate_until=body.certificate_until,
    )
    return _detail(session, row)


@router.get("/{organization_id}", operation_id="showOrganization", summary="One organization with its contracts")
def show_organization(organization_id: int, session: SessionDep, principal: Reader) -> OrganizationDetailOut:
    """Return one organization."""
    return _detail(session, contractors.find(session, principal, organization_id))


@router.put("/{organization_id}/certificate", operation_id="certifyOrganization", summary="Note a certificate")
def certify_organization(
    organization_id: int, body: NewCertificate, session: SessionDep, principal: Manager
) -> OrganizationDetailOut:
    """Note the certificate of a third party, in place of the former."""
    row = contractors.certify(
        session, principal, organization_id, certificate=body.certificate, until=body.certificate_until
    )
    return _detail(session, row)


@router.post(
    "/{organization_id}/contracts",
    operation_id="addContract",
    summary="Put a contract on record",
    status_code=HTTPStatus.CREATED,
)
def add_contract(
    organization_id: int, body: NewContract, session: SessionDep, principal: Manager
) -> OrganizationDetailOut:
    """Put a contract or its renewal on record. Accounts open by it from its first day to its last."""
    contractors.add_contract(session, principal, organization_id, **body.model_dump())
    return _detail(session, contractors.find(session, principal, organization_id))


@router.post(
    "/{organization_id}/contracts/{contract_id}/terminate",
    operation_id="terminateContract",
    summary="End a contract before its time",
)
def terminate_contract(
    organization_id: int, contract_id: int, body: Termination, session: SessionDep, principal: Manager
) -> OrganizationDetailOut:
    """Name the last day of a contract; who works by it is out from the next day on, whatever is open."""
    contractors.terminate(session, principal, organization_id, contract_id, on=body.on)
    return _detail(session, contractors.find(session, principal, organization_id))


@router.get("/{organization_id}/activity", operation_id="listActivity", summary="What an organization's accounts did")
def list_activity(organization_id: int, session: SessionDep, principal: Reader, window: Paging) -> Page[ActOut]:
    """List the acts of the accounts of an organization and of those below it, newest first, from the audit trail."""
    contractors.find(session, principal, organization_id)
    before = int(window.after[0]) if window.after else None
    acts = activity.acts(session, principal, organization_id, before=before, limit=window.limit + 1)
    return page_of(window, acts, key=lambda act: [act.id], show=ActOut.model_validate)
