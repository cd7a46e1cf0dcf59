"""The operator API of schools and classes: read only, the ledger import writes them. No holder's name passes here."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from mdm.api.pages import Page, Paging, page_of
from mdm.auth import Action, Principal
from mdm.auth.access import may
from mdm.db import SessionDep
from mdm.organization import schools

router = APIRouter(prefix="/api/v1/schools", tags=["schools"])


class SchoolOut(BaseModel):
    """A school of the district."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    code: str = Field(examples=["E001"])
    name: str = Field(examples=["青葉小学校"])
    tablets: int = Field(description="Tablets that the ledger places in this school.", examples=[375])


class ClassOut(BaseModel):
    """A class of a school."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    year: int = Field(examples=[1])
    name: str = Field(examples=["2"])
    holders: int = Field(description="Pupils and teachers in this class.", examples=[33])


@router.get("", operation_id="listSchools")
def list_schools(
    session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_FLEET))], window: Paging
) -> Page[SchoolOut]:
    """List the schools in the caller's scope by code."""
    after = str(window.after[0]) if window.after else ""
    rows = schools.list_schools(session, principal.scope, after=after, limit=window.limit + 1)
    return page_of(window, rows, key=lambda row: [row.code], show=SchoolOut.model_validate)


@router.get("/{code}", operation_id="showSchool")
def show_school(
    session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_FLEET))], code: str
) -> SchoolOut:
    """Show one school."""
    return SchoolOut.model_validate(schools.find_school(session, principal.scope, code))


@router.get("/{code}/classes", operation_id="listClasses")
def list_classes(
    session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_FLEET))], code: str
) -> list[ClassOut]:
    """List the classes of one school by year and name."""
    return [ClassOut.model_validate(row) for row in schools.list_classes(session, principal.scope, code)]
