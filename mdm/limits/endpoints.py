"""The operator API of limits. It reads and shows; the rules are in `limits`."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from mdm.api import Page, Paging, page_of
from mdm.auth import Action, Principal, may
from mdm.db import SessionDep
from mdm.limits import limits
from mdm.limits.values import Name

router = APIRouter(prefix="/api/v1/limits", tags=["limits"])

_VALUE = (
    "`{per_s, burst}` in wake-ups for fleet, provider.*, school, device and urgent;"
    " `{bands, burst}` in bytes for school.bytes; `{at_once, big_from_bytes, minutes}` for school.downloads;"
    " `{gb}` for gate.gb and pool.gb. A rate of 0 means no limit."
)


class LimitOut(BaseModel):
    """A limit that holds, or one line of its history."""

    model_config = ConfigDict(from_attributes=True)

    name: Name
    school: str | None = Field(description="The school whose own limit it is; null for everybody's.")
    value: dict[str, Any] | None = Field(
        description=_VALUE + " In a history, null says that it was taken back.",
        examples=[{"bands": {"mon-fri 08:15-15:45": 500000, "else": 2500000}}],
    )
    set_at: datetime | None = Field(description="Null: nobody has set it, and the settings' value holds.")
    set_by: str = Field(examples=["operator:hanako"])
    reason: str


class SetLimit(BaseModel):
    """A new value for a limit."""

    model_config = ConfigDict(extra="forbid")

    value: dict[str, Any] | None = Field(
        description=_VALUE + " Parts left out stay as they are; null takes the limit back.",
        examples=[{"per_s": 20, "burst": 60}],
    )
    school: str | None = Field(default=None, max_length=32, description="A school's code, for a limit of its own.")
    reason: str = Field(default="", max_length=400, examples=["the line of this school is weak"])


@router.get("", operation_id="listLimits", summary="The limits that hold")
def list_limits(
    session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_LIMITS))]
) -> list[LimitOut]:
    """List every limit as it holds now, then those that schools in the caller's scope have of their own."""
    return [LimitOut.model_validate(line) for line in limits.overview(session, principal.scope)]


@router.put("/{name}", operation_id="setLimit", summary="Set a limit")
def set_limit(
    name: Name, body: SetLimit, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.SET_LIMITS))]
) -> LimitOut:
    """Set a limit for everybody, or one school's own; it holds in every worker within two seconds."""
    line = limits.set_limit(session, principal, name, body.value, school=body.school, reason=body.reason)
    return LimitOut.model_validate(line)


@router.get("/{name}/history", operation_id="listLimitHistory", summary="What a limit was")
def list_limit_history(
    name: Name,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.READ_LIMITS))],
    window: Paging,
    school: Annotated[str | None, Query(max_length=32, description="A school's code, for its own limit.")] = None,
) -> Page[LimitOut]:
    """List every value that was set, newest first."""
    before = int(window.after[0]) if window.after else None
    rows = limits.history(session, principal.scope, name=name, school=school, before=before, limit=window.limit + 1)
    return page_of(window, rows, key=lambda row: [row.id], show=LimitOut.model_validate)
