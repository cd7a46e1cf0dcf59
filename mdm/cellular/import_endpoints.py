"""The operator API of SIM files: import one, and see what came of those before. A number goes in here and never out."""

from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlmodel import Session, col, select

from mdm.api.problems import PROBLEMS
from mdm.api.uploads import CSV_BODY, MULTIPART_SLACK, Uploaded, digest_of
from mdm.audit import chain
from mdm.auth import Action, Principal, may
from mdm.cellular import accounts, batches, sim_import
from mdm.cellular.models import BatchState, CarrierAccount, ImportBatch, ImportKind, ImportRow
from mdm.cellular.sim_columns import WIDTHS, Headers, checked_mapping
from mdm.cellular.sim_import import Counts
from mdm.csvfile import Layout, read_rows
from mdm.db import SessionDep
from mdm.errors import Invalid, NotFound

router = APIRouter(prefix="/api/v1/sims/imports", tags=["sims"])

MAX_BYTES: Final = 256 * 1024 * 1024
_MAX_ROWS: Final = 5_000_000
_MAP: Final = "`header:column`, for a header that is not known; remembered for the account once a file went in."


class ChangeOut(BaseModel):
    """One field that changes; of numbers the ends."""

    field: str = Field(examples=["plan"])
    old: str
    new: str


class LineOut(BaseModel):
    """What happens to the SIM of one line."""

    line: int = Field(examples=[2])
    sim_id: int | None = Field(description="Null for a new one.")
    outcome: str = Field(examples=["new"])
    changes: list[ChangeOut]


class NoteOut(BaseModel):
    """What is wrong with a line, or odd about one that is imported all the same."""

    model_config = ConfigDict(from_attributes=True)

    line: int = Field(examples=[17])
    level: str = Field(examples=["error"])
    reason: str = Field(examples=["iccid: must not be empty"])


class ImportOut(BaseModel):
    """What an import does, or would do in a dry run."""

    applied: bool = Field(description="False for a dry run, and if nothing was written because of errors.")
    known: bool = Field(description="This very file went in before; nothing was done.")
    new: int
    changed: int
    unchanged: int
    errors: int = Field(description="Lines that are wrong, and left out where `skip_bad_rows` is set.")
    plans: int = Field(description="Plans that the account did not have yet.")
    absent: int = Field(description="SIMs of the account that the file does not name. They stay as they are.")
    bound: int = Field(description="Tablets that got a SIM, by the file or by the ICCID in the ledger.")
    ignored: list[str] = Field(description="Headers that were passed over.")
    lines: list[LineOut] = Field(description="The first lines that are new or changed.")
    faults: list[NoteOut]
    notices: list[NoteOut]


