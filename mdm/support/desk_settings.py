"""The desk's settings: how long cases may take, what a locked tablet shows, a school's mail. Rows are only added."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import text
from sqlmodel import Session

from mdm import clock
from mdm.audit import chain
from mdm.auth import SCOPE_SQL, Principal, Scope
from mdm.auth.rights import Action
from mdm.commands.arguments import LostMode
from mdm.errors import Forbidden, Invalid
from mdm.organization import schools
from mdm.support.kinds import CaseKind
from mdm.support.models import DeskSetting


class Name(StrEnum):
    """What can be set."""

    LOST_HOURS = "hours.lost"
    STOLEN_HOURS = "hours.stolen"
    BROKEN_HOURS = "hours.broken"
    RETURNED_LATE_HOURS = "hours.returned_late"
    LOST_TEXT = "lost_text"
    """What a locked tablet shows when the desk gives nothing else (R-09)."""
    CONTACT = "contact"
    """Where a school is written to when a tablet of its is about to be erased."""


class Hours(BaseModel):
    """How long a case may take before it is escalated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hours: Annotated[int, Field(ge=1, le=24 * 366)]


class Contact(BaseModel):
    """An address for mail: an office's, not a person's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mail: Annotated[str, Field(max_length=254, pattern=r"^[^\s@,;<>\"]+@[^\s@,;<>\"]+$")]


_MODELS: Final[Mapping[Name, type[BaseModel]]] = {
    **{name: Hours for name in Name if name.startswith("hours.")},
    Name.LOST_TEXT: LostMode,
    Name.CONTACT: Contact,
}
FIRST: Final[Mapping[Name, dict[str, Any]]] = {
    Name.LOST_HOURS: {"hours": 24},
    Name.STOLEN_HOURS: {"hours": 12},
    Name.BROKEN_HOURS: {"hours": 24 * 14},
    Name.RETURNED_LATE_HOURS: {"hours": 24 * 7},
    Name.LOST_TEXT: {
        "message": "学校の学習用タブレットです。拾われた方は学校または警察へお届けください。"
        " This tablet belongs to a school. Please hand it to the school or to the police."
    },
    Name.CONTACT: {},
}
"""What holds before anybody sets anything."""


@dataclass(frozen=True, slots=True)
class Line:
    """A setting as it holds; `set_at` None says that nobody has set it."""

    name: str
    school: str | None
    value: dict[str, Any]
    set_at: datetime | None
    set_by: str


def hours_for(session: Session, kind: CaseKind, school_id: int) -> int:
    """Return how many hours a case of a kind may take in a school."""
    return int(_present(session, Name(f"hours.{kind.value}"), school_id)["hours"])


def lost_text(session: Session, school_id: int) -> dict[str, Any]:
    """Return what a locked tablet of a school shows."""
    return _present(session, Name.LOST_TEXT, school_id)


def mail_of(session: Session, school_code: str) -> str | None:
    """Return where a school is written to; None where nobody has said."""
    school_id = session.execute(text("SELECT id FROM school WHERE code = :code"), {"code": school_code}).scalar()
    found = None if school_id is None else _present(session, Name.CONTACT, school_id).get("mail")
    return None if found is None else str(found)


def _present(session: Session, name: Name, school_id: int | None) -> dict[str, Any]:
    """Return the value of a school: its own, else everybody's, else the first."""
    rows = session.execute(
        text(
            "SELECT DISTINCT ON (school_id) school_id, value FROM desk_setting WHERE name = :name"
            " AND (school_id IS NULL OR school_id = :school) ORDER BY school_id, id DESC"
        ),
        {"name": name.value, "school": school_id},
    ).all()
    held = {row.school_id: row.value for row in rows if row.value is not None}
    return dict(held.get(school_id) or held.get(None) or FIRST[name])


def overview(session: Session, scope: Scope) -> list[Line]:
    """Return every setting as it holds for everybody, then what the schools in scope have of their own."""
    rows = session.execute(
        text(
            "SELECT t.name, s.code AS school, t.value, t.set_at, t.set_by FROM (SELECT DISTINCT ON (name, school_id) *"
            " FROM desk_setting ORDER BY name, school_id, id DESC) t LEFT JOIN school s ON s.id = t.school_id"
            f" WHERE t.value IS NOT NULL AND (t.school_id IS NULL OR {SCOPE_SQL.format(column='t.school_id')})"
            " ORDER BY s.code, t.name"
        ),
        {"schools": scope.parameter},
    ).all()
    found = [Line(*row) for row in rows]
    shared = {line.name: line for line in found if line.school is None}
    first = [shared.get(name, Line(name.value, None, FIRST[name], None, "")) for name in Name]
    return first + [line for line in found if line.school is not None]


def put(
    session: Session, principal: Principal, name: Name, value: Mapping[str, Any] | None, *, school: str | None = None
) -> Line:
    """Set a value, everybody's or one school's own (by code); None takes it back. `Invalid` names fields."""
    principal.must(Action.SET_DESK)
    if school is None and not principal.scope.all_schools:
        raise Forbidden("this setting is everybody's: it takes an administrator of all schools")
    school_id = None if school is None else schools.find_school(session, principal.scope, school).id
    row = DeskSetting(
        name=name.value,
        school_id=school_id,
        value=None if value is None else _checked(name, value),
        set_at=clock.now(),
        set_by=principal.actor[:80],
    )
    before = _present(session, name, school_id)
    session.add(row)
    session.flush()
    subject = f"desk:{name.value}" + (f":{school}" if school else "")
    chain.record(session, principal, "desk.set", subject, {"value": row.value, "before": before})
    return Line(name.value, school, _present(session, name, school_id), row.set_at, row.set_by)


def _checked(name: Name, value: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return _MODELS[name].model_validate(dict(value)).model_dump(exclude_none=True)
    except ValidationError as error:
        errors = [
            {"pointer": "/".join(["/value", *map(str, each["loc"])]), "detail": each["msg"]}
            for each in error.errors(include_input=False, include_url=False)
        ]
        raise Invalid(f"the value of {name.value} is wrong", errors=errors) from None
