"""The operator API of files of usage and of bills. Numbers of lines go in here and never out."""

from datetime import date
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from sqlmodel import Session

from mdm.api.problems import PROBLEMS
from mdm.api.uploads import CSV_BODY, MULTIPART_SLACK, Uploaded, digest_of
from mdm.audit import chain
from mdm.auth import Action, Principal, may
from mdm.cellular import accounts, batches
from mdm.cellular.import_endpoints import NoteOut, mapping_pairs
from mdm.cellular.models import ImportKind
from mdm.cellular.usage import file_columns, file_import
from mdm.cellular.usage.file_columns import Dates, Grain
from mdm.cellular.usage.file_import import MAX_BYTES, Outcome, Wish
from mdm.db import SessionDep
from mdm.errors import Invalid

router = APIRouter(prefix="/api/v1/usage/imports", tags=["usage"])

_MAP: Final = "`header:column`, for a header that is not known; remembered for the account once a file went in."
_UNIT: Final = "The unit of figures whose header and cell do not say it. Remembered, as the next three are."
_MONTH: Final = "`2026-11`, the month in which the cycle begins that all of a file by month, or a bill, is of."


class UsageImportOut(BaseModel):
    """What a file did, or would do in a dry run, in lines."""

    applied: bool = Field(description="False for a dry run, and if nothing was written because of errors.")
    known: bool = Field(description="This very file went in before; nothing was done.")
    new: int
    changed: int
    unchanged: int
    adjusted: int = Field(description="Came after the bill of their cycle: the difference stands beside it.")
    errors: int = Field(description="Lines that are wrong, and left out where `skip_bad_rows` is set.")
    ignored: list[str] = Field(description="Headers that were passed over.")
    faults: list[NoteOut]
    notices: list[NoteOut]


@router.post(
    "",
    operation_id="importUsage",
    summary="Import a file of usage, or a bill",
    openapi_extra=CSV_BODY,
    max_body_size=MAX_BYTES + MULTIPART_SLACK,
    responses=PROBLEMS,
)
def import_usage(
    file: Uploaded,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.IMPORT_USAGE))],
    account: Annotated[str, Query(max_length=64, description="The carrier account whose lines they are.")],
    *,
    kind: Annotated[Literal["usage", "bill"], Query(description="A bill closes the cycle of each line.")] = "usage",
    header: Annotated[list[str] | None, Query(alias="map", max_length=40, description=_MAP)] = None,
    unit: Annotated[str | None, Query(max_length=8, description=_UNIT, examples=["mb"])] = None,
    base: Annotated[int | None, Query(description="How many of one unit are one of the next: 1000 or 1024.")] = None,
    dates: Annotated[Dates | None, Query(description="The order of a date's parts.")] = None,
    grain: Annotated[Grain | None, Query(description="Of what a line speaks.")] = None,
    month: Annotated[str | None, Query(pattern=r"^\d{4}-\d{2}$", description=_MONTH)] = None,
    dry_run: Annotated[bool, Query(description="Only say what would happen.")] = False,
    skip_bad_rows: Annotated[bool, Query(description="Import the right lines even if others are wrong.")] = False,
    again: Annotated[bool, Query(description="Import it even if this very file went in before.")] = False,
    report_faults: Annotated[
        bool, Query(description="If lines are wrong, answer this report with `applied` false, not a problem document.")
    ] = False,
    max_faults: Annotated[int, Query(ge=0, le=100_000, description="How many wrong lines to list.")] = 1000,
) -> UsageImportOut:
    """Import a CSV file of usage by day or month, or a bill: all of it, or nothing if a line is wrong.

    SIMs are named by ICCID, the carrier's id, telephone number or IMSI. The same file a second time does nothing, and
    a figure that comes after the bill of its cycle stands beside it.
    """
    accounts.must_be_everywhere(principal)
    found = accounts.find(session, account)
    how = file_columns.reading(
        found.usage_mapping, columns=mapping_pairs(header or []), unit=unit, base=base, dates=dates, grain=grain
    )
    wish = Wish(ImportKind(kind), how, _month(month), dry_run, skip_bad_rows, again)
    outcome = file_import.run(session, found, file, wish, by=principal.actor)
    if outcome.errors and not (dry_run or skip_bad_rows or report_faults):
        raise _refusal(session, outcome)
    if outcome.applied:
        counts = {name: getattr(outcome, name) for name in ("new", "changed", "unchanged", "adjusted", "errors")}
        details = counts | {"kind": kind, "sha256": digest_of(file).hex()}
        chain.record(session, principal, "usage.import", f"carrier:{found.id}", details)
    return _report(session, outcome, max_faults=max_faults)


def _month(month: str | None) -> date | None:
    try:
        return None if month is None else date.fromisoformat(f"{month}-01")
    except ValueError:
        errors = [{"pointer": "/month", "detail": "there is no such month"}]
        raise Invalid("the month is wrong", errors=errors) from None


def _refusal(session: Session, outcome: Outcome) -> Invalid:
    notes = batches.notes(session, "error", limit=1000)
    errors = [{"pointer": f"/lines/{note.line}", "detail": note.reason} for note in notes]
    return Invalid(f"nothing was imported: {outcome.errors:,} lines are wrong", errors=errors)


def _report(session: Session, outcome: Outcome, *, max_faults: int) -> UsageImportOut:
    return UsageImportOut(
        applied=outcome.applied,
        known=outcome.known,
        new=outcome.new,
        changed=outcome.changed,
        unchanged=outcome.unchanged,
        adjusted=outcome.adjusted,
        errors=outcome.errors,
        ignored=list(outcome.ignored[:100]),
        faults=[NoteOut.model_validate(note) for note in batches.notes(session, "error", limit=max_faults)],
        notices=[NoteOut.model_validate(note) for note in batches.notes(session, "odd", limit=max_faults)],
    )
