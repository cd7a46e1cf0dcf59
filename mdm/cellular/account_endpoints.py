"""The operator API of carrier accounts. It reads and shows; the rules are in `accounts`. No secret passes here."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from mdm.auth import Action, Principal, may
from mdm.cellular import accounts, polling
from mdm.cellular.accounts import AccountLine
from mdm.cellular.models import CarrierKind
from mdm.cellular.sim_columns import checked_mapping
from mdm.cellular.usage import file_columns
from mdm.db import SessionDep

router = APIRouter(prefix="/api/v1/carriers/accounts", tags=["carriers"])

_Options = Annotated[dict[str, str | int | bool | list[str]], Field(max_length=20)]
_OPTIONS = "What its interface needs beside the secret, such as `operator_id` or `tenant_id`. Nothing secret."
_FILE = "The name of a file in the server's folder of secrets; what is in it never passes this API."
_ANCHOR = "The day a cycle begins; 29 to 31 mean the last day of a month that is shorter."
_USAGE_TZ = "The time zone of its figures' day; for some it is UTC."


class AccountLimits(BaseModel):
    """How a contract lets its interface be asked, where that differs from what the adapter assumes."""

    model_config = ConfigDict(extra="forbid")

    calls_per_s: float | None = Field(default=None, gt=0, le=1000, allow_inf_nan=False)
    in_flight: int | None = Field(default=None, ge=1, le=8, description="Questions to it at the same time.")
    page: int | None = Field(default=None, ge=1, le=10_000)


class PollOut(BaseModel):
    """One regular question to the carrier, and how it stands."""

    model_config = ConfigDict(from_attributes=True)

    job: str = Field(examples=["sims"], description="acts, changes, sims, usage, corrections")
    due_at: datetime
    started_at: datetime | None
    finished_at: datetime | None = Field(description="The last round that came to its end.")
    failures: int = Field(description="One after the other.")
    error: str = Field(description="What it last failed for; empty when it went well since.")


class AccountOut(BaseModel):
    """A contract with a carrier, and how its interface is reached."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str = Field(examples=["soracom-1"])
    kind: CarrierKind
    base_url: str = Field(examples=["https://api.soracom.io/v1"])
    secret_name: str = Field(description=_FILE, examples=["soracom-1.json"])
    options: dict[str, Any] = Field(description=_OPTIONS)
    billing_tz: str = Field(examples=["Asia/Tokyo"])
    cycle_anchor_day: int = Field(description=_ANCHOR, examples=[1])
    usage_tz: str = Field(description=_USAGE_TZ, examples=["UTC"])
    sim_mapping: dict[str, str] = Field(description="Which header of its SIM files means which column, as last used.")
    usage_mapping: dict[str, Any]
    mapping_version: int
    capabilities: dict[str, Any] = Field(description="What its interface can do, as the adapter last said.")
    limits: dict[str, Any]
    enabled: bool
    sims: int = Field(default=0, description="Lines under it.")
    polling: list[PollOut] = Field(default=[], description="Only of one account: how far each question has come.")
    updated_at: datetime


class NewAccount(BaseModel):
    """A new account."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=64, examples=["soracom-1"])
    kind: CarrierKind
    base_url: str = Field(default="", max_length=300, examples=["https://api.soracom.io/v1"])
    secret_name: str = Field(default="", max_length=64, description=_FILE)
    options: _Options = Field(default_factory=dict, description=_OPTIONS)
    billing_tz: str = Field(default="Asia/Tokyo", max_length=40)
    cycle_anchor_day: int = Field(default=1, ge=1, le=31, description=_ANCHOR)
    usage_tz: str = Field(default="Asia/Tokyo", max_length=40, description=_USAGE_TZ)
    usage_mapping: dict[str, Any] = Field(default_factory=dict, max_length=40)
    limits: AccountLimits = Field(default_factory=AccountLimits)


class AccountPatch(BaseModel):
    """What is to change; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    base_url: str | None = Field(default=None, max_length=300)
    secret_name: str | None = Field(default=None, max_length=64, description=_FILE)
    options: _Options | None = Field(default=None, description=_OPTIONS)
    billing_tz: str | None = Field(default=None, max_length=40)
    cycle_anchor_day: int | None = Field(default=None, ge=1, le=31, description=_ANCHOR)
    usage_tz: str | None = Field(default=None, max_length=40, description=_USAGE_TZ)
    sim_mapping: dict[str, str] | None = Field(default=None, description="Header to column of its SIM files.")
    usage_mapping: dict[str, Any] | None = Field(default=None, max_length=40)
    limits: AccountLimits | None = None
    enabled: bool | None = None


def _shown(line: AccountLine) -> AccountOut:
    return AccountOut.model_validate(line.account).model_copy(update={"sims": line.sims})


@router.get("", operation_id="listCarrierAccounts", summary="The carrier accounts")
def list_accounts(
    session: SessionDep, _principal: Annotated[Principal, Depends(may(Action.READ_SIMS))]
) -> list[AccountOut]:
    """List all accounts by name."""
    return [_shown(line) for line in accounts.every(session)]


@router.post("", operation_id="addCarrierAccount", status_code=201, summary="Add a carrier account")
def add_account(
    body: NewAccount, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.MANAGE_CARRIERS))]
) -> AccountOut:
    """Add an account. Its secret is put on the server as a file; here it is only named."""
    fields = body.model_dump() | {"limits": body.limits.model_dump(exclude_none=True)}
    if fields["usage_mapping"]:
        fields["usage_mapping"] = file_columns.reading(fields["usage_mapping"]).kept()
    return AccountOut.model_validate(accounts.add(session, principal, fields))


@router.get("/{name}", operation_id="showCarrierAccount", summary="One carrier account")
def show_account(
    name: str, session: SessionDep, _principal: Annotated[Principal, Depends(may(Action.READ_SIMS))]
) -> AccountOut:
    """Show one account, and how far each regular question to its carrier has come."""
    account = accounts.find(session, name)
    asked = [PollOut.model_validate(each) for each in polling.of_account(session, account.id or 0)]
    return AccountOut.model_validate(account).model_copy(update={"polling": asked})


@router.patch("/{name}", operation_id="changeCarrierAccount", summary="Change a carrier account")
def change_account(
    name: str,
    body: AccountPatch,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.MANAGE_CARRIERS))],
) -> AccountOut:
    """Change what is given. Another mapping makes the same file another import."""
    fields = body.model_dump(exclude_none=True)
    if "sim_mapping" in fields:
        fields["sim_mapping"] = checked_mapping(fields["sim_mapping"])
    if fields.get("usage_mapping"):
        fields["usage_mapping"] = file_columns.reading(fields["usage_mapping"]).kept()
    return AccountOut.model_validate(accounts.change(session, principal, name, fields))
