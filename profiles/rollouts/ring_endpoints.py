"""The operator API of rings. It reads and shows; the rules are in `rings`."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from mdm.auth import Action, Principal, may
from mdm.db import SessionDep
from profiles.rollouts import rings
from profiles.rollouts.rings import Ring

router = APIRouter(prefix="/rings", tags=["rollouts"])

_Name = Annotated[
    str,
    Path(
        max_length=64,
        pattern=r"^\w([\w .-]*\w)?$",
        description="Letters of any script and digits; spaces, dots and hyphens within.",
        examples=["IT office"],
    ),
]


class PutRing(BaseModel):
    """What a ring holds, and where it stands among the others."""

    model_config = ConfigDict(extra="forbid")

    places: list[Annotated[str, Field(max_length=110)]] = Field(
        min_length=1, max_length=rings.MAX_PLACES, examples=[["serial=DMPXINVENTED", "class=0101/6/1", "school=0102"]]
    )
    position: int | None = Field(
        default=None, ge=1, le=1000, description="1 is reached first; without it a ring keeps its place or is the last."
    )


@router.get("", operation_id="listRings", summary="List rings")
def list_rings(session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_ROLLOUTS))]) -> list[Ring]:
    """Return the rings in the order in which rollouts reach them, with what of them lies in the caller's schools."""
    return rings.ordered(session, principal.scope)


@router.put("/{name}", operation_id="putRing", summary="Make or change a ring")
def put_ring(
    name: _Name, body: PutRing, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.RUN_ROLLOUTS))]
) -> Ring:
    """Make a ring or replace its places; for administrators of all schools. Rollouts under way keep their waves."""
    return rings.put(session, principal, name, body.places, position=body.position)


@router.delete("/{name}", operation_id="dropRing", summary="Remove a ring", status_code=HTTPStatus.NO_CONTENT)
def drop_ring(
    name: _Name, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.RUN_ROLLOUTS))]
) -> None:
    """Remove a ring; for administrators of all schools."""
    rings.drop(session, principal, name)
