"""The operator API of the ledger file: import it, export it. A name goes in here and never comes out."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from mdm.api.csvanswer import CsvResponse, csv_file
from mdm.api.problems import PROBLEMS
from mdm.api.uploads import CSV_BODY, MULTIPART_SLACK, Uploaded, digest_of
from mdm.audit import chain
from mdm.auth import Action, Principal, may
from mdm.csvfile import csv_line
from mdm.db import SessionDep
from mdm.devices import ledger, search
from mdm.devices.csvfile import MAX_BYTES, read_rows
from mdm.devices.ledger_columns import JAPANESE, Column
from mdm.devices.ledger_values import Outcome, Plan
from mdm.devices.search import Found

router = APIRouter(prefix="/api/v1/ledger", tags=["ledger"])

_EXPORTED = tuple(column for column in Column if column is not Column.NAME)


class ChangeOut(BaseModel):
    """One field that changes; names are masked, of ICCID and IMEI the end is shown."""

    model_config = ConfigDict(from_attributes=True)

    field: str = Field(examples=["school_code"])
    old: str = Field(examples=["E001"])
    new: str = Field(examples=["E002"])


class LineOut(BaseModel):
    """What happens to the tablet of one line."""

    model_config = ConfigDict(from_attributes=True)

    line: int = Field(examples=[2])
    control_number: str = Field(examples=["T000001"])
    outcome: Outcome
    changes: list[ChangeOut]


class FaultOut(BaseModel):
    """Why a line is not imported."""

    model_config = ConfigDict(from_attributes=True)

    line: int = Field(examples=[17])
    reason: str = Field(examples=["serial: must not be empty"])


class NoticeOut(FaultOut):
    """What is odd about a line that is imported all the same."""

    level: str = Field(examples=["warning"])


class ImportOut(BaseModel):
    """What an import does, or would do in a dry run."""

    applied: bool = Field(description="False for a dry run, and if nothing was written because of errors.")
    new: int
    changed: int
    unchanged: int
    errors: int = Field(description="Lines that are wrong, and left out where `skip_bad_rows` is set.")
    schools: int = Field(description="Schools that are added or renamed.")
    lines: list[LineOut] = Field(description="The first lines that are new or changed.")
    faults: list[FaultOut]
    notices: list[NoticeOut]


@router.post(
    "/imports",
    operation_id="importLedger",
    openapi_extra=CSV_BODY,
    max_body_size=MAX_BYTES + MULTIPART_SLACK,
    responses=PROBLEMS,
)
def import_ledger(
    file: Uploaded,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.IMPORT_LEDGER))],
    *,
    dry_run: Annotated[bool, Query(description="Only say what would happen.")] = False,
    skip_bad_rows: Annotated[bool, Query(description="Import the right lines even if others are wrong.")] = False,
    report_faults: Annotated[
        bool, Query(description="If lines are wrong, answer this report with `applied` false, not a problem document.")
    ] = False,
    show: Annotated[int, Query(ge=0, le=1000, description="How many new or changed lines to list.")] = 50,
    max_faults: Annotated[int, Query(ge=0, le=200_000, description="How many wrong lines to list.")] = 1000,
) -> ImportOut:
    """Import a ledger file: all of it, or nothing if a line is wrong and `skip_bad_rows` is not set.

    The control number is the key. A column that is not in the file leaves its field as it is; an empty cell clears it
    (state, platform and school name cannot be cleared: there an empty cell leaves them). Nothing is ever deleted; the
    same file a second time changes nothing.
    """
    plan = ledger.plan(session, read_rows(file), principal.scope, lock=not dry_run)
    refused = bool(plan.faults) and not skip_bad_rows
    if not dry_run and not (refused and report_faults):
        applied = ledger.apply(session, plan, skip_bad_rows=skip_bad_rows)
        details = {"new": applied.new, "changed": applied.changed, "unchanged": applied.unchanged}
        details |= {"errors": len(plan.faults), "schools": len(plan.schools)}
        chain.record(session, principal, "ledger.import", "ledger", details | {"sha256": digest_of(file).hex()})
    else:  # what would change shows what is there
        chain.record(session, principal, "ledger.preview", "ledger", {"sha256": digest_of(file).hex()})
    return _report(plan, applied=not (dry_run or refused), show=show, max_faults=max_faults)


def _report(plan: Plan, *, applied: bool, show: int, max_faults: int) -> ImportOut:
    moving = [line for line in plan.lines if line.outcome is not Outcome.UNCHANGED]
    return ImportOut(
        applied=applied,
        new=plan.count(Outcome.NEW),
        changed=plan.count(Outcome.CHANGED),
        unchanged=plan.count(Outcome.UNCHANGED),
        errors=len(plan.faults),
        schools=len(plan.schools),
        lines=[LineOut.model_validate(line) for line in moving[:show]],
        faults=[FaultOut.model_validate(fault) for fault in plan.faults[:max_faults]],
        notices=[NoticeOut.model_validate(notice) for notice in plan.notices[:max_faults]],
    )


@router.get("/export", operation_id="exportLedger", response_class=CsvResponse)
def export_ledger(
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.EXPORT_LEDGER))],
    english: Annotated[bool, Query(description="English headers instead of Japanese ones.")] = False,
) -> Response:
    """Give the ledger in scope as CSV (UTF-8 with a mark, for spreadsheets), in the form that the import reads.

    Without the column of names (R-26): importing the file again leaves the names as they are.
    """
    body = "".join(_export(search.everything(session, principal.scope), english=english))
    chain.record(session, principal, "ledger.export", "ledger", {"lines": body.count("\r\n") - 1})
    return csv_file(body, "ledger")


def _export(tablets: Iterator[Found], *, english: bool) -> Iterator[str]:
    yield csv_line(column.value if english else JAPANESE[column] for column in _EXPORTED)
    for tablet in tablets:
        yield csv_line(_cell(tablet, column) for column in _EXPORTED)


def _cell(tablet: Found, column: Column) -> str:
    value = getattr(tablet, "class_name" if column is Column.CLASS else column.value)
    return "" if value is None else str(value)
