"""The operator API of the audit trail: read, verify, export. Nothing here writes to it but its own exports."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlmodel import Session, col, select

from mdm import db
from mdm.api import Page, Paging, page_of
from mdm.audit import chain, export, inspection, signing
from mdm.audit.checkpoints import Checkpoint
from mdm.audit.models import AuditCheckpoint, AuditEvent
from mdm.audit.verification import Fault
from mdm.auth import Action, Principal, may
from mdm.db import SessionDep
from mdm.errors import Forbidden, NotFound
from mdm.settings import get_settings

router = APIRouter(prefix="/api/v1/audit", tags=["audit"])


class AuditLine(BaseModel):
    """One act on record."""

    id: int
    at: datetime
    actor: str = Field(examples=["operator:hanako"])
    action: str = Field(examples=["command.enqueue"])
    subject: str = Field(examples=["device:42"])
    details: dict[str, Any]
    digest: str = Field(description="SHA-256 in hexadecimal.")
    sequence: int | None = Field(description="Its place in the trail; null for events from before there were seals.")


class AuditFilter(BaseModel):
    """Exact matches, and a range of time."""

    actor: str | None = Field(default=None, max_length=80)
    action: str | None = Field(default=None, max_length=64)
    subject: str | None = Field(default=None, max_length=200)
    since: AwareDatetime | None = Field(default=None, description="Not before this moment.")
    until: AwareDatetime | None = Field(default=None, description="Before this moment.")


class FindingOut(BaseModel):
    """One thing that is wrong with the trail."""

    model_config = ConfigDict(from_attributes=True)

    fault: Fault
    place: int | None = Field(description="Counted from 1 along the trail.")
    event_id: int | None


class Verdict(BaseModel):
    """Whether the trail is what was written, and the witness to keep elsewhere."""

    model_config = ConfigDict(from_attributes=True)

    intact: bool
    first_broken_id: int | None
    events: int
    head: str = Field(description="The newest digest; keep it elsewhere to notice events that were cut off.")
    unsealed: int = Field(description="Events from before there were seals.")
    witnessed_to: int = Field(description="The last place that a line outside the database confirms.")
    signed_to: int = Field(description="The last place that a signed checkpoint confirms.")
    faults: int = Field(description="How many things are wrong; the first 20 are listed.")
    findings: list[FindingOut]


class CheckpointOut(BaseModel):
    """A signed statement: at this moment the trail ended at this place with this digest."""

    at: str = Field(examples=["2026-04-01T00:30:00.000000+00:00"], description="Exactly as it was signed.")
    sequence: int
    digest: str
    key: str = Field(description="The id of the public key.")
    signature: str = Field(description="Ed25519 over the heading and the other fields, in hexadecimal.")


class KeyOut(BaseModel):
    """A public key that checkpoints are checked with."""

    id: str
    pem: str


Reader = Annotated[Principal, Depends(may(Action.READ_AUDIT))]


def _whole_district(principal: Principal) -> None:
    # The trail names tablets and operators of every school; who is confined to some schools may not read it.
    if not principal.scope.all_schools:
        raise Forbidden("the audit trail names every school: it takes a scope of all schools")


@router.get("", operation_id="listAudit", summary="The trail, newest first")
def list_audit(
    session: SessionDep, principal: Reader, paging: Paging, wanted: Annotated[AuditFilter, Depends()]
) -> Page[AuditLine]:
    """List acts, newest first, filtered by exact actor, action or subject, and by time."""
    _whole_district(principal)
    statement = select(AuditEvent).order_by(col(AuditEvent.id).desc()).limit(paging.limit + 1)
    for name, value in wanted.model_dump(exclude_none=True, exclude={"since", "until"}).items():
        statement = statement.where(getattr(AuditEvent, name) == value)
    if wanted.since is not None:
        statement = statement.where(col(AuditEvent.at) >= wanted.since)
    if wanted.until is not None:
        statement = statement.where(col(AuditEvent.at) < wanted.until)
    if paging.after:
        statement = statement.where(col(AuditEvent.id) < paging.after[0])
    return page_of(paging, session.exec(statement).all(), key=lambda event: [event.id], show=_line)


def _line(event: AuditEvent) -> AuditLine:
    return AuditLine.model_validate(event.model_dump(exclude={"previous", "mac"}) | {"digest": event.digest.hex()})


@router.get("/verification", operation_id="verifyAudit", summary="Verify the trail")
def verify_audit(session: SessionDep, principal: Reader) -> Verdict:
    """Walk the whole trail and hold it against the witness and the checkpoints that this server can read.

    A server that was broken into can lie: verify an export elsewhere as well (`tabane audit verify --export`).
    """
    _whole_district(principal)
    return verdict_of(inspection.verify(session))


def verdict_of(found: inspection.Verdict) -> Verdict:
    """Show what was found."""
    first = next((finding.event_id for finding in found.findings if finding.event_id is not None), None)
    shown = {name: getattr(found, name) for name in ("intact", "events", "unsealed", "witnessed_to", "signed_to")}
    findings = [FindingOut.model_validate(finding) for finding in found.findings]
    return Verdict(**shown, first_broken_id=first, head=found.head.hex(), faults=found.faults, findings=findings)


@router.get(
    "/export",
    operation_id="exportAudit",
    summary="The trail as a file that can be verified",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
)
def export_audit(
    session: SessionDep,
    principal: Reader,
    since: Annotated[AwareDatetime | None, Query(description="Not before this moment.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Before this moment.")] = None,
) -> StreamingResponse:
    """Give the acts of a range of time, oldest first, as JSON Lines with digests and seals; the export is on record.

    The first line says what the file is. Its own record is the last event of an export that goes to the end.
    """
    _whole_district(principal)
    details = {"since": since and since.isoformat(), "until": until and until.isoformat()}
    chain.record(session, principal, "audit.export", "audit", details)
    part = export.extent(session, since, until)
    headers = {"Content-Disposition": 'attachment; filename="audit.jsonl"'}
    return StreamingResponse(_streamed(part), media_type="application/x-ndjson", headers=headers)


def _streamed(part: export.Extent) -> Iterator[bytes]:
    # The request's own transaction has ended by then, with the record of this export.
    with Session(db.engine()) as session:
        yield from export.lines(session, part)


@router.get("/checkpoints", operation_id="listAuditCheckpoints", summary="Signed checkpoints, newest first")
def list_audit_checkpoints(session: SessionDep, principal: Reader, paging: Paging) -> Page[CheckpointOut]:
    """List the signed statements of how long the trail was."""
    _whole_district(principal)
    statement = select(AuditCheckpoint).order_by(col(AuditCheckpoint.id).desc()).limit(paging.limit + 1)
    if paging.after:
        statement = statement.where(col(AuditCheckpoint.id) < paging.after[0])
    return page_of(paging, session.exec(statement).all(), key=lambda row: [row.id], show=_checkpoint)


def _checkpoint(row: AuditCheckpoint) -> CheckpointOut:
    one = Checkpoint.of(row)
    return CheckpointOut(
        at=one.at, sequence=one.sequence, digest=one.digest.hex(), key=one.key_id, signature=one.signature.hex()
    )


@router.get("/keys", operation_id="listAuditKeys", summary="The public keys of checkpoints")
def list_audit_keys(principal: Reader) -> list[KeyOut]:
    """List the public keys, in PEM: keep them elsewhere, or a server that was broken into could show others."""
    _whole_district(principal)
    file = get_settings().audit.public_keys_file
    if file is None:
        raise NotFound("no public keys are set (audit.public_keys_file)")
    return [KeyOut(id=name, pem=signing.pem_of(key)) for name, key in signing.public_keys(file).items()]
