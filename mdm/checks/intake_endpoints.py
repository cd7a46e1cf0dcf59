"""The operator API of evidence given by hand: scans of control numbers, and words. The rules are beside it."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from mdm.auth.access import may
from mdm.auth.principal import Principal
from mdm.auth.rights import Action
from mdm.checks import evidence, intake
from mdm.checks.evidence import MAX_LINES, Given, Line
from mdm.checks.views import LineOut, TakenOut
from mdm.db import SessionDep

router = APIRouter()

_Confirmer = Annotated[Principal, Depends(may(Action.CONFIRM_TABLET))]
_Numbers = Annotated[
    list[Annotated[str, Field(max_length=200)]],
    Field(min_length=1, max_length=MAX_LINES, examples=[["T000001", "T000002"]]),
]
_FILE = {
    "requestBody": {
        "required": True,
        "description": "One control number a line, or a CSV with a column `control_number` (管理番号); UTF-8 or CP932.",
        "content": {"text/csv": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class Scans(BaseModel):
    """Control numbers that were scanned off tablets."""

    model_config = ConfigDict(extra="forbid")

    control_numbers: _Numbers
    school: str | None = Field(
        default=None, max_length=32, description="The code of the school where they were scanned; your own if only one."
    )


class Words(BaseModel):
    """Control numbers of tablets that one answers for."""

    model_config = ConfigDict(extra="forbid")

    control_numbers: _Numbers


def _given(numbers: Sequence[str]) -> list[Given]:
    return [Given(line, number) for line, number in enumerate(numbers, start=1)]


def _taken(lines: Sequence[Line]) -> TakenOut:
    counts = Counter(line.outcome.value for line in lines)
    return TakenOut(counts=dict(counts), lines=[LineOut.model_validate(line) for line in lines])


async def _content(request: Request) -> bytes:
    """Receive the file before the transaction opens."""
    return await request.body()


@router.post("/{check_id}/scans", operation_id="scanTablets", summary="Take scanned control numbers")
def scan_tablets(check_id: UUID, body: Scans, session: SessionDep, principal: _Confirmer) -> TakenOut:
    """Take a scan, or some hundreds of them, as evidence and say of each what became of it.

    Numbers that are unknown or belong to another school are told line by line; the rest is taken all the same.
    """
    return _taken(evidence.scan(session, principal, check_id, _given(body.control_numbers), school=body.school))


@router.post(
    "/{check_id}/scans/file",
    operation_id="scanTabletsFile",
    summary="Take a scanner's file of control numbers",
    openapi_extra=_FILE,
)
def scan_tablets_file(
    check_id: UUID,
    content: Annotated[bytes, Depends(_content)],
    session: SessionDep,
    principal: _Confirmer,
    *,
    school: Annotated[str | None, Query(max_length=32, description="Where they were scanned.")] = None,
) -> TakenOut:
    """Take what a handheld scanner has written; as `scanTablets`, with the lines of the file."""
    return _taken(evidence.scan(session, principal, check_id, intake.read(content), school=school))


@router.post("/{check_id}/confirmations", operation_id="confirmTablets", summary="Give one's word for tablets")
def confirm_tablets(check_id: UUID, body: Words, session: SessionDep, principal: _Confirmer) -> TakenOut:
    """Say that tablets of one's own schools are there. Who said so, and when, is on record."""
    return _taken(evidence.confirm(session, principal, check_id, _given(body.control_numbers)))