class BatchOut(BaseModel):
    """A file that went in."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    kind: ImportKind
    state: BatchState
    size: int
    rows_new: int
    rows_changed: int
    rows_same: int
    rows_bad: int
    finished_at: datetime | None
    brought_by: str


@router.post(
    "",
    operation_id="importSims",
    summary="Import a SIM file",
    openapi_extra=CSV_BODY,
    max_body_size=MAX_BYTES + MULTIPART_SLACK,
    responses=PROBLEMS,
)
def import_sims(
    file: Uploaded,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.IMPORT_SIMS))],
    account: Annotated[str, Query(max_length=64, description="The carrier account whose lines they are.")],
    *,
    header: Annotated[list[str] | None, Query(alias="map", max_length=40, description=_MAP)] = None,
    dry_run: Annotated[bool, Query(description="Only say what would happen.")] = False,
    skip_bad_rows: Annotated[bool, Query(description="Import the right lines even if others are wrong.")] = False,
    whole: Annotated[bool, Query(description="The file names every SIM of the account: mark others missing.")] = False,
    again: Annotated[bool, Query(description="Import it even if this very file went in before.")] = False,
    report_faults: Annotated[
        bool, Query(description="If lines are wrong, answer this report with `applied` false, not a problem document.")
    ] = False,
    show: Annotated[int, Query(ge=0, le=1000, description="How many new or changed lines to list.")] = 50,
    max_faults: Annotated[int, Query(ge=0, le=100_000, description="How many wrong lines to list.")] = 1000,
) -> ImportOut:
    """Import a SIM file: all of it, or nothing if a line is wrong and `skip_bad_rows` is not set.

    The ICCID without its check digit is the key. What the file lacks, and an empty cell, stays as it is; nothing is
    ever removed. The same file a second time does nothing.
    """
    accounts.must_be_everywhere(principal)
    found = accounts.find(session, account)
    mapping = {**found.sim_mapping, **checked_mapping(mapping_pairs(header or []))}
    sha256 = digest_of(file)
    if not again and mapping == found.sim_mapping:
        batch = batches.known(session, found, ImportKind.SIMS, sha256)
        if batch is not None:
            return _nothing_to_do(batch)
    headers = Headers(mapping)
    layout = Layout(headers.read, WIDTHS, max_bytes=MAX_BYTES, max_rows=_MAX_ROWS, patient=True)
    counts = sim_import.plan(session, read_rows(file, layout), found, lock=not dry_run)
    refused = bool(counts.errors) and not skip_bad_rows
    if refused and not (dry_run or report_faults):
        raise _refusal(session, counts)
    report = _report(session, counts, headers.ignored, show=show, max_faults=max_faults)
    if dry_run or refused:
        return report
    size = file.seek(0, 2)
    accounts.remember_mapping(session, found, mapping)
    bound = sim_import.apply(session, found, counts, by=principal.actor, whole=whole)
    batches.keep(session, found, ImportKind.SIMS, counts, sha256=sha256, size=size, by=principal.actor)
    details = {"new": counts.new, "changed": counts.changed, "unchanged": counts.unchanged, "errors": counts.errors}
    details |= {"bound": bound}
    chain.record(session, principal, "sim.import", f"carrier:{found.id}", details | {"sha256": sha256.hex()})
    return report.model_copy(update={"applied": True, "bound": bound})


@router.get("", operation_id="listSimImports", summary="Files that went in")
def list_imports(
    session: SessionDep,
    _principal: Annotated[Principal, Depends(may(Action.READ_SIMS))],
    account: Annotated[str, Query(max_length=64)],
) -> list[BatchOut]:
    """List the newest hundred files of an account, whatever they hold."""
    found: CarrierAccount = accounts.find(session, account)
    statement = select(ImportBatch).where(ImportBatch.account_id == found.id).order_by(col(ImportBatch.id).desc())
    return [BatchOut.model_validate(batch) for batch in session.exec(statement.limit(100))]


@router.get("/{batch_id}/notes", operation_id="listSimImportNotes", summary="What was wrong or odd in a file")
def list_notes(
    batch_id: int, session: SessionDep, _principal: Annotated[Principal, Depends(may(Action.READ_SIMS))]
) -> list[NoteOut]:
    """List the notes that were kept of a file by line; of a very wrong file the first ten thousand."""
    if session.get(ImportBatch, batch_id) is None:
        raise NotFound("there is no such import")
    statement = select(ImportRow).where(ImportRow.batch_id == batch_id).order_by(col(ImportRow.line))
    return [NoteOut.model_validate(row) for row in session.exec(statement)]


def mapping_pairs(given: list[str]) -> dict[str, str]:
    """Return what headers are said to mean, as `header:column` each; `Invalid` for another form."""
    mapping: dict[str, str] = {}
    for pair in given:
        header, separator, column = pair.rpartition(":")
        if not separator:
            detail = "must be header:column"
            raise Invalid("the mapping is wrong", errors=[{"pointer": "/map", "detail": detail}])
        mapping[header.strip()] = column.strip()
    return mapping


def _refusal(session: Session, counts: Counts) -> Invalid:
    notes = batches.notes(session, "error", limit=1000)
    errors = [{"pointer": f"/lines/{note.line}", "detail": note.reason} for note in notes]
    return Invalid(f"nothing was imported: {counts.errors:,} lines are wrong", errors=errors)


def _nothing_to_do(batch: ImportBatch) -> ImportOut:
    rows = batch.rows_new + batch.rows_changed + batch.rows_same
    empty: list[NoteOut] = []
    return ImportOut(
        applied=False,
        known=True,
        new=0,
        changed=0,
        unchanged=rows,
        errors=0,
        plans=0,
        absent=0,
        bound=0,
        ignored=[],
        lines=[],
        faults=empty,
        notices=empty,
    )


def _report(session: Session, counts: Counts, ignored: list[str], *, show: int, max_faults: int) -> ImportOut:
    lines = [
        LineOut(
            line=each.line,
            sim_id=each.sim_id,
            outcome=each.outcome,
            changes=[ChangeOut(field=name, old=old, new=new) for name, old, new in each.changes],
        )
        for each in sim_import.lines(session, limit=show)
    ]
    return ImportOut(
        applied=False,
        known=False,
        new=counts.new,
        changed=counts.changed,
        unchanged=counts.unchanged,
        errors=counts.errors,
        plans=counts.plans,
        absent=counts.absent,
        bound=0,
        ignored=ignored[:100],
        lines=lines,
        faults=[NoteOut.model_validate(note) for note in batches.notes(session, "error", limit=max_faults)],
        notices=[NoteOut.model_validate(note) for note in batches.notes(session, "odd", limit=max_faults)],
    )
